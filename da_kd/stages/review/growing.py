"""What changes of a review data set while people work in it: a larger audit, second looks, another order.

Knows FiftyOne and the fields of :mod:`da_kd.stages.review.layout`; must not know how an order comes about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data.similar import Hashes
from da_kd.detections import DetectionTable
from da_kd.stages.review import layout
from da_kd.stages.review.compare import compare
from da_kd.stages.review.dataset import read_back
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.layout import LABELS, SNAPSHOT
from da_kd.stages.review.queue import Queue


def extend_audit(fo: Any, dataset: Any, keys: Sequence[str], guide: Guide) -> int:
    """Put an audit, or a larger one, into a data set that is there already; return how many images were added.

    An image that somebody worked on is shown to them as before; others lose their pseudo labels where the audit is
    blind. An audit never shrinks.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images of the guide's table.
        guide: its ``draw``, ``probability`` and ``blind`` count.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    there = set(looks.match(fo.ViewField("audit")).values("key"))
    drawn = {keys[at]: at for at in np.flatnonzero(guide.draw >= 0).tolist()}
    present = set(looks.values("key"))
    new = [key for key in drawn if key in present and key not in there]
    if not new:
        return 0
    for field, column in (("draw", guide.draw), ("probability", guide.probability)):
        values = {key: column[at].item() for key, at in drawn.items() if key in present}
        looks.set_values(field, values, key_field="key")
    looks.set_values("audit", dict.fromkeys(new, True), key_field="key")
    if guide.blind:
        added = looks.match(fo.ViewField("key").is_in(new))
        worked_on = {entry.sha for entry in compare(read_back(added), "")}
        for sample in added.match(~fo.ViewField("sha").is_in(list(worked_on))).iter_samples(autosave=True):
            sample[LABELS].detections = [label for label in sample[LABELS].detections if label["protected"]]
            left = {label.id for label in sample[LABELS].detections}
            for label in sample[SNAPSHOT].detections:
                label["shown"] = label["of"] in left
            sample["why"], sample["lists"] = "", []
    layout.save_audit_view(fo, dataset, blind=guide.blind)
    return len(new)


def hashes_of(fo: Any, dataset: Any, keys: Sequence[str]) -> Hashes | None:
    """Return the perceptual hashes that a data set keeps of these images; None where it has not that of each readable.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images; one that the data set does not have gets a hash of its own.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    told = dict(zip(*looks.values(["key", "hash"]), strict=True))
    if not all(told.values()):
        return None
    own = (hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys)
    return np.array([int(told.get(key) or spare, 16) for key, spare in zip(keys, own, strict=True)], np.uint64)


def reorder(fo: Any, dataset: Any, keys: Sequence[str], queue: Queue, apart: Container[str]) -> None:
    """Give the images of a data set another place in the queue.

    Args:
        fo: the module, connected.
        dataset: as ``import_table`` made it.
        keys: of the images that the queue is of.
        queue: the new order.
        apart: content hashes of images that stay where they are: writing to one would make it seem changed just now.
    """
    looks = dataset.match(~fo.ViewField(layout.AGAIN))
    open_ = {key for key, sha in zip(*looks.values(["key", "sha"]), strict=True) if sha not in apart}
    ranks = {keys[at]: rank for rank, at in enumerate(queue.order.tolist()) if keys[at] in open_}
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
