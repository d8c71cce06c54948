"""What a training is told about its labels beside the boxes: how much each counts, and where background is unknown.

A detector learns from what its labels leave out as much as from what they say: every place without a box teaches
*background*, for every class. Two places do not deserve that: an uncertain box, which may be an object, and an image in
which nobody looked for a class. Here they become *regions*, which travel beside the boxes.

Knows detection tables as arrays; must not know ultralytics, torch, or which stage asks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray
from da_kd.data import ImageSet
from da_kd.detections import BoolArray, DetectionTable, Int32, State
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.training.mixing import Share


@dataclass(frozen=True)
class Signals:
    """How a training treats doubtful labels; the defaults are those for ground truth.

    Attributes:
        weight: how much a kept box counts: all the same (``none``), or its ``score``; a protected box counts 1, and
            so does ground truth.
        uncertain: what an uncertain box is: neither object nor background for its own class (``ignore``) or for all
            classes (``ignore_all``), or ``background``.
        unsearched: whether the classes that nobody looked for in an image are left alone there (``mask``) or learned
            as ``background``.
        oversample: how often an image with a protected box is seen in an epoch.
    """

    weight: Literal["none", "score"] = "none"
    uncertain: Literal["ignore", "ignore_all", "background"] = "ignore"
    unsearched: Literal["mask", "background"] = "mask"
    oversample: int = 1


GROUND_TRUTH = Signals()


class Kind(IntEnum):
    """What a row is."""

    OBJECT = 0  # a box to learn
    IGNORED = 1  # a region without background loss, but for anchors that a box to learn has taken
    UNSEARCHED = 2  # a region without background loss


@dataclass(frozen=True, eq=False)
class Rows:
    """All that I images teach, one row an object or a region; those of image ``i`` are ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: (I + 1,) int64.
        kind: (N,) int8, a :class:`Kind`; within an image, objects come first, in the table's order.
        xywh: (N, 4) float32, centre, width and height as shares of the image.
        label: (N,) int32, the class of an object.
        weight: (N,) float32, what an object counts.
        pattern: (N,) int32, which of ``patterns`` a region has.
        patterns: (P, C) bool, sets of classes.
    """

    offsets: IntArray
    kind: npt.NDArray[np.int8]
    xywh: FloatArray
    label: Int32
    weight: FloatArray
    pattern: Int32
    patterns: BoolArray

    @cached_property
    def plain(self) -> bool:
        """True where there are only objects that count 1: the library's own loss is the right one."""
        return bool((self.kind == Kind.OBJECT).all() and (self.weight == 1).all())

    def of(self, image: int) -> IntArray:
        """Return the numbers of an image's rows."""
        return np.arange(self.offsets[image], self.offsets[image + 1])


@dataclass(frozen=True, eq=False)
class Lesson:
    """Images and what their labels teach.

    Attributes:
        images: the image set.
        signals: how doubtful labels are treated.
        shares: parts of the set of which an epoch shows a certain number of images, not all.
        seed: what these are drawn by.
        truth: the labels of images that are in no share are ground truth.
    """

    images: ImageSet
    signals: Signals = GROUND_TRUTH
    shares: tuple[Share, ...] = ()
    seed: int = 0
    truth: bool = False

    @cached_property
    def rows(self) -> Rows:
        """What the labels teach."""
        truth = np.full(len(self.images), self.truth)
        for share in self.shares:
            truth[share.images] = share.truth
        return rows_of(self.images.table, self.signals, truth)

    @cached_property
    def order(self) -> IntArray:
        """The images of the first epoch, by number; all epochs are as long."""
        return self.order_of(0)

    def order_of(self, epoch: int) -> IntArray:
        """Return the images of an epoch (from 0), by number; those with a protected box as often as asked."""
        table = self.images.table
        times = np.ones(len(table), np.int64)
        times[table.image_index[table.protected & (table.state == State.KEPT)]] = self.signals.oversample
        for share in self.shares:
            times[share.images] = 0
        drawn = [np.sort(share.drawn(epoch, self.seed)) for share in self.shares]
        return np.concatenate([np.repeat(np.arange(len(table)), times), *drawn])


def never_searched(table: DetectionTable) -> tuple[str, ...]:
    """Return the classes that nobody looked for in any image."""
    return tuple(name for name, some in zip(table.vocabulary, table.searched.sum(axis=0) > 0, strict=True) if not some)


def as_background(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """Return the images as if these classes had been searched for in all of them."""
    table = images.table
    known = np.array([name in classes for name in table.vocabulary])
    return dataclasses.replace(images, table=dataclasses.replace(table, searched=table.searched | known))


def check_labels(name: str, lesson: Lesson, job: Job) -> int:
    """Return the number of boxes to learn from; warn of classes that have none.

    Args:
        name: what the training is called in messages.
        lesson: what is to be learned.
        job: where the warning goes.

    Raises:
        DataError: there is no image or no box to learn from, or every box counts nothing.
    """
    table, rows = lesson.images.table, lesson.rows
    objects = rows.kind == Kind.OBJECT
    boxes = int(objects.sum())
    own = min((share.first for share in lesson.shares), default=len(table))
    if not boxes or (own and not objects[: rows.offsets[own]].any()):  # what is mixed in does not make up for that
        lower = "lower 'fuse.keep' or 'review.accept'"
        if not table.offsets[own or len(table)]:  # there is nothing for a lower threshold to keep
            lower = "the teachers found nothing from 'predict.floor' on: train them longer, or lower it"
        raise DataError(
            f"Training '{name}' found {own} images and 0 boxes to learn from; "
            f"it needs both. Where these are pseudo labels, {lower}; else check the data set."
        )
    if not rows.weight[objects].any():
        raise DataError(
            f"Training '{name}' found {boxes} boxes to learn from, all of score 0, and 'distill.weight: score' "
            "makes them count nothing; use 'none', or teachers that give scores."
        )
    missing = sorted(set(range(len(table.vocabulary))) - set(rows.label[objects].tolist()))
    if missing:
        names = ", ".join(f"'{table.vocabulary[label]}'" for label in missing)
        job.warn(
            f"Training '{name}' has no box of {names} to learn from; "
            "look at 'fuse.keep' where these are pseudo labels, else at the names of the classes."
        )
    return boxes


def check_files(name: str, images: ImageSet) -> None:
    """Refuse images whose files are gone since they were read.

    Raises:
        DataError: there are such images.
    """
    gone = [path for path in images.paths if not path.is_file()]
    if gone:
        raise DataError(
            f"Training '{name}' expected {len(images):,} images; {len(gone):,} of them are gone since they were read, "
            f"e.g. {gone[0]}. Put them back, or run the recipe again from its data."
        )


def doubtful(table: DetectionTable) -> bool:
    """Return whether ground truth leaves something open: boxes to ignore, classes that nobody searched for."""
    return not table.searched.all() or bool((table.state == State.IGNORED).any())


def rows_of(table: DetectionTable, signals: Signals, truth: BoolArray | None = None) -> Rows:
    """Return what the labels of a table teach; ``truth`` (I,) bool marks images with ground truth among others.

    A protected box counts 1 and is never a region; ground truth counts 1, too, whatever scores its file has. A box that
    is *dropped* is background. One that ground truth says to *ignore* is a region of its own class, whatever
    ``signals`` say of uncertain ones, and a class that it was not searched for is masked, whatever they say of
    unsearched ones.
    """
    truth = np.zeros(len(table), bool) if truth is None else truth
    uncertain = (table.state == State.UNCERTAIN) & (signals.uncertain != "background")
    kept = np.flatnonzero(table.state == State.KEPT)
    ignored = np.flatnonzero(((table.state == State.IGNORED) | uncertain) & ~table.protected)
    unknown = ~table.searched
    if signals.unsearched == "background":
        unknown = unknown & truth[:, None]
    masked = np.flatnonzero(unknown.any(axis=1))

    classes = len(table.vocabulary)
    sets, which = np.unique(unknown[masked], axis=0, return_inverse=True)
    whole = (table.state[ignored] == State.UNCERTAIN) & (signals.uncertain == "ignore_all")
    xywh = _normalised(table)
    columns: dict[str, Any] = {
        "kind": np.repeat(np.array(list(Kind), np.int8), [len(kept), len(ignored), len(masked)]),
        "xywh": np.concatenate([xywh[kept], xywh[ignored], np.tile(_WHOLE, (len(masked), 1))]),
        "label": np.concatenate([table.label[kept], table.label[ignored], np.zeros(len(masked), np.int32)]),
        "weight": np.ones(len(kept) + len(ignored) + len(masked), np.float32),
        "pattern": np.concatenate(
            [np.zeros(len(kept)), np.where(whole, classes, table.label[ignored]), classes + 1 + which.reshape(-1)]
        ).astype(np.int32),
    }
    if signals.weight == "score":
        sure = table.protected | truth[table.image_index]
        columns["weight"][: len(kept)] = np.where(sure, 1, table.score)[kept]
    image = np.concatenate([table.image_index[kept], table.image_index[ignored], masked])
    order = np.argsort(image, kind="stable")
    return Rows(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(image, minlength=len(table)))]).astype(np.int64),
        patterns=np.concatenate([np.eye(classes, dtype=bool), np.ones((1, classes), bool), sets.reshape(-1, classes)]),
        **{name: column[order] for name, column in columns.items()},
    )


_WHOLE = np.array([[0.5, 0.5, 1, 1]], np.float32)  # an image from edge to edge


def _normalised(table: DetectionTable) -> FloatArray:
    """Return (B, 4) boxes as centre x, centre y, width, height in shares of their images."""
    scale = table.size[table.image_index].astype(np.float32)
    low, high = table.xyxy[:, :2] / scale, table.xyxy[:, 2:] / scale
    return np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
