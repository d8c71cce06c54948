"""Which found box meets which object, at every IoU threshold and for every size of object, all images at once.

The rule is that of pycocotools (``COCOeval.evaluateImg``), and so is the IoU: found boxes choose in the order of their
scores, each the free object of its class that it overlaps most. Images have nothing to do with each other, nor have
classes, so step k looks at the k-th box of every image and class in one array operation. Knows boxes, scores, and
classes as numbers; must not know names, files, or what the figures are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray

Doubles = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.int8]

IOUS = np.linspace(0.5, 0.95, 10)  # pycocotools' thresholds
SIZES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])  # all, small, medium, large; square pixels
TOUCHING = 0.1  # least IoU of a pair that is written down; below it a box is background to an object


class Outcome(IntEnum):
    """What becomes of a found box at one IoU threshold and size."""

    FALSE = 0  # it meets no object that is free
    RIGHT = 1
    IGNORED = 2  # it neither rewards nor punishes


@dataclass(frozen=True)
class Truth:
    """G objects.

    Attributes:
        image: (G,) the image each lies in, from 0.
        label: (G,) its class, from 0.
        xywh: (G, 4) left, top, width, height in pixels.
        area: (G,) square pixels, by which it is small, medium or large.
        crowd: (G,) True where a box that lies in it neither rewards nor punishes.
    """

    image: IntArray
    label: IntArray
    xywh: Doubles
    area: Doubles
    crowd: BoolArray


@dataclass(frozen=True)
class Found:
    """D found boxes: ``image``, ``label`` and ``xywh`` as in :class:`Truth`, and (D,) ``score``."""

    image: IntArray
    label: IntArray
    xywh: Doubles
    score: Doubles

    def pick(self, rows: IntArray | BoolArray) -> Found:
        """Return some of the boxes, in the order given."""
        return Found(self.image[rows], self.label[rows], self.xywh[rows], self.score[rows])


@dataclass(frozen=True)
class Pairs:
    """P pairs of boxes in one image with an IoU of at least 0.1, sorted by found box; classes may differ.

    Attributes:
        found: (P,) row of the found box.
        truth: (P,) row of the object.
        iou: (P,) in [0.1, 1]; with a crowd, the share of the found box that lies in it.
    """

    found: IntArray
    truth: IntArray
    iou: Doubles

    def pick(self, rows: IntArray | BoolArray) -> Pairs:
        """Return some of the pairs, in the order given."""
        return Pairs(self.found[rows], self.truth[rows], self.iou[rows])


@dataclass(frozen=True)
class Matches:
    """Found boxes and objects, and which met.

    Attributes:
        images: how many images there are, with boxes or without.
        classes: how many classes.
        truth: the G objects, as given.
        found: the D found boxes that count, sorted by class, then image, then score, the best first.
        rank: (D,) how many boxes of its image and class stand before each.
        ignored: (4, G) by size of object (all, small, medium, large): True for those that need not be found.
        outcome: (4, 10, D) :class:`Outcome` by size and IoU threshold (0.50, 0.55, ... 0.95).
        partner: (D,) the object each box meets at IoU 0.50, -1 for none.
        pairs: the pairs that overlap.
    """

    images: int
    classes: int
    truth: Truth
    found: Found
    rank: IntArray
    ignored: BoolArray
    outcome: Outcomes
    partner: IntArray
    pairs: Pairs


def match(truth: Truth, found: Found, images: int, classes: int, most: int) -> Matches:
    """Match found boxes with objects; of each image and class, the ``most`` best scores count."""
    found, rank = _ranked(found, most)
    pairs = _overlapping(truth, found, images)
    outside = (truth.area < SIZES[:, :1]) | (truth.area > SIZES[:, 1:])
    ignored = truth.crowd | outside
    same = (truth.label[pairs.truth] == found.label[pairs.found]) & (pairs.iou >= IOUS[0])
    outcome, partner = _assign(truth, found, ignored, pairs.pick(same))
    area = found.xywh[:, 2] * found.xywh[:, 3]
    elsewhere = (area < SIZES[:, :1]) | (area > SIZES[:, 1:])
    outcome[elsewhere[:, None] & (outcome == Outcome.FALSE)] = Outcome.IGNORED
    return Matches(images, classes, truth, found, rank, ignored, outcome, partner, pairs)


def _ranked(found: Found, most: int) -> tuple[Found, IntArray]:
    """Return the boxes that count, sorted by class, image and score, and their ranks; equal scores keep their order."""
    found = found.pick(np.lexsort((-found.score, found.image, found.label)))
    rank = _counted(found.label, found.image)
    return found.pick(rank < most), rank[rank < most]


def _counted(*keys: IntArray) -> IntArray:
    """Return for every row how many rows directly before it have the same keys."""
    rows = np.arange(len(keys[0]))
    new = np.ones(len(rows), bool)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.asarray(rows - np.maximum.accumulate(np.where(new, rows, 0)), np.int64)


def _overlapping(truth: Truth, found: Found, images: int) -> Pairs:
    """Return the pairs that overlap, by pycocotools' own IoU, so that not even its rounding differs."""
    from pycocotools.mask import iou

    crowd = truth.crowd.astype(np.uint8)
    parts: list[tuple[IntArray, IntArray, Doubles]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for boxes, objects in zip(_by_image(found.image, images), _by_image(truth.image, images), strict=True):
        if len(boxes) and len(objects):
            shared = iou(found.xywh[boxes], truth.xywh[objects], crowd[objects])
            rows, columns = np.nonzero(shared >= TOUCHING)
            parts.append((boxes[rows], objects[columns], shared[rows, columns]))
    pairs = Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return pairs.pick(np.lexsort((pairs.truth, pairs.found)))


def _by_image(image: IntArray, images: int) -> Iterator[IntArray]:
    """Yield the rows of each image, in order."""
    order = np.argsort(image, kind="stable")
    ends = np.cumsum(np.bincount(image, minlength=images)).tolist()
    return (order[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


def _assign(truth: Truth, found: Found, ignored: BoolArray, pairs: Pairs) -> tuple[Outcomes, IntArray]:
    """Return outcomes and partners (see :class:`Matches`); ``pairs`` are those of one class each."""
    outcome = np.zeros((len(SIZES), len(IOUS), len(found.score)), np.int8)
    partner = np.full(len(found.score), -1, np.int64)
    taken = np.zeros((len(SIZES), len(IOUS), len(truth.label)), bool)
    enough = np.minimum(IOUS, 1 - 1e-10)[:, None]
    sizes, ious = np.arange(len(SIZES))[:, None, None], np.arange(len(IOUS))[:, None]
    for step in _steps(found, pairs):
        now = pairs.pick(step)
        order, wish = _wishes(ignored, now)
        free = (~taken[:, :, now.truth] | truth.crowd[now.truth]) & (now.iou >= enough)
        first = np.flatnonzero(np.diff(now.found, prepend=-1))
        best = np.maximum.reduceat(np.where(free, wish[:, None], -1), first, axis=-1)
        meets, chosen = best >= 0, now.truth[order[sizes, best]]
        skip = ignored[sizes, chosen]
        outcome[:, :, now.found[first]] = np.where(meets, np.where(skip, Outcome.IGNORED, Outcome.RIGHT), Outcome.FALSE)
        partner[now.found[first]] = np.where(meets[0, 0], chosen[0, 0], -1)
        taken[np.broadcast_to(sizes, best.shape)[meets], np.broadcast_to(ious, best.shape)[meets], chosen[meets]] = True
    return outcome, partner


def _steps(found: Found, pairs: Pairs) -> Iterator[IntArray]:
    """Yield the rows of the pairs that are decided together: of every image and class, those of its next box."""
    boxes, count = np.unique(pairs.found, return_counts=True)
    turn = np.repeat(_counted(found.label[boxes], found.image[boxes]), count)
    order = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn)).tolist()
    return (order[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


def _wishes(ignored: BoolArray, pairs: Pairs) -> tuple[IntArray, IntArray]:
    """Return (4, P) pairs from the least wanted to the most, and each pair's place there, by size of object.

    A box wants an object that counts before one that is ignored, then the greatest overlap, then the last in order.
    """
    order = np.stack([np.lexsort((pairs.truth, pairs.iou, ~skip[pairs.truth])) for skip in ignored])
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None], axis=1)
    return order, place
