"""What the guard compares: counts of a table's boxes by class, and distances between two. Knows no verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.detections import BoolArray, DetectionTable, State

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | None]
NOTHING: Figures = dict.fromkeys(("rate", "score", "sure", "agreement"))


@dataclass(frozen=True)
class Side:
    """Counts of one table by class, (C,) each; ``images`` are those where the class was searched."""

    images: Floats
    said: Floats
    kept: Floats
    score: Floats
    agreement: Floats
    empty: float
    scores: Floats

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


def count_boxes(table: DetectionTable) -> Side:
    """Count a table's boxes, of images and classes that were searched."""
    count = len(table.vocabulary)
    said = table.searched[table.image_index, table.label]
    kept = said & (table.state == State.KEPT)

    def add(mask: BoolArray, weight: npt.NDArray[np.floating] | None = None) -> Floats:
        weights = None if weight is None else weight[mask].astype(np.float64)
        return np.bincount(table.label[mask], weights, minlength=count).astype(np.float64)

    looked = table.searched.any(axis=1)
    per_image = np.bincount(table.image_index[kept], minlength=len(table))[looked]
    return Side(
        images=table.searched.sum(axis=0).astype(np.float64),
        said=add(said),
        kept=add(kept),
        score=add(kept, table.score),
        agreement=add(kept, table.agreement),
        empty=float((per_image == 0).mean()) if len(per_image) else 0.0,
        scores=np.sort(table.score[said].astype(np.float64)),
    )


def _over(part: Floats, whole: Floats) -> Floats:
    """Return a quotient, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def variation(one: Floats, other: Floats) -> float:
    """Return the total variation distance of two histograms, 1 where one of them is empty and the other is not."""
    if not one.sum() or not other.sum():
        return float(one.sum() != other.sum())
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def kolmogorov(one: Floats, other: Floats) -> float:
    """Return the largest distance of the distribution functions of two sorted samples."""
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    both = np.concatenate([one, other])
    below = [np.searchsorted(side, both, "right") / len(side) for side in (one, other)]
    return float(np.abs(below[0] - below[1]).max())
