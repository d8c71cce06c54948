"""Which boxes of two sides are the same object, and which images show the differences of two models best.

Pure functions of boxes; must not know how they are drawn or scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import area, iou
from da_kd.detections import BoolArray, Detections

SAME = 0.5  # least IoU of two boxes of one object


@dataclass(frozen=True)
class Agreement:
    """How many boxes two sides share, and how many only one of them has."""

    both: int
    only_first: int
    only_second: int

    @property
    def difference(self) -> float:
        """0 where the sides agree on every box (or have none), 1 where they agree on none: 1 - F1."""
        alone = self.only_first + self.only_second
        return alone / (2 * self.both + alone) if alone else 0.0


def compare(first: Detections, second: Detections) -> Agreement:
    """Count the boxes that two sides share; see :func:`paired`."""
    both = int(paired(first, second).sum())
    return Agreement(both, len(first) - both, len(second) - both)


def paired(first: Detections, second: Detections) -> BoolArray:
    """Return for the (M,) boxes of ``second`` whether each has a partner of its own in ``first``.

    Partners have the same class name and an IoU of at least 0.5; the best scores of ``second`` choose first.
    """
    fits = np.where(_same_class(first, second), iou(first.xyxy, second.xyxy), 0.0)
    has = np.zeros(len(second), dtype=bool)
    for box in np.argsort(-second.score, kind="stable") if len(first) else ():
        best = int(fits[:, box].argmax())
        if fits[best, box] >= SAME:
            has[box] = True
            fits[best] = 0.0  # taken
    return has


def inside(regions: Detections, boxes: Detections) -> BoolArray:
    """Return for the (M,) ``boxes`` whether half of each or more lies in one region of its class."""
    low = np.maximum(regions.xyxy[:, None, :2], boxes.xyxy[None, :, :2])
    high = np.minimum(regions.xyxy[:, None, 2:], boxes.xyxy[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    covered = _same_class(regions, boxes) & (shared >= SAME * area(boxes.xyxy)[None, :])
    return np.asarray(covered.any(axis=0))


def _same_class(first: Detections, second: Detections) -> BoolArray:
    """Return an (N, M) mask: True where the names of the classes are equal."""
    names = [np.array([side.vocabulary[label] for label in side.label], dtype=object) for side in (first, second)]
    return np.asarray(names[0][:, None] == names[1][None, :], dtype=bool)


def spread(differences: Sequence[float], wanted: int) -> list[int]:
    """Return up to ``wanted`` positions, evenly spread from the greatest difference to the least; ties in order."""
    order = sorted(range(len(differences)), key=lambda position: (-differences[position], position))
    if wanted >= len(order):
        return order
    steps = np.linspace(0, len(order) - 1, wanted) if wanted > 1 else np.zeros(wanted)
    return [order[int(step + 0.5)] for step in steps]
