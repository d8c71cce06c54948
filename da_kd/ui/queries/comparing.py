"""Two sides on the same images, from what they were stored to have said: where they differ, miss and invent.

Everything is computed from tables; an image is read when it is shown, not before.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, State
from da_kd.errors import InputError
from da_kd.merging.matching import inside, paired
from da_kd.stages.report import words
from da_kd.ui.queries import sides
from da_kd.ui.queries.sets import memory, version_of

ORDERS = {
    "differ": "where they differ most",
    "false-left": "false positives, left",
    "false-right": "false positives, right",
    "missed-left": "misses, left",
    "missed-right": "misses, right",
    "set": "as they come",
}
SIZES = {"all": "all sizes", "small": "under 32 px", "medium": "32 to 96 px", "large": "over 96 px"}
_EDGES = {"all": (0.0, 1e9), "small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, 1e9)}
EVERY_CLASS = "all classes"


@dataclass(frozen=True)
class View:
    """What is looked at: the least score, the class ("all classes" for each) and the size of objects."""

    score: float
    label: str
    size: str


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models' boxes in the images that both answered for.

    Attributes:
        key: tells one pair from another.
        root: the folder the images lie in.
        truth: the labels; of target images nobody looked for, and nothing is judged.
        left: by image of ``truth``, in its order.
        right: likewise.
        classes: those of the labels and of both sides, whose order colours follow.
    """

    key: Hashable
    root: Path
    truth: DetectionTable
    left: DetectionTable
    right: DetectionTable
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.truth)


@dataclass(frozen=True, eq=False)
class Counts:
    """By image (I,): found, false and missed of both sides, and their difference, 0 to 1."""

    found: npt.NDArray[np.int64]
    false: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]
    difference: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Side:
    """One model's boxes in one image: all in view, which of them hit an object, and the objects it missed.

    Where there are no labels to judge by, ``judged`` is False, nothing is hit and nothing is missed.
    """

    boxes: Detections
    hit: npt.NDArray[np.bool_]
    missed: Detections
    judged: bool = True

    @property
    def in_words(self) -> str:
        """Found, false and missed."""
        if not self.judged:
            return f"{words.counted(len(self.boxes), 'box', 'boxes')}, no labels to judge them by"
        return f"{int(self.hit.sum())} found, {int((~self.hit).sum())} false, {len(self.missed)} missed"


def open_pair(left: sides.Stored, right: sides.Stored) -> Pair:
    """Return two sides on the images that both answered for, matched by content.

    Raises:
        DaKdError: there are no such predictions, labels or images.
    """
    if left.on_target != right.on_target:
        raise InputError(
            "One of the two speaks of target images, the other of test images; choose two of the same kind."
        )
    key = ("pair", sides.version(left), sides.version(right), *version_of(left.run))
    made: Pair = memory.get(key, lambda: _pair(key, sides.images_of(left), sides.boxes_of(left), sides.boxes_of(right)))
    if not len(made):
        raise InputError("The two answered for no image in common: their runs have other images.")
    return made


def _pair(key: Hashable, truth: ImageSet, left: DetectionTable, right: DetectionTable) -> Pair:
    places = [{sha: index for index, sha in enumerate(table.sha) if sha} for table in (left, right)]
    first = {sha: index for index, sha in reversed(list(enumerate(truth.table.sha))) if sha}  # of copies, the first
    common = sorted(index for sha, index in first.items() if all(sha in place for place in places))
    shas = [truth.table.sha[index] for index in common]
    both = [table.take([place[sha] for sha in shas]) for table, place in zip((left, right), places, strict=True)]
    classes = tuple(dict.fromkeys([*truth.vocabulary, *left.vocabulary, *right.vocabulary]))
    return Pair(key, truth.root, truth.table.take(common), both[0], both[1], classes)


def counts(pair: Pair, view: View) -> Counts:
    """Return found, false, missed and the difference of every image, remembered for a pair and a view."""
    made: Counts = memory.get(("counts", pair.key, view), lambda: _counts(pair, view))
    return made


def _counts(pair: Pair, view: View) -> Counts:
    found, false, missed = (np.zeros((len(pair), 2), np.int64) for _ in range(3))
    difference = np.zeros(len(pair))
    for index in range(len(pair)):
        both_sides = look(pair, index, view)
        for column, side in enumerate(both_sides):
            found[index, column] = side.hit.sum()
            false[index, column] = (~side.hit).sum() if side.judged else 0
            missed[index, column] = len(side.missed)
        left, right = (side.boxes for side in both_sides)
        both = int(paired(left, right).sum())
        alone = len(left) + len(right) - 2 * both
        difference[index] = alone / (2 * both + alone) if alone else 0.0
    return Counts(found, false, missed, difference)


def order(pair: Pair, view: View, by: str) -> npt.NDArray[np.int64]:
    """Return the images to show, the most telling first; those that an order has nothing to say of are left out."""
    known = counts(pair, view)
    if by == "set":
        return np.arange(len(pair), dtype=np.int64)
    kind, _, side = by.partition("-")
    column = 1 if side == "right" else 0
    worth = known.difference if kind == "differ" else (known.false if kind == "false" else known.missed)[:, column]
    ranked = np.argsort(-worth, kind="stable")
    return ranked[worth[ranked] > 0]


def look(pair: Pair, index: int, view: View) -> tuple[Side, Side]:
    """Return both models' boxes of one image as they are in view."""
    objects = _in_view(pair.truth.at(index), view, 0.0)
    ignored = pair.truth.at(index, (State.IGNORED, State.UNCERTAIN))
    searched = np.array(pair.truth.searched[index], bool)
    left, right = (_side(table.at(index), objects, ignored, searched, view) for table in (pair.left, pair.right))
    return left, right


def _side(boxes: Detections, objects: Detections, ignored: Detections, searched: np.ndarray, view: View) -> Side:
    seen = _in_view(boxes, view, view.score)
    if not searched.any():
        return Side(seen, np.zeros(len(seen), bool), objects, judged=False)
    hit = paired(objects, seen)
    looked_for = {name for name, there in zip(objects.vocabulary, searched, strict=True) if there}
    known = np.array([seen.vocabulary[i] in looked_for for i in seen.label], bool)  # another run may know more classes
    counts_ = hit | (known & ~inside(ignored, seen)) if len(seen) else hit
    seen, hit = seen.pick(counts_), hit[counts_]
    ranked = Detections(objects.vocabulary, objects.xyxy, np.ones(len(objects), np.float32), objects.label)
    return Side(seen, hit, objects.pick(~paired(seen, ranked)))


def _in_view(boxes: Detections, view: View, least: float) -> Detections:
    """Return the boxes of the class and size that are looked at."""
    low, high = _EDGES[view.size]
    side = np.sqrt(np.clip(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], 0, None).prod(axis=1))
    keep = (boxes.score >= least) & (side >= low) & (side < high)
    if view.label != EVERY_CLASS:
        keep &= np.array([boxes.vocabulary[label] == view.label for label in boxes.label], bool)
    return boxes.pick(keep)


def matches(both: Sequence[Side]) -> list[tuple[str, str, str, str]]:
    """Return the boxes of an image in rows: class, the left score, the right score, and what they are."""
    left, right = both
    rows = []
    free = set(range(len(right.boxes)))
    for index in np.argsort(-left.boxes.score, kind="stable").tolist():
        one = left.boxes.pick(np.array([index]))
        partner = next((j for j in sorted(free) if paired(one, right.boxes.pick(np.array([j])))[0]), None)
        free.discard(-1 if partner is None else partner)
        other = f"{right.boxes.score[partner]:.2f}" if partner is not None else words.UNDEFINED
        what = _kind(left, index)
        if partner is not None and bool(right.hit[partner]) != bool(left.hit[index]):
            what = "object on one side only"
        rows.append((one.vocabulary[int(one.label[0])], f"{one.score[0]:.2f}", other, what))
    for index in sorted(free, key=lambda j: -float(right.boxes.score[j])):
        name = right.boxes.vocabulary[int(right.boxes.label[index])]
        rows.append((name, words.UNDEFINED, f"{right.boxes.score[index]:.2f}", _kind(right, index)))
    return rows


def _kind(side: Side, index: int) -> str:
    if not side.judged:
        return words.UNDEFINED
    return "object" if side.hit[index] else "false positive"
