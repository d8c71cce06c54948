"""What goes wrong: the types of errors and what each costs in AP50, and which class is taken for which.

The types are those of TIDE (Bolya, Foley, Hays and Hoffman, *TIDE: A General Toolbox for Identifying Object Detection
Errors*, ECCV 2020), in the order of its released code. Knows matches; must not know names or files.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray
from da_kd.stages.evaluate.matches import IOUS, Doubles, Matches, Outcome, Pairs, match
from da_kd.stages.evaluate.precision import precision_at

TYPES = ("class", "localisation", "both", "duplicate", "background", "missed")
SURE = 0.25  # boxes of the confusion score at least this: ultralytics' own default for what it shows
_ENOUGH = float(IOUS[0])


@dataclass(frozen=True)
class ErrorType:
    """How often an error occurs (boxes, or objects where they are missed), and the AP50 that mending it would win."""

    count: int
    cost: float


@dataclass(frozen=True)
class _Boxes:
    """The D found boxes as the types see them, at IoU 0.50.

    Attributes:
        kind: (D,) position in :data:`TYPES`, -1 for a box that is right or ignored.
        object: (D,) the object a box of the wrong class or place is about.
        mends: (D,) True where it would find that object, were it mended: nobody else did, and no such box is surer.
    """

    kind: npt.NDArray[np.int64]
    object: IntArray
    mends: BoolArray


def error_types(matches: Matches) -> dict[str, ErrorType]:
    """Return the types of errors in the order of :data:`TYPES`, at IoU 0.50; a box counts once, as its first type.

    - *localisation*: the greatest overlap with an object of its class is 0.1 to 0.5.
    - *class*: it overlaps an object of another class by at least 0.5.
    - *duplicate*: it overlaps an object of its class by 0.5 or more that a better box has found.
    - *background*: it overlaps no object by 0.1.
    - *both*: all others: wrong class and wrong place.
    - *missed*: an object that no box found, and no box of the first two types is about.

    Mending moves a box of the first two types to its object, where it is the surest of those about an object that
    nobody found, and removes it otherwise; boxes of the other types are removed, and missed objects are no longer asked
    for.
    """
    boxes, found = _types(matches), matches.found
    counts = matches.outcome[0, 0] != Outcome.IGNORED
    right = matches.outcome[0, 0] == Outcome.RIGHT
    to_find = ~matches.ignored[0]
    unmet = to_find & ~_marked(matches.partner[right], len(to_find))
    missed = unmet & ~_marked(boxes.object[boxes.mends], len(to_find))
    objects = _by_class(matches, to_find)
    reached = _ap50(found.label[counts], found.score[counts], right[counts], objects)
    types = {}
    for number, name in enumerate(TYPES[:-1]):
        mine = boxes.kind == number
        mended = mine & boxes.mends
        label = found.label.copy()
        label[mended] = matches.truth.label[boxes.object[mended]]
        stays = counts & (~mine | mended)
        better = _ap50(label[stays], found.score[stays], (right | mended)[stays], objects)
        types[name] = ErrorType(int(mine.sum()), max(0.0, better - reached))
    fewer = _ap50(found.label[counts], found.score[counts], right[counts], _by_class(matches, to_find & ~missed))
    return types | {"missed": ErrorType(int(missed.sum()), max(0.0, fewer - reached))}


def confusion(matches: Matches, least: float = SURE) -> dict[tuple[int, int], int]:
    """Return how many objects of one class (first) are taken for which (second), -1 being nothing.

    Boxes that score at least ``least`` choose objects of any class at IoU 0.50, the surest first. An object that no box
    chose is (its class, -1); a box that has no object is (-1, its class).
    """
    found = matches.found.pick(matches.found.score >= least)
    found = found.pick(np.lexsort((-found.score, found.image)))
    one = match(
        dataclasses.replace(matches.truth, label=np.zeros_like(matches.truth.label)),
        dataclasses.replace(found, label=np.zeros_like(found.label)),
        matches.images,
        1,
        max(1, len(found.score)),
    )
    counts = one.outcome[0, 0] != Outcome.IGNORED
    has = one.partner[counts] >= 0
    objects, said = one.partner[counts][has], found.label[counts]
    missed = matches.truth.label[~matches.ignored[0] & ~_marked(objects, len(matches.truth.label))]
    first = np.concatenate([matches.truth.label[objects], np.full(int((~has).sum()), -1), missed])
    second = np.concatenate([said[has], said[~has], np.full(len(missed), -1)])
    pairs, count = np.unique(np.stack([first, second], axis=1), axis=0, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, count, strict=True)}


def _types(matches: Matches) -> _Boxes:
    pairs, found = matches.pairs, matches.found
    pairs = pairs.pick(~matches.ignored[0][pairs.truth])
    same = matches.truth.label[pairs.truth] == found.label[pairs.found]
    (own, own_at), (other, other_at) = (_nearest(pairs.pick(mask), len(found.score)) for mask in (same, ~same))
    false = matches.outcome[0, 0] == Outcome.FALSE
    near = (own > 0) & (own < _ENOUGH)
    tests = [near, other >= _ENOUGH, own >= _ENOUGH, np.maximum(own, other) == 0]
    kinds = [TYPES.index(name) for name in ("localisation", "class", "duplicate", "background")]
    kind = np.where(false, np.select(tests, kinds, TYPES.index("both")), -1)
    about = np.select([kind == kinds[0], kind == kinds[1]], [own_at, other_at], 0)
    candidates = np.flatnonzero((kind == kinds[0]) | (kind == kinds[1]))
    met = _marked(matches.partner[matches.outcome[0, 0] == Outcome.RIGHT], len(matches.truth.label))
    candidates = candidates[~met[about[candidates]]]
    candidates = candidates[np.argsort(-found.score[candidates], kind="stable")]
    mends = np.zeros(len(kind), bool)
    mends[candidates[np.unique(about[candidates], return_index=True)[1]]] = True
    return _Boxes(kind, about, mends)


def _nearest(pairs: Pairs, boxes: int) -> tuple[Doubles, IntArray]:
    """Return the greatest IoU of each of the boxes, 0 where there is no pair, and with which object."""
    order = np.argsort(pairs.iou, kind="stable")
    greatest, at = np.zeros(boxes), np.zeros(boxes, np.int64)
    greatest[pairs.found[order]] = pairs.iou[order]  # the last one written stays
    at[pairs.found[order]] = pairs.truth[order]
    return greatest, at


def _marked(rows: IntArray, count: int) -> BoolArray:
    """Return a (count,) mask of these rows."""
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def _by_class(matches: Matches, objects: BoolArray) -> IntArray:
    """Return (C,) how many of these objects each class has."""
    return np.bincount(matches.truth.label[objects], minlength=matches.classes)


def _ap50(label: IntArray, score: Doubles, right: BoolArray, objects: IntArray) -> float:
    """Return the mean AP of the classes that have objects, 0 without any."""
    order = np.lexsort((-score, label))
    ends = np.searchsorted(label[order], np.arange(len(objects) + 1))
    figures = [
        float(precision_at(right[order[begin:end]], int(number)).mean())
        for begin, end, number in zip(ends[:-1], ends[1:], objects, strict=True)
        if number
    ]
    return float(np.mean(figures)) if figures else 0.0
