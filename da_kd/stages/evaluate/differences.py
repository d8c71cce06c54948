"""How far two models lie apart, with an interval: both are resampled on the same draws of images, and subtracted.

Knows figures and resamples; must not know matches, or where a run lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from da_kd.stages.evaluate.metrics import Metrics
from da_kd.stages.evaluate.resampling import interval

FIGURES = ("AP", "AP50")
_ROWS = ("student", "finetuned")


def paired_differences(
    models: Mapping[str, Metrics], resamples: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by row and by the row it is compared with, for AP and AP50, ``difference`` and ``interval``.

    ``student`` and ``finetuned`` are compared with every other row, ``student`` not with ``finetuned``, which comes of
    it. A difference is that of the row less the other; an interval is None where it cannot be told.

    Args:
        models: the figures by row.
        resamples: by row, what ``detail.json`` holds under ``resamples``; all of the same images.
    """
    return {
        row: {
            other: {name: _difference(name, row, other, models, resamples) for name in FIGURES}
            for other in models
            if other != row and (row, other) != _ROWS
        }
        for row in _ROWS
        if row in models and len(models) > 1
    }


def _difference(
    name: str,
    row: str,
    other: str,
    models: Mapping[str, Metrics],
    resamples: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    own, its = getattr(models[row], name), getattr(models[other], name)
    if own is None or its is None:
        return {"difference": None, "interval": None}
    drawn: list[Sequence[float | None]] = [resamples.get(one, {}).get(name, ()) for one in (row, other)]
    first, second = (np.array(values, dtype=np.float64) for values in drawn)
    ends = interval(own - its, first - second) if len(first) == len(second) else None
    return {"difference": own - its, "interval": ends and list(ends)}
