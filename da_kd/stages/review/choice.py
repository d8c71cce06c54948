"""Which images come in front of a person where a set has more than go in at once: the queue's first, and how many.

An image that is hashed has to be read, so the labels choose first, and only the first few times as many images as fit
are looked at for near-duplicates. Knows tables and the queue; must not know FiftyOne, a disk, nor how an image is
hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import IntArray
from da_kd.data.similar import Hashes
from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.stages.review.chance import Judged
from da_kd.stages.review.journal import ELSEWHERE, Entry, complete, in_force
from da_kd.stages.review.queue import Queue, Weighed, learned, queue_of, worth_alone

SEARCH = 2  # times as many images as fit are looked at for near-duplicates
FURTHEST = 8  # times as many at most, where many of the first ones are
_SHOWN = (State.KEPT, State.UNCERTAIN)


@dataclass(frozen=True, eq=False)
class Standing:
    """How each of I images stands in a review.

    Attributes:
        there: (I,) bool, in front of the person already.
        always: (I,) bool, to be in front of them in any case: of the audit, or decided on in the App.
        through: (I,) bool, nothing is left to do in it: done, or decided on box by box.
        audit: (I,) bool, part of the audit.
    """

    there: BoolArray
    always: BoolArray
    through: BoolArray
    audit: BoolArray

    @property
    def before(self) -> IntArray:
        """(I,) whose near-duplicates are passed over: 2 where a person is through, 1 where they see the image."""
        seen = (self.there | self.always) & ~self.audit
        return 2 * self.through + 1 * seen

    @classmethod
    def of(
        cls, table: DetectionTable, entries: Sequence[Entry], there: BoolArray, audit: IntArray | Sequence[int] = ()
    ) -> Standing:
        """Return how images stand.

        Args:
            table: I images, with what people decided laid over their labels.
            entries: what they decided.
            there: (I,) whether the image is in front of the person already.
            audit: positions of the images that measure.
        """
        said = in_force(entries, table.sha)
        here = {entry.sha for entry in said if not entry.dataset.endswith(ELSEWHERE)}
        decided = _among(table.sha, {entry.sha for entry in said})
        waiting = np.isin(table.state, _SHOWN) & ~table.protected
        left = np.bincount(table.image_index[waiting], minlength=len(table)) > 0
        drawn = np.zeros(len(table), bool)
        drawn[np.asarray(audit, np.int64)] = True
        through = _among(table.sha, complete(entries, table.sha)) | (decided & ~left)
        return cls(there & table.ok, (_among(table.sha, here) | drawn) & table.ok, through, drawn)


def _among(shas: Sequence[str], known: set[str] | dict[str, float | None]) -> BoolArray:
    return np.fromiter((sha in known for sha in shas), bool, len(shas))


@dataclass(frozen=True, eq=False)
class Choice:
    """Which of I images stand in front of a person.

    Attributes:
        queue: the order of all images.
        new: (n,) int64 positions of the images that come in now, in the order of the queue.
        hashes: (I,) perceptual hashes; 0 where none was made.
        compared: (I,) bool, whether one was made.
    """

    queue: Queue
    new: IntArray
    hashes: Hashes
    compared: BoolArray


def choose(labels: Weighed, standing: Standing, most: int | None, hash_of: Callable[[IntArray], Hashes]) -> Choice:
    """Return which images come in front of a person now.

    Audited images always do, and those they decided on; the others come in the order of the queue as long as no more
    than ``most`` images wait for them, near-duplicates of what is there not at all. Where all fit, all come in.

    Args:
        labels: what the labels say of I images.
        standing: how these stand.
        most: how many images may wait at once; None for all.
        hash_of: makes the perceptual hashes of the images at some positions.
    """
    table = labels.table
    inside = standing.there | standing.always
    others = np.flatnonzero(table.ok & ~inside)
    waiting = int((inside & ~standing.through).sum())
    room = len(others) if most is None else max(0, most - waiting)
    looks = _Looks(labels, hash_of, standing.before)
    looks.at(inside)
    if len(others) <= room:
        looks.at(others)
        queue = looks.queue()
        fresh = others
    else:
        queue, fresh = _first(looks, others[~standing.through[others]], room)
    new = np.concatenate([np.flatnonzero(standing.always & ~standing.there), fresh])
    place = np.empty(len(table), np.int64)
    place[queue.order] = np.arange(len(table))
    return Choice(queue, new[np.argsort(place[new], kind="stable")], looks.hashes, looks.compared)


def known_by_now(
    table: DetectionTable, said: DetectionTable, entries: Sequence[Entry], fuse_iou: float
) -> Judged | None:
    """Return what the images that are done say of the fused labels; see :func:`da_kd.stages.review.queue.learned`.

    Args:
        table: the fused labels.
        said: the same images, with the entries laid over them.
        entries: what people decided.
        fuse_iou: the IoU from which fusion made one box of two of a class.
    """
    done = complete(entries, table.sha)
    rows = [row for row, sha in enumerate(table.sha) if sha in done and not table.reason[row]]
    return learned(table, said, rows, fuse_iou)


def most_worth(labels: Weighed, images: IntArray, most: int) -> IntArray:
    """Return those of the images that the labels alone say are most worth a look, in their order."""
    chosen: IntArray = images[np.argsort(-worth_alone(labels)[images], kind="stable")[:most]]
    return chosen


def _first(looks: _Looks, others: IntArray, room: int) -> tuple[Queue, IntArray]:
    """Return the queue, and the first images of it that nearly repeat none; at most as many as there is room for."""
    ranked = most_worth(looks.labels, others, FURTHEST * room)
    take = SEARCH * room
    while True:
        looks.at(ranked[:take])
        queue = looks.queue()
        wanted = np.zeros(len(looks.compared), bool)
        wanted[ranked[:take]] = True
        fresh = queue.order[wanted[queue.order] & (queue.duplicate_of[queue.order] < 0)]
        if len(fresh) >= room or take >= len(ranked):
            return queue, fresh[:room]
        take *= 2


class _Looks:
    """The hashes made so far, and the queue that follows from them."""

    def __init__(self, labels: Weighed, hash_of: Callable[[IntArray], Hashes], before: IntArray) -> None:
        self.labels = labels
        self.hashes = np.zeros(len(labels.table), np.uint64)
        self.compared: BoolArray = np.zeros(len(labels.table), bool)
        self._hash_of, self._before = hash_of, before

    def at(self, images: IntArray | BoolArray) -> None:
        """Make the hashes of images, each once."""
        wanted = np.zeros_like(self.compared)
        wanted[images] = True
        rows = np.flatnonzero(wanted & ~self.compared)
        self.hashes[rows] = self._hash_of(rows)
        self.compared[rows] = True

    def queue(self) -> Queue:
        """Return the order of all images, as far as is known by now."""
        return queue_of(self.labels, self.hashes, self.compared, self._before)
