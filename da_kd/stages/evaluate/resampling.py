"""How far AP would move with other test images of the same kind: the bootstrap over images (Efron 1979).

A resample draws as many images as there are, with replacement; the boxes of an image stay together, since they are not
independent. AP of a resample is that of :mod:`~da_kd.stages.evaluate.precision` with every image counted as often as it
was drawn. Models that are resampled with one seed on the same images see the same draws, so their APs can be subtracted
pair by pair. Knows matches; must not know names or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.stages.evaluate.matches import IOUS, Doubles, Matches, Outcome, Outcomes
from da_kd.stages.evaluate.precision import RECALLS, class_rows

RESAMPLES = 1000
SEED = 0  # of the draws; one for all models and runs, so that they can be compared
LEVEL = 0.95
FEWEST = 2  # images, below which nothing can be drawn
_CELLS = 1 << 18  # numbers in a table: as many as a processor has near
_EPS = np.spacing(1)

Counts = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Resamples:
    """AP and AP50 of (R,) resamples, fractions 0 to 1; NaN where the resample holds no object."""

    AP: Doubles
    AP50: Doubles


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """Return (R, I) how often each image is drawn in each resample."""
    rng, share = np.random.default_rng(seed), np.full(images, 1 / images)
    drawn = np.empty((resamples, images), np.uint16)
    for row in drawn:
        row[:] = rng.multinomial(images, share)
    return drawn


def resample(matches: Matches) -> Resamples | None:
    """Return the resamples of a model's matches, None where there are too few images to tell anything from them."""
    return resampled(matches, draws(matches.images)) if matches.images >= FEWEST else None


def resampled(matches: Matches, weights: Counts) -> Resamples:
    """Return AP and AP50 of the images counted ``weights`` times, (R, I) whole numbers, one result a row."""
    curves = list(_ranked_classes(matches))
    rows = max(1, _CELLS // max([1, *(len(one.image) for one in curves)]))
    parts = [_resampled(curves, weights[begin : begin + rows]) for begin in range(0, len(weights), rows)]
    return Resamples(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def interval(figure: float | None, values: Doubles) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure from its ``values`` in the resamples, None where nothing is defined.

    It is the middle 95 % of the resamples' deviations from their own mean, around the figure. Their mean itself is no
    guide: drawing an image twice lifts the envelope of precision, so resamples lie above the figure by a little.
    """
    defined = values[np.isfinite(values)]
    if figure is None or not defined.size:
        return None
    low, high = (figure + np.quantile(defined - defined.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])).tolist()
    return low, high


@dataclass(frozen=True)
class _Level:
    """What one IoU threshold makes of a class's N found boxes.

    Attributes:
        hits: (H,) rows that are right; precision is at its best at those, so others only count.
        skipped: rows that do not count.
        before: (H,) how many of these stand up to each hit.
    """

    hits: IntArray
    skipped: IntArray
    before: IntArray


@dataclass(frozen=True)
class _Ranked:
    """One class: its N found boxes that matter, the best scores first, and its objects.

    Attributes:
        image: (N,) the image of each box.
        levels: one for each IoU threshold.
        objects: (I,) how many objects each image has.
    """

    image: IntArray
    levels: tuple[_Level, ...]
    objects: IntArray


def _ranked_classes(matches: Matches) -> Iterator[_Ranked]:
    """Yield the classes that have objects; boxes behind the last hit matter to no figure and are left out."""
    to_find = ~matches.ignored[0]
    for label, rows in enumerate(class_rows(matches)):
        own = matches.truth.image[to_find & (matches.truth.label == label)]
        if len(own):
            by_score = rows[np.argsort(-matches.found.score[rows], kind="stable")]
            outcome = matches.outcome[0][:, by_score]
            hits = np.flatnonzero((outcome == Outcome.RIGHT).any(axis=0))
            count = hits[-1] + 1 if len(hits) else 0
            levels = tuple(_level(one[:count]) for one in outcome)
            yield _Ranked(matches.found.image[by_score[:count]], levels, np.bincount(own, minlength=matches.images))


def _level(outcome: Outcomes) -> _Level:
    hits, skipped = np.flatnonzero(outcome == Outcome.RIGHT), np.flatnonzero(outcome == Outcome.IGNORED)
    return _Level(hits, skipped, np.searchsorted(skipped, hits))


def _resampled(classes: Sequence[_Ranked], weights: Counts) -> tuple[Doubles, Doubles]:
    """Return AP and AP50 by row of ``weights``."""
    total, defined = np.zeros((len(IOUS), len(weights))), np.zeros(len(weights))
    for one in classes:
        wanted: Doubles = weights.astype(np.float64) @ one.objects
        defined += wanted > 0
        needed, drawn = _needed(wanted), np.take(weights, one.image, axis=1)
        boxes = np.cumsum(drawn, axis=1, dtype=np.float64)
        for number, level in enumerate(one.levels):
            counted = np.take(boxes, level.hits, axis=1)
            if len(level.skipped) and len(level.hits):
                skipped = np.zeros((len(drawn), len(level.skipped) + 1))
                np.cumsum(np.take(drawn, level.skipped, axis=1), axis=1, out=skipped[:, 1:])
                counted -= np.take(skipped, level.before, axis=1)
            total[number] += _average(np.take(drawn, level.hits, axis=1), counted, needed)
    with np.errstate(invalid="ignore"):
        total /= defined
    return np.asarray(sum(total) / len(total)), total[0]  # row after row, so that no cut changes a digit


def _needed(wanted: Doubles) -> Doubles:
    """Return (R, 101) the fewest hits of (R,) objects that reach each recall, rounded as pycocotools rounds."""
    objects = np.maximum(wanted, 1)[:, None]
    hits = np.ceil(objects * RECALLS)
    hits -= (hits - 1) / objects >= RECALLS
    hits += hits / objects < RECALLS
    return hits


def _average(weights: Counts, counted: Doubles, needed: Doubles) -> Doubles:
    """Return (R,) the mean of precision over the 101 recalls.

    Args:
        weights: (R, H) how often each hit counts, the best scores first.
        counted: (R, H) how many boxes there are up to it.
        needed: (R, 101) how many hits reach each recall.
    """
    if not weights.shape[1]:
        return np.zeros(len(weights))
    hits = np.cumsum(weights, axis=1, dtype=np.float64)
    best = np.divide(hits, np.add(counted, _EPS, out=counted), out=counted)
    np.maximum.accumulate(best[:, ::-1], axis=1, out=best[:, ::-1])
    # All rows are searched at once, each lifted above the one before it; whole numbers, so nothing is rounded.
    count, lift = hits.shape[1], np.arange(len(hits))[:, None]
    above = lift * (max(hits[:, -1].max(), needed.max()) + 1)
    at = np.searchsorted((hits + above).ravel(), (needed + above).ravel()).reshape(needed.shape) - lift * count
    reached = np.take_along_axis(best, np.minimum(at, count - 1), axis=1)
    return np.asarray(np.where(at < count, reached, 0.0).sum(axis=1) / len(RECALLS))
