"""What a person is told of images and boxes: the queue, the audit and the saved views, as columns of a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.data.similar import Hashes
from da_kd.detections import DetectionTable
from da_kd.stages.review.queue import (
    ALONE,
    CLASS,
    HELD,
    NOTHING_FOUND,
    PLACE,
    RARE,
    TWICE,
    UNCERTAIN,
    Queue,
    first_reasons,
)
from da_kd.stages.review.sample import Drawn


@dataclass(frozen=True)
class Guide:
    """What is said to the person of each of I images and N boxes of a table; by default nothing.

    Attributes:
        rank: (I,) place in the queue, 0 first.
        worth: (I,) what looking at the image is thought to be worth.
        why: for each image, why it stands where it stands.
        box_why: for each box, why it deserves a look; "" where it does not.
        near_duplicate: (I,) whether a like image stands before it in the queue.
        lists: names of saved views, and the images in them (indices); shown in the order of the queue.
        draw: (I,) place in the audit, in the order of drawing, 0 first; -1 where the image is not part of it.
        probability: (I,) with what probability the audit draws the image.
        blind: the audit's images are shown without pseudo labels.
        round: of self-training that the labels come from, from 1.
        hashes: for each image its perceptual hash in hex digits, "" where there is none.
    """

    rank: npt.NDArray[np.int64]
    worth: npt.NDArray[np.float64]
    why: Sequence[str]
    box_why: Sequence[str]
    near_duplicate: npt.NDArray[np.bool_]
    draw: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    lists: Mapping[str, Sequence[int]] = field(default_factory=dict)
    blind: bool = True
    round: int = 1
    hashes: Sequence[str] = ()

    @classmethod
    def plain(cls, table: DetectionTable) -> Guide:
        """Return a guide that leaves the images in their order and says nothing of them."""
        images, boxes = len(table), len(table.xyxy)
        return cls(
            np.arange(images),
            np.zeros(images),
            ("",) * images,
            ("",) * boxes,
            np.zeros(images, bool),
            np.full(images, -1),
            np.zeros(images),
        )

    @classmethod
    def of(
        cls,
        queue: Queue,
        table: DetectionTable,
        audit: Drawn | None = None,
        *,
        images: npt.NDArray[np.integer] | None = None,
        blind: bool = True,
        round: int = 1,
        hashes: Hashes | None = None,
    ) -> Guide:
        """Return what a queue and an audit say of some images of a table, in this order; by default, of all of them."""
        rows = np.arange(len(table)) if images is None else np.asarray(images, np.int64)
        rank, at, drawn = np.empty(len(table), np.int64), np.full(len(table), -1), np.full(len(table), -1)
        rank[queue.order] = np.arange(len(table))
        at[rows] = np.arange(len(rows))
        if audit is not None:
            drawn[audit.images] = np.arange(len(audit.images))
        boxes = np.concatenate([np.zeros(0, np.int64), *(np.arange(*table.offsets[row : row + 2]) for row in rows)])
        lists = {name: at[members] for name, members in views(queue, table).items()}
        return cls(
            *(rank[rows], queue.worth[rows].astype(np.float64), [queue.why[row] for row in rows]),
            *(first_reasons(queue.box_kinds[boxes]), queue.duplicate_of[rows] >= 0, drawn[rows]),
            np.zeros(len(rows)) if audit is None else audit.probability[rows],
            {name: members[members >= 0].tolist() for name, members in lists.items()},
            blind,
            round,
            () if hashes is None else tuple(f"{value:016x}" for value in hashes[rows].tolist()),
        )


def views(queue: Queue, table: DetectionTable, audit: npt.NDArray[np.integer] | None = None) -> dict[str, IntArray]:
    """Return the images of each saved view, by its name, in the order of the queue; repeats stand in the last only.

    Args:
        queue: made of the table.
        table: its labels.
        audit: image positions of the audit, in the order they were drawn; None for no such view.
    """
    once = queue.order[(queue.duplicate_of[queue.order] < 0) & table.ok[queue.order]]
    image = table.image_index

    def with_kind(*wanted: int) -> IntArray:
        has = np.bincount(image[queue.box_kinds[:, wanted].any(axis=1)], minlength=len(table)) > 0
        return once[has[once]]

    empty = np.array([why.startswith(NOTHING_FOUND) for why in queue.why], bool)
    found = {
        "teachers disagree": with_kind(CLASS, TWICE, PLACE, ALONE),
        "uncertain": with_kind(UNCERTAIN, HELD),
        "rare classes": with_kind(RARE, HELD),
        "nothing found": once[empty[once]],
        "all, most doubtful first": queue.order[table.ok[queue.order]],
    }
    return found if audit is None else {**found, "audit": np.asarray(audit, np.int64)}
