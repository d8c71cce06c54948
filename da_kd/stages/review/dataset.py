"""Review data sets in FiftyOne: a table goes in through FiftyOne's own file layout, and what it became is read back.

FiftyOne's boxes are relative, and a box that nobody moved must come back to the last bit: its pixels stand in the
snapshot (see :mod:`da_kd.stages.review.layout`). A finished data set says so in ``dataset.info["da_kd"]``. Knows
FiftyOne and tables; must not know how a database is started, nor what a decision means.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review import layout
from da_kd.stages.review.compare import Label, Reviewed
from da_kd.stages.review.extent import Extent
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.journal import Box, second_look
from da_kd.stages.review.layout import INFO, LABELS, SNAPSHOT

_PEOPLE = "human:"
TOUCHED = 1e-6  # of the image's side; a box that moved less was not moved by a person


def for_person(labels: str) -> str:
    """Return the fingerprint of a data set that a person works in: one for each state of the fused labels."""
    return f"{_PEOPLE}{labels}"


def of_people(fo: Any, name: str) -> Iterator[Any]:
    """Yield the finished data sets of that name (or with a number behind it) that people work in."""
    return (dataset for dataset in _named(fo, name) if print_of(dataset).startswith(_PEOPLE))


def find(fo: Any, name: str, fingerprint: str) -> Any | None:
    """Return the finished data set of that name (or with a number behind it) and content, or None."""
    return next((dataset for dataset in _named(fo, name) if print_of(dataset) == fingerprint), None)


def print_of(dataset: Any) -> str:
    """Return the fingerprint of a data set's content, "" where it is not finished, or no review."""
    return str(dataset.info.get(INFO, {}).get("fingerprint", ""))


def _named(fo: Any, name: str) -> Iterator[Any]:
    for candidate in sorted(fo.list_datasets(), key=lambda other: (len(other), other)):
        if candidate == name or re.fullmatch(re.escape(name) + r"-\d+", candidate):
            dataset = fo.load_dataset(candidate)
            if print_of(dataset):
                dataset.add_sample_field(layout.AGAIN, fo.BooleanField)  # in case an earlier version made it
                dataset.add_sample_field("hash", fo.StringField)
            yield dataset


def import_table(
    fo: Any,
    name: str,
    table: DetectionTable,
    root: Path,
    job: Job,
    *,
    fingerprint: str,
    tag: bool = False,
    guide: Guide | None = None,
    images: npt.NDArray[np.integer] | None = None,
) -> Any:
    """Return the persistent data set of this name and content, made anew unless it is there.

    A data set that is there is left as it is, for a person's clicks are in it; only its image paths follow ``root``.
    Another content under the same name leads to a name with a number. Images that could not be read are left out, as
    are boxes that are dropped or ignored.

    Args:
        fo: the module, connected (see :func:`da_kd.stages.review.room.open_room`).
        name: what the data set is called.
        table: what to show.
        root: the folder that image keys count from.
        job: where progress goes.
        fingerprint: of the content; the same one means the same data set.
        tag: put what a rule decided on the labels as tags, ``accepted`` and ``uncertain``.
        guide: what the queue says of images and boxes; by default, they stand in their own order.
        images: positions of the images to show, which the guide is about; by default, all of them.

    Raises:
        DataError: FiftyOne does not take the table.
    """
    root = root.resolve()
    found = find(fo, name, fingerprint)
    if found is not None:
        follow(found, root)
        return found
    table = table if images is None else table.take(images)
    _sweep(fo, name)
    fresh = _free_name(fo, name)
    job.note(f"Review: {int(table.ok.sum())} images go into the data set '{fresh}'.")
    if fresh != name:
        job.note(f"The data set '{name}' holds something else (other labels, or not a review); it stays as it is.")
    try:
        guide = guide or Guide.plain(table)
        dataset = layout.create(fo, fresh, table)
        dataset.info = {INFO: {"importing": True}}
        dataset.save()
        fill(dataset, fo, layout.samples(table, guide, root, job, tag=tag))
        layout.furnish(fo, dataset, table, guide, tag=tag)
        # Only now is it finished: what a kill leaves before this line is swept away by the next import.
        dataset.info = {
            **dataset.info,
            INFO: {"fingerprint": fingerprint, "id": f"{fresh}@{secrets.token_hex(4)}", "root": str(root)},
        }
        dataset.persistent = True
        dataset.save()
    except (ValueError, TypeError, OSError) as error:
        raise DataError(f"FiftyOne did not take the labels for the data set '{fresh}' ({error}).") from error
    return dataset


def identity(dataset: Any) -> str:
    """Return what the journal calls a data set: its name and a token, for a name can be used again."""
    return str(dataset.info[INFO]["id"])


def content_hash(table: DetectionTable) -> str:
    """Return a hash of everything a data set shows of a table."""
    told = hashlib.sha256(json.dumps([table.vocabulary, table.key, table.sha, table.reason, table.teachers]).encode())
    for column in (table.size, table.offsets, table.xyxy, table.score, table.label, table.state, table.agreement):
        told.update(column.tobytes())
    told.update(table.protected.tobytes() + table.teacher_score.tobytes())
    return told.hexdigest()


def read_back(dataset: Any) -> list[Reviewed]:
    """Return what stands in every image of a data set: the boxes it came with, and those it has now, in pixels.

    A label that nobody moved has its original pixels exactly. Labels without class, or without area inside the image,
    are passed over. What was hidden from the person (a blind audit) is not among the boxes an image came with.
    """
    # Columns, not documents: FiftyOne takes ten times as long to build a sample.
    names = ("sha", "metadata.width", "metadata.height", "tags", "probability", "draw", "last_modified_at")
    boxes = zip(_columns(dataset, LABELS), _columns(dataset, SNAPSHOT, "of", "xyxy", "shown"), strict=True)
    images, classes = [], tuple(dataset.default_classes)
    for image, (now, then) in zip(zip(*dataset.values([*names, layout.AGAIN]), strict=True), boxes, strict=True):
        sha, width, height, tags, probability, draw, changed, again = image
        given = {item["of"]: item for item in then if item["shown"] is not False}
        size = np.array([width, height, width, height], dtype=np.float64)
        before = tuple(_snapshot_label(item) for item in given.values())
        after = tuple(label for item in now if (label := _label(item, given.get(item["id"]), size)))
        when = changed.replace(tzinfo=changed.tzinfo or UTC).isoformat(timespec="seconds") if changed else ""
        name, place = (second_look(sha), None) if again else (sha, draw)
        images.append(Reviewed(name, before, after, layout.DONE in tags, probability, classes, when, place))
    return images


def _columns(dataset: Any, field: str, *more: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the labels that one field holds, as plain attributes, image after image."""
    names = ("id", "label", "bounding_box", "confidence", "tags", *more)
    columns = dataset.values([f"{field}.detections.{name}" for name in names])
    for image in zip(*columns, strict=True):
        labels = zip(*(values or () for values in image), strict=True)
        yield [dict(zip(names, label, strict=True)) for label in labels]


def _snapshot_label(item: Mapping[str, Any]) -> Label:
    """Return one label as the person was given it."""
    x1, y1, x2, y2 = item["xyxy"]
    return Label(item["of"], Box(item["label"], (x1, y1, x2, y2), item["confidence"]), frozenset(item["tags"] or ()))


def _label(item: Mapping[str, Any], given: Mapping[str, Any] | None, size: npt.NDArray[np.float64]) -> Label | None:
    """Return one label as it is now, or None where there is nothing to learn from."""
    if not item["label"] or not item["bounding_box"]:
        return None
    box = item["bounding_box"]
    if given is not None and all(abs(a - b) <= TOUCHED for a, b in zip(box, given["bounding_box"], strict=True)):
        x1, y1, x2, y2 = given["xyxy"]
    else:
        relative = np.array(box, dtype=np.float64)
        edges = np.clip(np.concatenate([relative[:2], relative[:2] + relative[2:]]), 0, 1) * size
        x1, y1, x2, y2 = (float(value) for value in edges.astype(np.float32))
        if not (x2 > x1 and y2 > y1):
            return None
    score = 1.0 if item["confidence"] is None else float(item["confidence"])
    return Label(item["id"], Box(item["label"], (x1, y1, x2, y2), score), frozenset(item["tags"] or ()))


def follow(dataset: Any, root: Path) -> None:
    """Let the image paths follow a data root (absolute) that moved."""
    info = dataset.info[INFO]
    if info["root"] != str(root):
        dataset.set_values("filepath", [str(root / key) for key in dataset.values("key")])
        dataset.info = {**dataset.info, INFO: {**info, "root": str(root)}}
        dataset.save()


def tell(dataset: Any, extent: Extent) -> None:
    """Write into the data set's info how many images of how many are in it."""
    told = {"images": extent.images, "of": extent.of, "most": extent.most, "told": extent.words}
    dataset.info = {**dataset.info, INFO: {**dataset.info[INFO], **told}}
    dataset.save()


def _sweep(fo: Any, name: str) -> None:
    """Delete what an import that was killed left under this name; a finished data set is persistent."""
    for dataset in list(_named(fo, name)):
        if not dataset.persistent and dataset.info.get(INFO, {}).get("importing"):
            dataset.delete()


def _free_name(fo: Any, name: str) -> str:
    """Return ``name``, or the first ``name-2``, ``name-3``, ... that FiftyOne does not have, nor its short form."""
    slug = fo.core.utils.to_slug
    taken = {slug(other) for other in fo.list_datasets()}
    number, fresh = 1, name
    while slug(fresh) in taken:
        number += 1
        fresh = f"{name}-{number}"
    return fresh


def fill(dataset: Any, fo: Any, documents: Iterable[dict[str, Any]]) -> None:
    """Put documents into a data set: FiftyOne writes the header of its own file layout, and we the samples.

    What is in the data set already stays as it is.
    """
    with tempfile.TemporaryDirectory(prefix="da_kd_review_") as temporary:
        folder = str(Path(temporary) / "layout")
        dataset.select([]).export(folder, dataset_type=fo.types.FiftyOneDataset, export_media=False, progress=False)
        with (Path(folder) / "samples.json").open("w") as file:
            file.write('{"samples": [')
            for number, sample in enumerate(documents):
                file.write((", " if number else "") + json.dumps(sample, allow_nan=False))
            file.write("]}")
        dataset.add_dir(folder, dataset_type=fo.types.FiftyOneDataset, progress=False)
