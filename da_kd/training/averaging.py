"""How fast the moving average of the weights forgets, for a training of a given length. Numbers only."""

from __future__ import annotations

import math
from collections.abc import Callable

_MOST = 0.9999  # as ultralytics'
_FARTHEST = 9_999  # steps; with this decay an average reaches back over 10,000 at most


def decay_of(share: float, steps: int) -> Callable[[float], float]:
    """Return by step what the average so far counts against the new weights, 0 to 1.

    The decay rises as ultralytics' does, ``0.9999 (1 - exp(-n / tau))`` at step n, so that a young average forgets its
    first steps. An average with decay d reaches back over about ``1 / (1 - d)`` steps; ``tau`` is chosen such that this
    is ``share * steps`` at the last one. Farther than some 10,000 steps it never reaches: there 0.9999 is the bound.

    Args:
        share: what share of the training the average reaches back over at its end, 0 to 1; where that is a step or
            less, nothing is averaged.
        steps: how long the training is.
    """
    back = min(share * steps, _FARTHEST)
    if back <= 1:
        return lambda _: 0.0
    tau = -steps / math.log(1 - (1 - 1 / back) / _MOST)
    return lambda step: _MOST * (1 - math.exp(-step / tau))
