"""What a review that is open has done, and what an audit measured, as HTML. Knows no gradio and reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from da_kd.stages.report import words
from da_kd.ui import markup


def measured_by(audit: Mapping[str, Any], drawn: int = 0) -> str:
    """Return precision, recall and best threshold by class as ``audit.json`` has them, or what to do to get some.

    Args:
        audit: what was measured, empty where nothing was.
        drawn: the images that the recipe asks to draw.
    """
    how = "A random sample of whole images, labelled completely; 95 % intervals."
    title = markup.section("What the audit measures", how)
    if not audit.get("classes"):
        waiting = f"{words.counted(drawn, 'image')} waits" if drawn == 1 else f"{words.counted(drawn, 'image')} wait"
        todo = (
            f"{waiting} in FiftyOne's saved view 'audit': give every object its box, say 'Done', then take it back."
            if drawn
            else "Set review.audit.images in the recipe to draw some."
        )
        return title + markup.empty("No image has been audited yet.", todo)
    rows = []
    for name, one in {**audit["classes"], "all classes": audit["all"]}.items():
        kept = one.get("as_kept") or {}
        best = one.get("best_threshold") or {}
        rows.append([escape(name), *(_between(kept.get(side)) for side in ("precision", "recall")), _between(best)])
    said = f"{audit.get('images_audited')} of {audit.get('images')} images are audited."
    return title + markup.table(["Class", "Precision", "Recall", "Best threshold (score)"], rows, (1, 2, 3), said)


def standing_by(now: Mapping[str, Any]) -> str:
    """Return how far a review is that is open now, as it wrote that down itself; '' where it has not yet.

    Args:
        now: see :func:`da_kd.stages.review.standing.standing`.
    """
    if not now:
        return ""
    tiles = [
        ("Done", words.count(now["done"]), f"of {words.count(now['images'])} images"),
        ("Accepted", words.count(now["accepted"]), f"of {words.count(now['labels'])} boxes"),
        ("Rejected", words.count(now["rejected"]), "boxes"),
    ]
    if now["audit"]:
        tiles.append(("Audit", words.count(now["audit_done"]), f"of {words.count(now['audit'])} images"))
    rows = [[escape(cell) for cell in row] for row in now["estimates"]]
    said = "Of the labels as they stand, from the audited images that are done; 95 % intervals."
    table = markup.table(["Class", "Precision", "Recall"], rows, (1, 2), said) if rows else ""
    title = markup.section("In FiftyOne now", "Counted every few seconds while it is open.")
    return title + markup.tiles(tiles) + table + markup.notes([text for text in (now["part"], now["errors"]) if text])


def _between(figure: Any) -> str:
    """Return a figure with its interval."""
    if not isinstance(figure, dict) or figure.get("value") is None:
        return words.UNDEFINED
    ends = [figure.get(end) for end in ("low", "high")]
    around = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if all(isinstance(end, float) for end in ends) else ""
    return f"{figure['value']:.2f}{around}"
