"""Review data sets in FiftyOne: a table goes in through FiftyOne's own file layout, and what it became is read back.

A data set holds two fields of boxes. ``labels`` is what people edit; ``snapshot`` is what they were given, read-only,
each box with the id of its label (``of``) and its exact pixels (``xyxy``): FiftyOne's boxes are relative, and a box
that nobody moved must come back to the last bit. A finished data set says so in ``dataset.info["da_kd"]``. Knows
FiftyOne and tables; must not know how a database is started, nor what a decision means.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, State
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review.compare import Label, Reviewed
from da_kd.stages.review.journal import Box

INFO = "da_kd"
LABELS, SNAPSHOT = "labels", "snapshot"
SHOWN = (State.KEPT, State.UNCERTAIN)
WORDS = {int(State.KEPT): "kept", int(State.UNCERTAIN): "uncertain"}
RULE_TAGS = {int(State.KEPT): "accepted", int(State.UNCERTAIN): "uncertain"}  # what a rule said, to be seen in the App
TOUCHED = 1e-6  # of the image's side; a box that moved less was not moved by a person


def find(fo: Any, name: str, fingerprint: str) -> Any | None:
    """Return the finished data set of that name (or with a number behind it) and content, or None."""
    for candidate in sorted(fo.list_datasets(), key=lambda other: (len(other), other)):
        if candidate == name or re.fullmatch(re.escape(name) + r"-\d+", candidate):
            dataset = fo.load_dataset(candidate)
            if dataset.info.get(INFO, {}).get("fingerprint") == fingerprint:
                return dataset
    return None


def import_table(
    fo: Any, name: str, table: DetectionTable, root: Path, job: Job, *, fingerprint: str, tag: bool = False
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

    Raises:
        DataError: FiftyOne does not take the table.
    """
    root = root.resolve()
    found = find(fo, name, fingerprint)
    if found is not None:
        _follow(found, root)
        return found
    _sweep(fo, name)
    fresh = _free_name(fo, name)
    job.note(f"Review: {int(table.ok.sum())} images go into the data set '{fresh}'.")
    try:
        dataset = _create(fo, fresh, table, root, job, tag=tag)
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
    are passed over.
    """
    # Columns, not documents: FiftyOne takes ten times as long to build a sample.
    shas, widths, heights = dataset.values(["sha", "metadata.width", "metadata.height"])
    images = []
    for sha, width, height, now, then in zip(
        shas, widths, heights, _columns(dataset, LABELS), _columns(dataset, SNAPSHOT, "of", "xyxy"), strict=True
    ):
        given = {item["of"]: item for item in then}
        size = np.array([width, height, width, height], dtype=np.float64)
        before = tuple(_snapshot_label(item) for item in then)
        after = tuple(label for item in now if (label := _label(item, given.get(item["id"]), size)))
        images.append(Reviewed(sha, before, after))
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


def _follow(dataset: Any, root: Path) -> None:
    """Let the image paths follow a data root that moved."""
    info = dataset.info[INFO]
    if info["root"] != str(root):
        dataset.set_values("filepath", [str(root / key) for key in dataset.values("key")])
        dataset.info = {**dataset.info, INFO: {**info, "root": str(root)}}
        dataset.save()


def _sweep(fo: Any, name: str) -> None:
    """Delete what an import that was killed left under this name; a finished data set is persistent."""
    for candidate in fo.list_datasets():
        if candidate == name or re.fullmatch(re.escape(name) + r"-\d+", candidate):
            dataset = fo.load_dataset(candidate)
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


def _create(fo: Any, name: str, table: DetectionTable, root: Path, job: Job, *, tag: bool) -> Any:
    """Make a data set and fill it: FiftyOne writes the header of its own file layout, and we the samples."""
    dataset = fo.Dataset(name, persistent=False)
    teachers = _teacher_fields(table.teachers)
    _add_fields(fo, dataset, teachers)
    dataset.info = {INFO: {"importing": True}}
    dataset.classes = {LABELS: list(table.vocabulary), SNAPSHOT: list(table.vocabulary)}
    dataset.default_classes = list(table.vocabulary)
    dataset.save()
    with tempfile.TemporaryDirectory(prefix="da_kd_review_") as temporary:
        folder = str(Path(temporary) / "layout")
        dataset.export(folder, dataset_type=fo.types.FiftyOneDataset, export_media=False, progress=False)
        with (Path(folder) / "samples.json").open("w") as file:
            file.write('{"samples": [')
            for number, sample in enumerate(_samples(table, root, teachers, job, tag)):
                file.write((", " if number else "") + json.dumps(sample, allow_nan=False))
            file.write("]}")
        dataset.add_dir(folder, dataset_type=fo.types.FiftyOneDataset, progress=False)
    dataset.add_dynamic_sample_fields()
    _make_editable(dataset, table.vocabulary, teachers)
    _save_views(fo, dataset, tag)
    return dataset


def _add_fields(fo: Any, dataset: Any, teachers: Sequence[str]) -> None:
    """Declare every field, so that an import of no images, or of no boxes, has them too."""
    dataset.media_type = "image"
    dataset.add_sample_field("key", fo.StringField)
    dataset.add_sample_field("sha", fo.StringField)
    for field in (LABELS, SNAPSHOT):
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        inside = f"{field}.detections"
        for name in ("agreement", *teachers):
            dataset.add_sample_field(f"{inside}.{name}", fo.FloatField)
        dataset.add_sample_field(f"{inside}.state", fo.StringField)
        dataset.add_sample_field(f"{inside}.protected", fo.BooleanField)
    dataset.add_sample_field(f"{SNAPSHOT}.detections.of", fo.StringField)
    dataset.add_sample_field(f"{SNAPSHOT}.detections.xyxy", fo.ListField, subfield=fo.FloatField)


def _teacher_fields(teachers: Sequence[str]) -> tuple[str, ...]:
    """Return the attribute that holds each teacher's score; a database's field names take no dots."""
    names: list[str] = []
    for teacher in teachers:
        plain = "score_" + re.sub(r"\W", "_", teacher)
        names.append(plain if plain not in names else f"{plain}_{len(names) + 1}")
    return tuple(names)


def _samples(
    table: DetectionTable, root: Path, teachers: Sequence[str], job: Job, tag: bool
) -> Iterator[dict[str, Any]]:
    """Yield every readable image as FiftyOne's document."""
    readable = [int(index) for index in np.flatnonzero(table.ok)]
    for index in job.track(readable, "import", unit="images"):
        labels, snapshot = [], []
        for row in range(int(table.offsets[index]), int(table.offsets[index + 1])):
            if table.state[row] in SHOWN:
                label = _detection(table, index, row, teachers, tag)
                name = label["_id"]["$oid"]
                labels.append(label)
                xyxy = [float(value) for value in table.xyxy[row]]
                # An id of its own: the App finds labels by their id, whatever field they stand in.
                snapshot.append({**label, "_id": {"$oid": _object_id(name)}, "of": name, "xyxy": xyxy})
        width, height = (int(value) for value in table.size[index])
        yield {
            "filepath": str(root / table.key[index]),
            "tags": [],
            "_media_type": "image",
            "_rand": int(_object_id(table.key[index])[:8], 16) / 2**32,
            "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
            "key": table.key[index],
            "sha": table.sha[index],
            LABELS: {"_cls": "Detections", "detections": labels},
            SNAPSHOT: {"_cls": "Detections", "detections": snapshot},
        }


def _detection(table: DetectionTable, index: int, row: int, teachers: Sequence[str], tag: bool) -> dict[str, Any]:
    """Return one box as FiftyOne's document; ``bounding_box`` is x, y, width, height relative to the image."""
    width, height = (float(value) for value in table.size[index])
    x1, y1, x2, y2 = (float(value) for value in table.xyxy[row])
    state = int(table.state[row])
    said = zip(teachers, table.teacher_score[row], strict=True)
    return {
        "_id": {"$oid": _object_id(table.key[index], table.sha[index], row - int(table.offsets[index]))},
        "_cls": "Detection",
        "attributes": {},
        "tags": [RULE_TAGS[state]] if tag else [],
        "label": table.vocabulary[int(table.label[row])],
        "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
        "confidence": float(table.score[row]),
        "agreement": float(table.agreement[row]),
        "state": WORDS[state],
        "protected": bool(table.protected[row]),
        **{name: float(score) for name, score in said if np.isfinite(score)},
    }


def _object_id(*parts: object) -> str:
    """Return 24 hex digits that depend on nothing but ``parts``."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _make_editable(dataset: Any, vocabulary: Sequence[str], teachers: Sequence[str]) -> None:
    """Let the App's Annotate tab edit class, place and tags of ``labels``, and only look at the figures.

    ``snapshot`` has no schema, which keeps it out of the tab. (Marked read-only, it makes the tab fail.)
    """
    schema = dataset.generate_label_schemas(LABELS, scan_samples=False)
    schema["classes"] = list(vocabulary)
    schema["component"] = "dropdown"
    wanted = [item for item in schema["attributes"] if item["name"] not in ("index", "mask_path")]
    schema["attributes"] = sorted(wanted, key=lambda item: item["name"] != "tags")  # tags first: they decide
    for attribute in schema["attributes"]:
        if attribute["name"] in ("agreement", "confidence", "state", "protected", *teachers):
            attribute["read_only"] = True
        elif attribute["name"] == "tags":
            attribute.update(component="checkboxes", values=["accepted", "rejected", "uncertain"])
    dataset.set_label_schemas({LABELS: schema})
    dataset.active_label_schemas = [LABELS]
    shown = dataset.app_config.default_active_fields(dataset)
    shown.paths = [path for path in shown.paths if not path.startswith(SNAPSHOT)]
    dataset.app_config.active_fields = shown  # or every box is drawn twice
    dataset.save()


def _save_views(fo: Any, dataset: Any, tag: bool) -> None:
    """Save the two views a person starts from."""
    for name, state in (("accepted by rule" if tag else "kept", "kept"), ("uncertain", "uncertain")):
        view = dataset.filter_labels(LABELS, fo.ViewField("state") == state)
        dataset.save_view(name, view)
