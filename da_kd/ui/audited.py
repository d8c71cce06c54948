"""What an audit measured, as HTML. Knows no gradio and reads nothing."""

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


def _between(figure: Any) -> str:
    """Return a figure with its interval."""
    if not isinstance(figure, dict) or figure.get("value") is None:
        return words.UNDEFINED
    ends = [figure.get(end) for end in ("low", "high")]
    around = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if all(isinstance(end, float) for end in ends) else ""
    return f"{figure['value']:.2f}{around}"
