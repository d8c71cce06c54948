"""What the guard compares: counts of a table's boxes by class, and distances between two. Knows no verdict."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray
from da_kd.detections import DetectionTable, State

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | None]
NOTHING: Figures = dict.fromkeys(("rate", "score", "sure", "agreement"))
_PIECE = 1 << 16  # scores that two distributions are compared at, at a time


@dataclass(frozen=True)
class Side:
    """Counts of one table by class, (C,) each; ``images`` are those where the class was searched, ``total`` all.

    ``empty`` is the share of the images without a kept box, ``scores`` what all boxes score, rising.
    """

    total: int
    images: Floats
    said: Floats
    kept: Floats
    score: Floats
    agreement: Floats
    empty: float
    scores: FloatArray

    @property
    def rate(self) -> Floats:
        """Kept boxes an image, by class."""
        return _over(self.kept, self.images)

    def figures(self, index: int | None = None) -> Figures:
        """Return the figures of one class, or of all together."""
        part = slice(None) if index is None else slice(index, index + 1)
        kept, said = float(self.kept[part].sum()), float(self.said[part].sum())
        return {
            "rate": float(self.rate[part].sum()),
            "score": float(self.score[part].sum()) / kept if kept else None,
            "sure": kept / said if said else None,
            "agreement": float(self.agreement[part].sum()) / kept if kept else None,
        }


class Tally:
    """Counts the boxes of a table that comes in parts, and keeps nothing of them but their scores.

    What it finds is the same to the last digit however the table was cut, since it adds box after box.

    Args:
        classes: how many there are.
    """

    def __init__(self, classes: int) -> None:
        self._total, self._looked, self._filled = 0, 0, 0
        self._images, self._said, self._kept, self._score, self._agreement = np.zeros((5, classes))
        self._scores = array("f")

    def add(self, table: DetectionTable) -> None:
        """Count a part's boxes, of images and classes that were searched."""
        said = table.searched[table.image_index, table.label]
        kept = said & (table.state == State.KEPT)
        looked = table.searched.any(axis=1)
        per_image = np.bincount(table.image_index[kept], minlength=len(table))[looked]
        self._total += len(table)
        self._looked += len(per_image)
        self._filled += int((per_image > 0).sum())
        self._images += table.searched.sum(axis=0)
        for sums, mask, weight in (
            (self._said, said, None),
            (self._kept, kept, None),
            (self._score, kept, table.score),
            (self._agreement, kept, table.agreement),
        ):
            np.add.at(sums, table.label[mask], 1.0 if weight is None else weight[mask].astype(np.float64))
        self._scores.frombytes(table.score[said].tobytes())

    def side(self) -> Side:
        """Return what was counted so far."""
        return Side(
            total=self._total,
            images=self._images.copy(),
            said=self._said.copy(),
            kept=self._kept.copy(),
            score=self._score.copy(),
            agreement=self._agreement.copy(),
            empty=(self._looked - self._filled) / self._looked if self._looked else 0.0,
            scores=np.sort(np.frombuffer(self._scores, np.float32)),
        )


def count_boxes(table: DetectionTable) -> Side:
    """Count a table's boxes, of images and classes that were searched."""
    tally = Tally(len(table.vocabulary))
    tally.add(table)
    return tally.side()


def _over(part: Floats, whole: Floats) -> Floats:
    """Return a quotient, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def variation(one: Floats, other: Floats) -> float:
    """Return the total variation distance of two histograms, 1 where one of them is empty and the other is not."""
    if not one.sum() or not other.sum():
        return float(one.sum() != other.sum())
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def kolmogorov(one: FloatArray, other: FloatArray) -> float:
    """Return the largest distance of the distribution functions of two sorted samples."""
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    pieces = (side[begin : begin + _PIECE] for side in (one, other) for begin in range(0, len(side), _PIECE))
    return max(float(np.abs(_below(one, at) - _below(other, at)).max()) for at in pieces)


def _below(scores: FloatArray, at: FloatArray) -> Floats:
    """Return the share of sorted scores that are at most each of some numbers."""
    below: Floats = np.searchsorted(scores, at, "right") / len(scores)
    return below
