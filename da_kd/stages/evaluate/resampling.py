"""How far AP would move with other test images of the same kind: the bootstrap over images (Efron 1979).

A resample draws as many images as there are, with replacement; the boxes of an image stay together, since they are not
independent. AP of a resample is that of :mod:`~da_kd.stages.evaluate.precision` with every image counted as often as it
was drawn. Models that are resampled with one seed on the same images see the same draws, so their APs can be subtracted
pair by pair. Knows matches; must not know names or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from da_kd.boxes import IntArray
from da_kd.stages.evaluate.matches import IOUS, Doubles, Matches, Outcome, Outcomes
from da_kd.stages.evaluate.precision import RECALLS, class_rows

RESAMPLES = 1000
SEED = 0  # of the draws; one for all models and runs, so that they can be compared
LEVEL = 0.95
_FEWEST = 2  # images, below which nothing can be drawn
_CELLS = 1 << 22  # numbers in a table
_EPS = np.spacing(1)
_TIE = 1e-9  # far below 1 / objects: two recalls that close are equal
# Where i / 100 falls short of pycocotools' i-th recall, by its rounding.
_SHORT = (np.arange(101) / 100 < RECALLS).astype(np.float64)


@dataclass(frozen=True)
class Resamples:
    """AP and AP50 of (R,) resamples, fractions 0 to 1; NaN where the resample holds no object."""

    AP: Doubles
    AP50: Doubles


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Doubles:
    """Return (I, R) how often each image is drawn in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples).T.astype(np.float64, order="C")


def resample(matches: Matches) -> Resamples | None:
    """Return the resamples of a model's matches, None where there are too few images to tell anything from them."""
    return resampled(matches, draws(matches.images)) if matches.images >= _FEWEST else None


def resampled(matches: Matches, weights: Doubles) -> Resamples:
    """Return AP and AP50 of the images counted ``weights`` times, (I, R) >= 0, one result a column."""
    curves = list(_ranked_classes(matches))
    columns = max(100, _CELLS // max([1, *(len(one.hits) for one in curves)]))
    starts = range(0, weights.shape[1], columns)
    parts = [_resampled(curves, np.ascontiguousarray(weights[:, begin : begin + columns])) for begin in starts]
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
class _Ranked:
    """One class: its N found boxes that matter, the best scores first, and its objects.

    Attributes:
        image: (N,) the image of each box.
        outcome: (10, N) by IoU threshold.
        hits: (H,) rows that are right at some threshold; precision is at its best at those, so others only count.
        objects: (I,) how many objects each image has.
    """

    image: IntArray
    outcome: Outcomes
    hits: IntArray
    objects: IntArray


def _ranked_classes(matches: Matches) -> Iterator[_Ranked]:
    """Yield the classes that have objects; boxes behind the last hit matter to no figure and are left out."""
    to_find = ~matches.ignored[0]
    for label, rows in enumerate(class_rows(matches)):
        own = matches.truth.image[to_find & (matches.truth.label == label)]
        if len(own):
            by_score = rows[np.argsort(-matches.found.score[rows], kind="stable")]
            hits = np.flatnonzero((matches.outcome[0][:, by_score] == Outcome.RIGHT).any(axis=0))
            by_score = by_score[: hits[-1] + 1 if len(hits) else 0]
            objects = np.bincount(own, minlength=matches.images)
            yield _Ranked(matches.found.image[by_score], matches.outcome[0][:, by_score], hits, objects)


def _resampled(classes: Sequence[_Ranked], weights: Doubles) -> tuple[Doubles, Doubles]:
    """Return AP and AP50 by column of ``weights``."""
    total, defined = np.zeros((len(IOUS), weights.shape[1])), np.zeros(weights.shape[1])
    for one in classes:
        wanted = one.objects @ weights
        defined += wanted > 0
        boxes = _running(np.arange(len(one.image)), one.image, one.hits, weights)
        for number, outcome in enumerate(one.outcome):
            own = outcome[one.hits] == Outcome.RIGHT
            counted, hits = boxes[own], one.hits[own]
            skipped = np.flatnonzero(outcome == Outcome.IGNORED)
            if len(skipped) and len(hits):
                counted -= _running(skipped, one.image, hits, weights)
            total[number] += _average(weights[one.image[hits]], counted, wanted)
    with np.errstate(invalid="ignore"):
        total /= defined
    return total.mean(axis=0), total[0]


def _average(weights: Doubles, counted: Doubles, wanted: Doubles) -> Doubles:
    """Return (R,) the mean of precision over the 101 recalls.

    Args:
        weights: (H, R) how often each hit counts, the best scores first.
        counted: (H, R) how many boxes there are up to it.
        wanted: (R,) how many objects there are.
    """
    hits = weights.copy()
    _accumulate(np.add, hits)
    best = hits / (counted + _EPS)
    _accumulate(np.maximum, best[::-1])
    recall = hits * (100 / np.maximum(wanted, 1)) + _TIE
    whole = np.floor(recall)
    ties = recall - whole < 2 * _TIE
    reached = whole + 1
    reached[ties] -= _SHORT[whole[ties].astype(np.int64)]
    reached[1:] -= reached[:-1].copy()
    return np.asarray(np.einsum("hr,hr->r", best, reached) / len(RECALLS))


def _running(boxes: IntArray, image: IntArray, hits: IntArray, weights: Doubles) -> Doubles:
    """Return (H, R) how many of ``boxes`` (rows in the order of scores) there are up to each hit, as drawn."""
    from scipy.sparse import csr_matrix

    place = np.searchsorted(hits, boxes)
    inside = place < len(hits)
    shape = (len(hits), len(weights))
    counts = csr_matrix((np.ones(int(inside.sum())), (place[inside], image[boxes[inside]])), shape=shape)
    table: Doubles = counts @ weights
    _accumulate(np.add, table)
    return table


def _accumulate(step: np.ufunc, rows: Sequence[Doubles] | Doubles) -> None:
    """Apply ``step`` to every row and the one before it, in place; much faster than numpy's own along columns."""
    for before, row in pairwise(rows):
        step(before, row, out=row)
