"""How sure differences between rows are: paired resamples of the test images, every row seeing the same draws.

The images are drawn (the boxes of an image stay together), not the seeds: three numbers are no sample. In each resample
the APs of a row's seeds are averaged first. Knows tables of boxes; must not know grids, runs or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable
from da_kd.hashing import hash_json
from da_kd.stages.evaluate.matches import match
from da_kd.stages.evaluate.resampling import FEWEST, LEVEL, RESAMPLES, draws, interval, resampled
from da_kd.stages.evaluate.sides import sides_of_tables

Draws = npt.NDArray[np.float64]
Span = dict[str, float | None]  # ``value``, and the ends ``low`` and ``high`` of its 95 % interval


def drawn_ap(scored: Sequence[tuple[DetectionTable, DetectionTable]], most: int, only: str | None = None) -> Draws:
    """Return (R,) AP of every resample, the mean over seeds; NaN where a resample holds no object.

    Args:
        scored: for each seed the ground truth and the predictions.
        most: boxes per image and class that count.
        only: the AP of this class.
    """
    pairs = scored if only is None else [(_of(truth, only), _of(said, only)) for truth, said in scored]
    pairs = [pair for pair in pairs if len(pair[0].xyxy)] or pairs  # a seed's own images may hold no object of a class
    drawn: Draws = np.mean([_drawn(truth, said, most) for truth, said in pairs], axis=0)
    return drawn


def _of(table: DetectionTable, name: str) -> DetectionTable:
    """Return a table with the boxes of one class alone."""
    names = np.array(list(table.vocabulary))
    return table.pick_boxes(names[table.label] == name)


def _drawn(truth: DetectionTable, said: DetectionTable, most: int) -> Draws:
    """Return (R,) AP of one model; the draws are decided by the images alone, so that rows are paired by them.

    Of too few images to draw from, all of it is NaN.
    """
    if len(truth) < FEWEST:
        return np.full(RESAMPLES, np.nan)
    sides = sides_of_tables(truth, said)
    matches = match(sides.truth, sides.found, sides.images, len(sides.classes), most)
    seed = int(hash_json([truth.key, truth.sha])[:8], 16)
    return resampled(matches, draws(len(truth), seed=seed)).AP


def difference(row: str, other: str, means: Mapping[str, float | None], drawn: Mapping[str, Draws]) -> Span:
    """Return the AP of a row less that of another, None for all of it where one of them has none."""
    own, base = means[row], means[other]
    return span(None if own is None or base is None else own - base, drawn[row] - drawn[other])


def span(value: float | None, drawn: Draws) -> Span:
    """Return a value with its interval, by the values it has in the resamples."""
    low, high = interval(value, drawn) or (None, None)
    return {"value": value, "low": low, "high": high}


def recovered(value: float, won: Draws, wide: Draws) -> Span:
    """Return a share of a gap with its interval; without one where more than 2.5 % of the resamples have no gap.

    Few resamples without a gap are left out. In one with next to none the share has no bounds, so deviations are taken
    from the median, which such resamples do not move as they move the mean.

    Args:
        value: the share.
        won: (R,) what is won of the gap in every resample.
        wide: (R,) how wide the gap is there.
    """
    there, outside = wide > 0, (1 - LEVEL) / 2
    if (~there).mean() > outside:
        return {"value": value, "low": None, "high": None}
    share = won[there] / wide[there]
    low, high = value + np.quantile(share, [outside, 1 - outside]) - np.median(share)
    return {"value": value, "low": float(low), "high": float(high)}
