"""In which order a person looks at images: by what a correction is worth for each box that has to be looked at.

Every reason for doubt becomes a chance that the box is wrong (or, where it is not kept, that it is an object after
all); an image is worth the corrections expected in it, rare classes counting more, divided by the boxes to look at.
Pure functions of a table and of perceptual hashes; must not know FiftyOne, a disk, nor who looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray
from da_kd.data.similar import Hashes
from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.merging.pairs import overlapping
from da_kd.stages.review.chance import Judged, chance_right, judged
from da_kd.stages.review.repeats import Looks, looks_of, repeats

Doubles = npt.NDArray[np.float64]

# Why a box is doubtful; where there are several reasons, the first of them is told.
BOX_KINDS = (
    "teachers differ in class",
    "two classes in one place",
    "teachers differ in place",
    "one teacher alone",
    "class held back",
    "uncertain score",
    "rare class",
)
CLASS, TWICE, PLACE, ALONE, HELD, UNCERTAIN, RARE = range(len(BOX_KINDS))
NOTHING_FOUND = "nothing found"
REPEATS = "nearly repeats"

FUSE_IOU = 0.55
SAME_OBJECT = 0.5  # IoU from which two boxes of different classes are one object
SHIFTED = 0.2  # IoU from which two boxes of a class may be one object
BAND = 0.1  # a score so little above the least kept one of its class is uncertain
RARE_SHARE = 0.25  # a class with less than this share of the mean number of kept boxes a class is rare
MOST_WEIGHT = 4.0  # a box of a rare class counts so much at most
LOOK = 1.0  # what opening an image costs, in boxes


@dataclass(frozen=True, eq=False)
class Weighed:
    """What the labels alone say of I images with B boxes, before images are compared.

    Attributes:
        table: the labels.
        shown: (B,) bool, the boxes that a person sees.
        kinds: (B, K) bool, why each box is doubtful, in the order of :data:`BOX_KINDS`.
        value: (B,) what a look at each box is thought to change, rare classes counting more.
        gain: (I,) what a look at each image is thought to change, in the same units.
        cost: (I,) > 0, the boxes to look at in it.
    """

    table: DetectionTable
    shown: BoolArray
    kinds: BoolArray
    value: Doubles
    gain: Doubles
    cost: Doubles


@dataclass(frozen=True, eq=False)
class Queue:
    """The order of I images with B boxes in all, and the reasons.

    Attributes:
        order: (I,) int64 image positions, the most worthwhile first; those that nearly repeat an earlier one come
            behind the others, and images that cannot be read at the very end.
        worth: (I,) float32 >= 0: corrections expected for each box looked at, rare classes counting more.
        why: I texts, the main reason in words; "" where nothing is doubtful.
        box_kinds: (B, K) bool, all the reasons of each box, in the order of :data:`BOX_KINDS`.
        duplicate_of: (I,) int64, the image before it that this one nearly repeats, or -1.
    """

    order: IntArray
    worth: FloatArray
    why: tuple[str, ...]
    box_kinds: BoolArray
    duplicate_of: IntArray

    @property
    def box_why(self) -> tuple[str, ...]:
        """B texts, the first reason of each box; "" where nothing is doubtful, and for dropped boxes."""
        return first_reasons(self.box_kinds)


def build_queue(
    table: DetectionTable, hashes: Hashes | None = None, fuse_iou: float = FUSE_IOU, known: Judged | None = None
) -> Queue:
    """Return the order in which a person best looks at fused labels.

    Args:
        table: I images with B boxes; what a person decided already is not doubtful.
        hashes: (I,) perceptual hashes (see :mod:`da_kd.data.similar`); without, no image is like another.
        fuse_iou: the IoU from which fusion made one box of two of a class, in [0, 1].
        known: what a person said of boxes so far (see :func:`learned`); without, scores alone decide.
    """
    return queue_of(weigh(table, fuse_iou, known), hashes)


def weigh(table: DetectionTable, fuse_iou: float = FUSE_IOU, known: Judged | None = None) -> Weighed:
    """Return what labels alone say of images; the arguments are those of :func:`build_queue`."""
    image = table.image_index
    shown = _shown(table)
    kinds = _kinds(table, shown, fuse_iou)
    gain = _gain(table, shown, _disputed(kinds), known)
    weights = _weights(table, shown)
    value = gain * weights[table.label]
    missed = np.zeros(len(weights)) if known is None else known.missed
    boxes = np.bincount(image[shown & ~table.protected], minlength=len(table))
    extra = np.bincount(image, np.where(shown, 0.0, gain), minlength=len(table))
    whole = np.bincount(image, value, minlength=len(table)) + missed @ weights
    return Weighed(table, shown, kinds, value, whole, LOOK + boxes + extra + missed.sum())


def queue_of(
    labels: Weighed,
    hashes: Hashes | None = None,
    compared: BoolArray | None = None,
    before: npt.ArrayLike | None = None,
) -> Queue:
    """Return the order in which a person best looks at images whose labels were weighed.

    Args:
        labels: what the labels say of I images.
        hashes: (I,) perceptual hashes; without, no image is like another.
        compared: (I,) whether the hash of an image is known; all of them, by default.
        before: (I,) numbers; of two images that look nearly the same, the one with the greater number stays, and among
            equals the one worth more. See :func:`da_kd.stages.review.repeats.repeats`.
    """
    table = labels.table
    looks = looks_of(hashes, table.ok if compared is None else table.ok & compared)
    missing = _missing(table, labels.shown, looks)
    worth = _worth(labels, missing)
    again = repeats(looks, worth, before)
    order = np.lexsort((np.arange(len(table)), -worth, again >= 0, ~table.ok))
    return Queue(
        order, worth.astype(np.float32), _why(table, labels.value, labels.kinds, missing, again), labels.kinds, again
    )


def worth_alone(labels: Weighed) -> Doubles:
    """Return (I,) what the labels alone say that a look at each image is worth; 0 where it cannot be read."""
    return _worth(labels, _missing(labels.table, labels.shown, looks_of(None, labels.table.ok)))


def _worth(labels: Weighed, missing: Doubles) -> Doubles:
    """Return (I,) the corrections expected for each box looked at."""
    return np.where(labels.table.ok, (labels.gain + missing) / (labels.cost + missing), 0.0)


def learned(
    table: DetectionTable, said: DetectionTable, done: Sequence[int], fuse_iou: float = FUSE_IOU
) -> Judged | None:
    """Return what a person said of boxes in images that are done; None where none is.

    Args:
        table: fused labels.
        said: the same images, with what a person decided laid over them.
        done: positions of the images that are labelled completely.
        fuse_iou: as for :func:`build_queue`.
    """
    if not len(done):
        return None
    part = table.take(done)
    disputed = _disputed(_kinds(part, _shown(part), fuse_iou))
    return judged(part, said.take(done), range(len(part)), disputed)


def _shown(table: DetectionTable) -> BoolArray:
    """Return (B,) bool: the boxes that a person sees."""
    shown: BoolArray = np.isin(table.state, (State.KEPT, State.UNCERTAIN)) & table.ok[table.image_index]
    return shown


def _disputed(kinds: BoolArray) -> BoolArray:
    """Return (B,) bool: of two boxes for one object, one is wrong."""
    disputed: BoolArray = np.asarray(kinds[:, [CLASS, TWICE, PLACE]].any(axis=1))
    return disputed


def _kinds(table: DetectionTable, shown: BoolArray, fuse_iou: float) -> BoolArray:
    """Return (B, K) bool: why each box is doubtful."""
    kinds = np.zeros((len(table.xyxy), len(BOX_KINDS)), bool)
    saw: BoolArray = ~np.isnan(table.teacher_score)
    kinds[:, ALONE] = (saw.sum(axis=1) == 1) & (table.agreement < 1)
    looked: BoolArray = np.asarray(table.searched.any(axis=1))
    kinds[:, HELD] = ~table.searched[table.image_index, table.label] & looked[table.image_index]
    kinds[:, UNCERTAIN] = (table.state == State.UNCERTAIN) | (table.score < _least_kept(table)[table.label] + BAND)
    kinds[:, RARE] = _rare(table)[table.label]
    rows = np.flatnonzero(shown)
    pairs = overlapping(table.xyxy[rows].T.astype(np.float64), table.image_index[rows], min(SHIFTED, fuse_iou))
    first, second = rows[pairs.first], rows[pairs.second]
    apart = ~(saw[first] & saw[second]).any(axis=1) & saw[first].any(axis=1) & saw[second].any(axis=1)
    other = (table.label[first] != table.label[second]) & (pairs.iou >= SAME_OBJECT)
    moved = (table.label[first] == table.label[second]) & apart & (pairs.iou <= fuse_iou)
    for kind, use in ((CLASS, other & apart), (TWICE, other & ~apart), (PLACE, moved)):
        kinds[first[use], kind] = kinds[second[use], kind] = True
    kinds &= (shown & ~table.protected)[:, None]
    return kinds


def _gain(table: DetectionTable, shown: BoolArray, disputed: BoolArray, known: Judged | None) -> Doubles:
    """Return (B,) the chance that a person changes something about each box.

    A kept box is changed where it is wrong, another where it is right.
    """
    right = chance_right(table, disputed, known)
    gain = np.where(table.state == State.KEPT, 1 - right, right)
    if known is None:
        gain[disputed] = np.maximum(gain[disputed], 0.5)
    counts = shown | (table.state == State.DROPPED)
    return np.where(counts & ~table.protected & table.ok[table.image_index], gain, 0.0)


def _weights(table: DetectionTable, shown: BoolArray) -> Doubles:
    """Return (C,) what a box of each class counts: the rarer, the more, since every class counts the same in AP."""
    count = np.bincount(table.label[shown], minlength=len(table.vocabulary)).astype(np.float64)
    mean = count.sum() / max(1, len(count))
    return np.clip(np.sqrt(mean / np.maximum(count, 1)), 1 / MOST_WEIGHT, MOST_WEIGHT) if mean else np.ones(len(count))


def _least_kept(table: DetectionTable) -> Doubles:
    """Return (C,) the least score of a kept box that no person decided on; -inf where a class has none."""
    least = np.full(len(table.vocabulary), np.inf)
    own = (table.state == State.KEPT) & ~table.protected
    np.minimum.at(least, table.label[own], table.score[own])
    return np.where(np.isinf(least), -np.inf, least)


def _rare(table: DetectionTable) -> BoolArray:
    """Return (C,) bool: the classes with far fewer kept boxes than the others; one class alone is never rare."""
    kept = np.bincount(table.label[table.state == State.KEPT], minlength=len(table.vocabulary))
    rare: BoolArray = kept < RARE_SHARE * kept.mean() if len(kept) > 1 else np.zeros(len(kept), bool)
    return rare


def _missing(table: DetectionTable, shown: BoolArray, looks: Looks) -> Doubles:
    """Return (I,) how many boxes an image without one may lack: what images like it hold, else half of what most do."""
    images = len(table)
    held = np.bincount(table.image_index[table.state == State.KEPT], minlength=images).astype(np.float64)
    looked = np.bincount(table.image_index[table.protected], minlength=images) > 0
    empty = table.ok & (np.bincount(table.image_index[shown], minlength=images) == 0) & ~looked
    others = held[table.ok & table.searched.any(axis=1)]
    usual = float(np.median(others)) / 2 if len(others) else 0.0
    first, second = looks.first, looks.second
    like = np.bincount(first, minlength=images) + np.bincount(second, minlength=images)
    total = np.bincount(first, held[second], minlength=images) + np.bincount(second, held[first], minlength=images)
    expected = np.where(like > 0, total / np.maximum(like, 1), usual)
    return np.where(empty, expected, 0.0)


def first_reasons(kinds: BoolArray) -> tuple[str, ...]:
    """Return the first reason of each of (B, K) boxes in words, "" where there is none."""
    names = np.array([*BOX_KINDS, ""], dtype=object)
    main = np.where(kinds.any(axis=1), kinds.argmax(axis=1) if kinds.size else 0, len(BOX_KINDS))
    return tuple(names[main].tolist())


def _why(table: DetectionTable, value: Doubles, kinds: BoolArray, missing: Doubles, again: IntArray) -> tuple[str, ...]:
    """Return for each image in words what it is mainly worth looking at for."""
    image = table.image_index
    main = np.where(kinds.any(axis=1), kinds.argmax(axis=1), len(BOX_KINDS))
    cell = image * (len(BOX_KINDS) + 1) + main
    shape = (len(table), len(BOX_KINDS) + 1)
    of_kind = np.bincount(cell, value, minlength=shape[0] * shape[1]).reshape(shape)[:, :-1]
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    best = of_kind.argmax(axis=1)
    texts = []
    for at in range(len(table)):
        if table.reason[at]:
            texts.append(f"cannot be read: {table.reason[at]}")
        elif again[at] >= 0:
            texts.append(f"{REPEATS} {table.key[again[at]]}")
        elif missing[at] > of_kind[at, best[at]]:
            texts.append(f"{NOTHING_FOUND} where about {missing[at]:.0f} boxes are expected")
        elif of_kind[at, best[at]] > 0:
            boxes = int(count[at, best[at]])
            texts.append(f"{BOX_KINDS[best[at]]} ({boxes} box{'es' if boxes != 1 else ''})")
        else:
            texts.append("")
    return tuple(texts)
