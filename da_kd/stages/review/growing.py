"""What changes of a review data set while people work in it: more images, a larger audit, second looks, another order.

Knows FiftyOne and the fields of :mod:`da_kd.stages.review.layout`; must not know how an order comes about.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.boxes import IntArray
from da_kd.data.similar import Hashes
from da_kd.detections import BoolArray, DetectionTable
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review import layout
from da_kd.stages.review.compare import compare
from da_kd.stages.review.dataset import fill, read_back
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.layout import LABELS, SNAPSHOT
from da_kd.stages.review.queue import Queue
from da_kd.stages.review.sample import Drawn


def admit(fo: Any, dataset: Any, table: DetectionTable, guide: Guide, root: Path, job: Job) -> None:
    """Put more images into a data set that is there already; those in it stay as they are.

    A kill leaves whole images behind, and whoever opens the review next adds the others.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it, without these images.
        table: the images.
        guide: what the queue says of them.
        root: the folder that image keys count from.
        job: where progress goes.

    Raises:
        DataError: FiftyOne does not take them.
    """
    try:
        fill(dataset, fo, layout.samples(table, guide, root.resolve(), job, tag=False))
    except (ValueError, TypeError, OSError) as error:
        raise DataError(f"FiftyOne did not take more images into the data set '{dataset.name}' ({error}).") from error


def extend_audit(fo: Any, dataset: Any, keys: Sequence[str], audit: Drawn, *, blind: bool) -> int:
    """Put an audit, or a larger one, into a data set that is there already; return how many images were added.

    An image that somebody worked on is shown to them as before; others lose their pseudo labels where the audit is
    blind. An audit never shrinks.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images that the audit was drawn from.
        audit: which of them it is made of.
        blind: audited images are shown without their pseudo labels.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    there = set(looks.match(fo.ViewField("audit")).values("key"))
    present = set(looks.values("key"))
    drawn = {key: at for at in audit.images.tolist() if (key := keys[at]) in present}
    new = [key for key in drawn if key not in there]
    if not new:
        return 0
    looks.set_values("draw", {key: draw for draw, key in enumerate(drawn)}, key_field="key")
    chances = {key: float(audit.probability[at]) for key, at in drawn.items()}
    looks.set_values("probability", chances, key_field="key")
    looks.set_values("audit", dict.fromkeys(new, True), key_field="key")
    if blind:
        added = looks.match(fo.ViewField("key").is_in(new))
        worked_on = {entry.sha for entry in compare(read_back(added), "")}
        for sample in added.match(~fo.ViewField("sha").is_in(list(worked_on))).iter_samples(autosave=True):
            sample[LABELS].detections = [label for label in sample[LABELS].detections if label["protected"]]
            left = {label.id for label in sample[LABELS].detections}
            for label in sample[SNAPSHOT].detections:
                label["shown"] = label["of"] in left
            sample["why"], sample["lists"] = "", []
    layout.save_audit_view(fo, dataset, blind=blind)
    return len(new)


def hashes_of(fo: Any, dataset: Any, keys: Sequence[str]) -> tuple[Hashes, BoolArray, BoolArray]:
    """Return what a data set knows of the looks of I images.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images.

    Returns:
        the (I,) perceptual hashes, 0 where it has none; (I,) bool, whether it has one; (I,) bool, whether it has the
        image.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    told = dict(zip(*looks.values(["key", "hash"]), strict=True))
    hashes = np.array([int(told.get(key) or "0", 16) for key in keys], np.uint64)
    known = np.array([bool(told.get(key)) for key in keys], bool)
    return hashes, known, np.array([key in told for key in keys], bool)


def keep_hashes(fo: Any, dataset: Any, keys: Sequence[str], hashes: Hashes, rows: IntArray) -> None:
    """Write the perceptual hashes of the images at these positions into a data set that has the images without them."""
    told = {keys[row]: f"{int(hashes[row]):016x}" for row in rows.tolist()}
    if told:
        dataset.match(~fo.ViewField(layout.AGAIN)).set_values("hash", told, key_field="key")


def reorder(fo: Any, dataset: Any, keys: Sequence[str], queue: Queue, apart: Container[str]) -> None:
    """Give the images of a data set another place in the queue, each a place of its own.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images that the queue is of.
        queue: the new order.
        apart: content hashes of images that stay where they are: writing to one would make it seem changed just now.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    told = list(zip(*looks.values(["key", "sha", "rank"]), strict=True))
    known = set(keys)  # an earlier version let copies of an image in, too
    open_ = {key for key, sha, _ in told if key in known and sha not in apart}
    taken = {rank for key, _, rank in told if key not in open_}
    free: list[int] = []
    for held in sorted(rank for key, _, rank in told if key in open_):
        place = max(held, free[-1] + 1) if free else held
        while place in taken:
            place += 1
        free.append(place)
    ranks = dict(zip((keys[at] for at in queue.order.tolist() if keys[at] in open_), free, strict=True))
    worth = {key: float(value) for key, value in zip(keys, queue.worth, strict=True) if key in open_}
    looks.set_values("rank", ranks, key_field="key")
    looks.set_values("worth", worth, key_field="key")


def ask_again(fo: Any, dataset: Any, table: DetectionTable, root: Path, *, blind: bool) -> None:
    """Put images of the audit into a data set a second time, each but once.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        table: the images, with the labels that the first look began with.
        root: the folder that image keys count from.
        blind: those labels are not shown.
    """
    there = set(dataset.match(fo.ViewField(layout.AGAIN)).values("sha"))
    new = table.take([row for row, sha in enumerate(table.sha) if sha not in there])
    if len(new):
        documents = layout.second_looks(new, root.resolve(), blind=blind)
        dataset.add_samples([fo.Sample.from_dict(document) for document in documents], progress=False)
        layout.save_audit_view(fo, dataset, blind=blind)
