"""Whether two models find the same in the same images. Pure; knows no file format and no model.

A box has a partner in the other model when that one says the same class at the same place with the same score, within
the tolerances below. Boxes that score clearly above the floor are to have one; near the floor rounding decides, and one
without counts for nothing. Two models find the same when at most one box in a hundred is alone: where suppression
decides between boxes that overlap by just about its threshold, a rounding error removes one and lets another live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import Floats, IntArray, iou
from da_kd.detections import Detections

FLOOR = 0.05  # lowest score that is compared
SCORE = 0.005  # most that two scores of one box may differ
PLACE = 0.98  # least overlap (IoU) of two boxes that are one
ALONE = 0.01  # most boxes without a partner, as a share of both models' boxes


@dataclass(frozen=True)
class Agreement:
    """How far two models agree.

    Attributes:
        images: images looked at.
        boxes: boxes that were compared, at or above the floor, of both models together.
        alone: boxes of either model that have no partner.
        score: the largest difference of two partners' scores.
        place: the least overlap (IoU) of two partners; 1 where there are none.
    """

    images: int
    boxes: int
    alone: int
    score: float
    place: float

    @property
    def checked(self) -> bool:
        """Whether there was anything to compare."""
        return self.boxes > 0

    @property
    def same(self) -> bool:
        """Whether the two find the same; where neither finds anything, nobody knows."""
        return self.checked and self.alone <= ALONE * self.boxes

    def __str__(self) -> str:
        """Return the figures in words."""
        if not self.checked:
            return f"not checked, since neither model finds a box in these {self.images} images"
        return (
            f"{self.boxes} boxes of both in {self.images} images, {self.alone} without a partner, scores at most "
            f"{self.score:.2g} apart, overlap at least {self.place:.4f}"
        )


def compare(first: Sequence[Detections], second: Sequence[Detections]) -> Agreement:
    """Return how far two models agree on the same images, in the same order; both report from ``FLOOR - SCORE`` up."""
    boxes, alone, score, place = 0, 0, 0.0, 1.0
    for one, other in zip(first, second, strict=True):
        left, right, overlap = _partners(one, other)
        lonely = np.concatenate([np.delete(one.score, left), np.delete(other.score, right)])
        single = int((lonely >= FLOOR + SCORE).sum())
        boxes += int((one.score[left] >= FLOOR).sum() + (other.score[right] >= FLOOR).sum()) + single
        alone += single
        if len(left):
            score = max(score, float(np.abs(one.score[left] - other.score[right]).max()))
            place = min(place, float(overlap.min()))
    return Agreement(len(first), boxes, alone, score, place)


def _partners(one: Detections, other: Detections) -> tuple[IntArray, IntArray, Floats]:
    """Return rows of ``one``, their partners' rows in ``other``, and how far they overlap."""
    from scipy.optimize import linear_sum_assignment

    overlap = iou(one.xyxy.astype(np.float64), other.xyxy.astype(np.float64))
    fits = one.label[:, None] == other.label[None, :]
    fits &= np.abs(one.score[:, None] - other.score[None, :]) <= SCORE
    overlap = np.where(fits & (overlap >= PLACE), overlap, 0.0)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    real = overlap[rows, columns] > 0
    rows, columns = rows[real].astype(np.int64), columns[real].astype(np.int64)
    return rows, columns, overlap[rows, columns]
