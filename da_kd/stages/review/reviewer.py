"""How often a reviewer errs, from images they labelled twice. Pure; knows tables of what the person said and was asked.

Two passes over the same image, of which neither knows the other, differ where one of them is wrong. When each decision
comes out wrong with probability e, independently, they differ with d = 2 e (1 - e), so e = (1 - sqrt(1 - 2 d)) / 2.
What a person gets wrong both times in the same way is not found: for who does not know better it is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from da_kd.detections import Detections, DetectionTable, State
from da_kd.merging.matching import paired
from da_kd.stages.review.estimates import CONFIDENCE, Doubles, share

_OF_VERY_MANY = 1e-9  # the chance of an image to be seen twice, as it were: the reviewer goes on to others
_ASKED = (State.KEPT, State.UNCERTAIN)


def error_rate(first: DetectionTable, second: DetectionTable, asked: DetectionTable | None = None) -> dict[str, Any]:
    """Return how often a reviewer errs in a decision about one object.

    A decision is about what either pass has a box for, and about what was asked and both passes threw away; boxes with
    an IoU of at least 0.5 are of one object. The passes agree on an object where both have a box of the same class.

    Args:
        first: what the person said the first time; images are matched by content.
        second: what they said the second time.
        asked: the labels of all these images that both passes began with, kept and uncertain; None where both began
            with nothing.

    Returns:
        ``images`` seen twice and ``decisions`` about them, ``confidence``, ``differ`` (the share of decisions the
        passes differ in) and ``error`` (the share of wrong decisions), both as ``value``, ``low`` and ``high``, null
        where nothing was seen twice.
    """
    rows = _rows(second)
    pairs = [(row, rows[sha]) for row, sha in enumerate(first.sha) if sha in rows]
    counts = np.array([_differ(first, second, one, other) for one, other in pairs], np.float64).reshape(-1, 2).T
    if asked is not None:
        given = _rows(asked)
        counts[1] += [
            _thrown_away(asked.at(given[first.sha[one]], _ASKED), first.at(one), second.at(other))
            for one, other in pairs
        ]
    head = {"images": len(pairs), "decisions": int(counts[1].sum()), "confidence": CONFIDENCE}
    if not counts[1].sum():
        nothing = dict.fromkeys(("value", "low", "high"))
        return {**head, "differ": nothing, "error": dict(nothing)}
    found = share(counts[0], counts[1], np.full(len(pairs), _OF_VERY_MANY))
    differ = np.array([found.value, found.low, found.high], np.float64)
    return {**head, "differ": _plain(differ), "error": _plain(_error(differ))}


def in_words(told: Mapping[str, Any]) -> str:
    """Return a sentence of what :func:`error_rate` found, "" where nothing was seen twice."""
    error = told["error"]
    if error["value"] is None:
        return ""
    return (
        f"The reviewer errs in {error['value']:.1%} of decisions ({error['low']:.1%} to {error['high']:.1%}), by "
        f"{told['images']} image(s) labelled twice; what they get wrong both times in the same way stays unseen."
    )


def _rows(table: DetectionTable) -> dict[str, int]:
    return {sha: row for row, sha in enumerate(table.sha) if sha}


def _differ(first: DetectionTable, second: DetectionTable, one: int, other: int) -> tuple[int, int]:
    """Return on how many objects two passes over one image differ, and how many there are."""
    ours, theirs = first.at(one), second.at(other)
    objects = len(ours) + len(theirs) - int(paired(_of_any_class(ours), _of_any_class(theirs)).sum())
    return objects - int(paired(ours, theirs).sum()), objects


def _thrown_away(asked: Detections, first: Detections, second: Detections) -> int:
    """Return how many boxes that were asked about are of no object that either pass has."""
    boxes = _of_any_class(asked)
    used = [paired(_of_any_class(side), boxes) for side in (first, second)]
    return int((~used[0] & ~used[1]).sum())


def _of_any_class(boxes: Detections) -> Detections:
    return Detections(("object",), boxes.xyxy, boxes.score, np.zeros(len(boxes), np.int32))


def _error(differ: Doubles) -> Doubles:
    """Return the rate of errors that makes two passes differ so often; 0.5 where they differ by half or more."""
    error: Doubles = (1 - np.sqrt(np.maximum(1 - 2 * differ, 0))) / 2
    return error


def _plain(values: Doubles) -> dict[str, float]:
    value, low, high = (round(float(value), 5) for value in values)
    return {"value": value, "low": low, "high": high}
