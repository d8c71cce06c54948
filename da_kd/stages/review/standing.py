"""How far a review is, and what its audit says by now: for the App's panel, and for pages that stand beside the App.

Knows FiftyOne and the audit; must not know who shows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from da_kd.stages.review import edits
from da_kd.stages.review.audit import compare_with_truth, figures
from da_kd.stages.review.layout import INFO
from da_kd.stages.review.reviewer import in_words
from da_kd.store import write_json


def standing(fo: Any, dataset: Any) -> dict[str, Any]:
    """Return what :func:`~da_kd.stages.review.edits.progress` counts, and beside it what is known by now.

    ``part`` is a sentence where only a part of the set is in the review; ``estimates`` holds class, precision and
    recall in words, from the part of the audit that is done; ``errors`` how often second looks differ from first ones.
    """
    count: dict[str, Any] = {**edits.progress(dataset), "part": "", "estimates": [], "errors": ""}
    if count["images"] < count["of"]:
        count["part"] = dataset.info[INFO]["told"]
    if count["audit_done"]:
        count["estimates"] = edits.told(figures(compare_with_truth(*edits.audited(fo, dataset))))
    if count["again"]:
        count["errors"] = in_words(edits.errors(fo, dataset))
    return count


def path_of(workspace: Path, fingerprint: str) -> Path:
    """Return where the open review of some labels writes down how far it is."""
    return workspace / "mongo" / "standing" / f"{fingerprint}.json"


def read_standing(workspace: Path, fingerprint: str) -> dict[str, Any]:
    """Return what an open review wrote down last, empty where it has not."""
    try:
        tree = json.loads(path_of(workspace, fingerprint).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


class Teller:
    """Writes down how far a review is whenever that changed, for a small part of the time at most.

    Args:
        path: the file.
        ask: returns what to write.
        every: seconds between two looks, at least.
        share: a look takes one part in so many of the time at most.
    """

    def __init__(self, path: Path, ask: Callable[[], dict[str, Any]], every: float, share: float) -> None:
        self._path, self._ask, self._every, self._share = path, ask, every, share
        self._told: dict[str, Any] | None = None
        self._next = time.monotonic()

    def look(self) -> None:
        """Do so if it is time."""
        begun = time.monotonic()
        if begun < self._next:
            return
        now = self._ask()
        if now != self._told:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, now)
            self._told = now
        self._next = time.monotonic() + max(self._every, self._share * (time.monotonic() - begun))
