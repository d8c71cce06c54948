"""Makes scores of different teachers mean the same: the share of such boxes that are right.

Platt's method (1999), on log odds: a score s becomes 1 / (1 + exp(-(a logit(s) + b))), with a and b of each teacher and
class fitted by maximum likelihood to boxes that are known to be right or wrong; a = 1, b = 0 leaves scores as they are.
It never changes the order of one teacher's boxes of one class. Pure numbers; knows no file and no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, Vocabulary
from da_kd.merging.pairs import Doubles
from da_kd.stages.fuse.judged import Judged

ENOUGH = 30  # right boxes, and wrong ones, that a class needs for a line of its own
SOME = 10  # and those it needs for a shift of its own
_EDGE = 1e-6  # scores are kept this far from 0 and 1, whose log odds are infinite
_BINS = 10
_ROUNDS = 100


@dataclass(frozen=True)
class Line:
    """A straight line from log odds to log odds, a > 0."""

    a: float
    b: float

    def __call__(self, score: Doubles) -> Doubles:
        """Return the (N,) scores that (N,) scores in [0, 1] become, in (0, 1)."""
        calibrated: Doubles = _chance(self.a * _log_odds(score) + self.b)
        return calibrated


@dataclass(frozen=True)
class Calibration:
    """What becomes of one teacher's scores, class by class.

    Attributes:
        lines: for each class its line, or None where scores stay as they are.
        origin: for each class what it was fitted on: ``class``; ``shift`` (few boxes: b is its own, a that of all
            classes together); ``pooled`` (too few: both are those of all classes); or ``none``.
        boxes: for each class how many boxes were known to be right or wrong.
        right: for each class how many of them were right.
        error: the expected calibration error before and after; each half of the images is judged by lines that were
            fitted on the other half.
    """

    lines: tuple[Line | None, ...]
    origin: tuple[str, ...]
    boxes: tuple[int, ...]
    right: tuple[int, ...]
    error: tuple[float, float]

    def __call__(self, score: Doubles, label: IntArray) -> Doubles:
        """Return the (N,) scores that (N,) scores of these classes become."""
        return _applied(self.lines, score, label)

    def as_json(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Return the figures as a JSON object, by class name."""
        classes = {
            name: {
                "a": line.a if line else 1.0,
                "b": line.b if line else 0.0,
                "fitted_on": self.origin[position],
                "boxes": self.boxes[position],
                "right": self.right[position],
            }
            for position, (name, line) in enumerate(zip(vocabulary, self.lines, strict=True))
        }
        return {"classes": classes, "error_before": self.error[0], "error_after": self.error[1]}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], vocabulary: Vocabulary) -> Calibration:
        """Return the calibration that :meth:`as_json` told of."""
        parts = [tree["classes"][name] for name in vocabulary]
        origin, boxes, right = (tuple(part[key] for part in parts) for key in ("fitted_on", "boxes", "right"))
        lines = tuple(Line(part["a"], part["b"]) if part["fitted_on"] != "none" else None for part in parts)
        return cls(lines, origin, boxes, right, (tree["error_before"], tree["error_after"]))


def calibrated(judged: Judged) -> Calibration:
    """Return what becomes of a teacher's scores, given which of its boxes are right."""
    lines, origin = _lines(judged)
    after = judged.score.copy()
    for half in (0, 1):
        mine = judged.image % 2 == half
        other, _ = _lines(judged.pick(~mine), 0.5)
        after[mine] = _applied(other, judged.score[mine], judged.label[mine])
    classes = len(judged.objects)
    boxes = np.bincount(judged.label, minlength=classes).tolist()
    right = np.bincount(judged.label[judged.right], minlength=classes).tolist()
    error = calibration_error(judged.score, judged.right), calibration_error(after, judged.right)
    return Calibration(lines, origin, tuple(boxes), tuple(right), error)


def calibration_error(score: Doubles, right: BoolArray) -> float:
    """Return the expected calibration error of (N,) scores, 0 to 1: how far they are from the share that is right.

    The mean over ten equal bins of the score, weighted by the boxes in each, of the distance between the mean score and
    the share of right boxes (Naeini et al. 2015; Guo et al. 2017, equation 3). 0 where there is no box.
    """
    place = np.minimum((score * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(place, score - right, _BINS)
    return float(np.abs(gaps).sum() / max(len(score), 1))


def fit(score: Doubles, right: BoolArray, slope: float | None = None) -> Line | None:
    """Return the line of maximum likelihood, or None where higher scores are not more often right.

    By Newton's method; the targets are Platt's, a little off 0 and 1, so that the maximum exists.

    Args:
        score: (N,) scores in [0, 1].
        right: (N,) bool.
        slope: the line's a, where it is known and only b is to be found.
    """
    hits, misses = int(right.sum()), int((~right).sum())
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    odds, one = _log_odds(score), np.ones(len(score))
    inputs = np.column_stack([odds, one] if slope is None else [one])
    known = np.zeros(len(score)) if slope is None else slope * odds
    line = np.array([1.0, 0.0] if slope is None else [0.0])
    for _ in range(_ROUNDS):
        chance = _chance(inputs @ line + known)
        rise = inputs.T @ (chance - target)
        bend = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-9 * np.eye(len(line))
        step, now = np.linalg.solve(bend, rise), _loss(inputs @ line + known, target)
        while np.abs(step).max() > _EDGE and _loss(inputs @ (line - step) + known, target) > now:
            step /= 2
        line -= step
        if np.abs(step).max() <= _EDGE:
            break
    a, b = (line[0], line[1]) if slope is None else (slope, line[0])
    return Line(float(a), float(b)) if a > 0 else None


def _lines(judged: Judged, share: float = 1) -> tuple[tuple[Line | None, ...], tuple[str, ...]]:
    """Return for each class its line and what it was fitted on; of a ``share`` of the images fewer boxes are enough."""
    everything = np.ones(len(judged.score), bool)
    pooled = fit(judged.score, judged.right) if _fewest(judged, everything) >= ENOUGH * share else None
    lines: list[Line | None] = []
    origin: list[str] = []
    for position in range(len(judged.objects)):
        mine = judged.label == position
        score, right, fewest = judged.score[mine], judged.right[mine], _fewest(judged, mine)
        if fewest >= ENOUGH * share and (own := fit(score, right)):
            lines.append(own)
            origin.append("class")
        elif fewest >= SOME * share and pooled:
            lines.append(fit(score, right, pooled.a))
            origin.append("shift")
        else:
            lines.append(pooled)
            origin.append("pooled" if pooled else "none")
    return tuple(lines), tuple(origin)


def _fewest(judged: Judged, some: BoolArray) -> int:
    """Return how many boxes are right, or how many are wrong, whichever are fewer."""
    right = judged.right[some]
    return int(min(right.sum(), (~right).sum()))


def _applied(lines: Sequence[Line | None], score: Doubles, label: IntArray) -> Doubles:
    """Return the scores after each class's line."""
    after = score.copy()
    for position, line in enumerate(lines):
        if line is not None:
            mine = label == position
            after[mine] = line(score[mine])
    return after


def _log_odds(score: Doubles) -> Doubles:
    inner = np.clip(score, _EDGE, 1 - _EDGE)
    odds: Doubles = np.log(inner) - np.log1p(-inner)
    return odds


def _chance(odds: Doubles) -> Doubles:
    chance: Doubles = np.exp(-np.logaddexp(0, -odds))
    return chance


def _loss(odds: Doubles, target: Doubles) -> float:
    """Return the negative log likelihood."""
    return float((np.logaddexp(0, odds) - target * odds).sum())
