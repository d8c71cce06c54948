"""How often a reviewer errs, from images they labelled twice. Pure; knows two tables of what the person said.

Two passes over the same image, of which neither knows the other, differ where one of them is wrong. When each decision
comes out wrong with probability e, independently, they differ with d = 2 e (1 - e), so e = (1 - sqrt(1 - 2 d)) / 2.
What a person gets wrong both times in the same way is not found: for who does not know better it is a lower bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from da_kd.detections import Detections, DetectionTable
from da_kd.merging.matching import paired
from da_kd.stages.review.estimates import CONFIDENCE, Doubles, share

_OF_VERY_MANY = 1e-9  # the chance of an image to be seen twice, as it were: the reviewer goes on to others


def error_rate(first: DetectionTable, second: DetectionTable) -> dict[str, Any]:
    """Return how often a reviewer errs in a decision about one object.

    An object is what either pass has a box for, and boxes with an IoU of at least 0.5 are of one object; the passes
    agree on it where both have a box of the same class. Images are matched by content.

    Returns:
        ``images`` and ``objects`` seen twice, ``differ`` (the share of objects the passes differ in) and ``error`` (the
        share of wrong decisions), both as ``value``, ``low`` and ``high``, null where nothing was seen twice.
    """
    rows = {sha: row for row, sha in enumerate(second.sha) if sha}
    pairs = [(row, rows[sha]) for row, sha in enumerate(first.sha) if sha in rows]
    counts = np.array([_differ(first, second, one, other) for one, other in pairs], np.float64).reshape(-1, 2).T
    head = {"images": len(pairs), "objects": int(counts[1].sum()), "confidence": CONFIDENCE}
    if not counts[1].sum():
        nothing = dict.fromkeys(("value", "low", "high"))
        return {**head, "differ": nothing, "error": dict(nothing)}
    found = share(counts[0], counts[1], np.full(len(pairs), _OF_VERY_MANY))
    differ = np.array([found.value, found.low, found.high], np.float64)
    return {**head, "differ": _plain(differ), "error": _plain(_error(differ))}


def _differ(first: DetectionTable, second: DetectionTable, one: int, other: int) -> tuple[int, int]:
    """Return on how many objects two passes over one image differ, and how many there are."""
    ours, theirs = first.at(one), second.at(other)
    objects = len(ours) + len(theirs) - int(paired(_of_any_class(ours), _of_any_class(theirs)).sum())
    return objects - int(paired(ours, theirs).sum()), objects


def _of_any_class(boxes: Detections) -> Detections:
    return Detections(("object",), boxes.xyxy, boxes.score, np.zeros(len(boxes), np.int32))


def _error(differ: Doubles) -> Doubles:
    """Return the rate of errors that makes two passes differ so often; 0.5 where they differ by half or more."""
    error: Doubles = (1 - np.sqrt(np.maximum(1 - 2 * differ, 0))) / 2
    return error


def _plain(values: Doubles) -> dict[str, float]:
    value, low, high = (round(float(value), 5) for value in values)
    return {"value": value, "low": low, "high": high}
