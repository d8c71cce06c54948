"""How far two models agree on an image, and which images show their differences best.

Pure functions of boxes; must not know how they are drawn or scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.detections import Detections
from da_kd.merging.matching import paired


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
    """Count the boxes that two sides share; see :func:`~da_kd.merging.matching.paired`."""
    both = int(paired(first, second).sum())
    return Agreement(both, len(first) - both, len(second) - both)


def spread(differences: Sequence[float], wanted: int) -> list[int]:
    """Return up to ``wanted`` positions, evenly spread from the greatest difference to the least; ties in order."""
    order = sorted(range(len(differences)), key=lambda position: (-differences[position], position))
    if wanted >= len(order):
        return order
    steps = np.linspace(0, len(order) - 1, wanted) if wanted > 1 else np.zeros(wanted)
    return [order[int(step + 0.5)] for step in steps]
