"""Precision and recall from matches, in pycocotools' own order of additions, so that figures equal its last digit.

Knows outcomes and scores; must not know boxes, names or files.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from da_kd.detections import BoolArray
from da_kd.stages.evaluate.matches import IOUS, SIZES, Doubles, Matches, Outcome

RECALLS = np.linspace(0, 1, 101)  # the recalls at which pycocotools reads precision off
NOTHING = -1.0  # its mark of what is undefined: there is no object to find
_EPS = np.spacing(1)  # it divides by one more of these


def precision_curves(matches: Matches) -> Doubles:
    """Return (10, 101, C, 4) precision by IoU threshold, recall, class and size of object; -1 where undefined."""
    objects = _objects(matches)
    precision = np.full((len(IOUS), len(RECALLS), matches.classes, len(SIZES)), NOTHING)
    for label, rows in enumerate(class_rows(matches)):
        by_score = rows[np.argsort(-matches.found.score[rows], kind="stable")]
        for size in np.flatnonzero(objects[:, label]).tolist():
            outcome = matches.outcome[size][:, by_score]
            right, counts = outcome == Outcome.RIGHT, outcome != Outcome.IGNORED
            precision[:, :, label, size] = _curves(right, counts, objects[size, label])
    return precision


def precision_at(right: BoolArray, objects: int) -> Doubles:
    """Return (101,) precision by recall of one class whose boxes, the best scores first, are ``right`` or false."""
    curve: Doubles = _curves(right[None], np.ones((1, len(right)), bool), objects)[0]
    return curve


def total_recall(matches: Matches, most: int) -> Doubles:
    """Return (10, C) recall by IoU threshold and class with the ``most`` best boxes of each image and class."""
    objects = _objects(matches)[0]
    recall = np.full((len(IOUS), matches.classes), NOTHING)
    for label, rows in enumerate(class_rows(matches)):
        if objects[label]:
            first = rows[matches.rank[rows] < most]
            recall[:, label] = (matches.outcome[0][:, first] == Outcome.RIGHT).sum(axis=1) / objects[label]
    return recall


def class_rows(matches: Matches) -> list[npt.NDArray[np.int64]]:
    """Return the rows of the found boxes of each class."""
    ends = np.searchsorted(matches.found.label, np.arange(matches.classes + 1))
    return [np.arange(begin, end) for begin, end in pairwise(ends)]


def _objects(matches: Matches) -> npt.NDArray[np.int64]:
    """Return (4, C) how many objects there are to find, by size and class."""
    label = matches.truth.label
    return np.stack([np.bincount(label[~skip], minlength=matches.classes) for skip in matches.ignored])


def _curves(right: BoolArray, counts: BoolArray, objects: int) -> Doubles:
    """Return (T, 101) precision by recall from (T, N) outcomes, the best scores first."""
    hits = np.cumsum(right, axis=1).astype(np.float64)
    precision = hits / (np.cumsum(counts, axis=1).astype(np.float64) + _EPS)
    # The best precision at this recall or a higher one; beyond the last recall it is 0.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    reached = [np.searchsorted(recall, RECALLS, side="left") for recall in hits / objects]
    curves: Doubles = np.take_along_axis(best, np.stack(reached), axis=1)
    return curves
