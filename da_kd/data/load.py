"""Loads a set of images as the recipe describes it: finds the format, takes a part, reads labels, maps classes.

The one door through which stages get images. Knows the section ``Images`` of a recipe; must not know stages or models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from da_kd.data.classes import Target, map_classes, names_of
from da_kd.data.coco import open_coco
from da_kd.data.files import walk
from da_kd.data.folder import open_folder
from da_kd.data.images import IMAGE_SUFFIXES
from da_kd.data.imageset import ImageSet, held_out, nested
from da_kd.data.listed import LIST_SUFFIX, open_list
from da_kd.data.problems import Problems
from da_kd.data.remote import copy_files, copy_folder, is_remote
from da_kd.data.scan import ScanCache, scan
from da_kd.data.source import Source, Truth, missing_split
from da_kd.data.video import VIDEO_SUFFIXES, open_video
from da_kd.data.voc import is_voc, open_voc
from da_kd.data.yolo import find_yaml, open_yolo
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, Vocabulary, table_of
from da_kd.errors import DataError, InputError
from da_kd.events import Job
from da_kd.files import expanded, is_there

if TYPE_CHECKING:
    from da_kd.recipe import Images

_FILES = {
    ".yaml": "yolo",
    ".yml": "yolo",
    ".json": "coco",
    LIST_SUFFIX: "list",
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
}


def load_images(
    spec: Images,
    root: Path,
    classes: Vocabulary,
    *,
    labels: bool,
    cache: ScanCache,
    frames: Path,
    job: Job,
    name: str,
) -> ImageSet:
    """Load a set of images.

    Args:
        spec: which images; it must have a ``path``.
        root: the folder that relative paths count from.
        classes: the recipe's class names; they become the table's vocabulary.
        labels: read ground truth; else no label file is opened, and nothing counts as searched.
        cache: remembers what image files are.
        frames: the folder that keeps frames extracted from videos, and copies of what lies in an object store.
        job: hears of progress and warnings.
        name: the recipe's key of the set, for messages (``data.source``).

    Returns:
        The images in the set's own order. Without labels, unreadable images stay, with their reason.

    Raises:
        DataError: nothing usable is there, labels are wanted and missing or wrong, images of a labelled set cannot be
            read, or a class has no place among the recipe's.
        Cancelled: a person asked to stop.
    """
    if spec.path is None:
        raise ValueError(f"{name} has no path; render the images first, then pass a spec with their path.")
    try:
        path = _place(spec.path, root, frames / "copies", job)
        source = _open(spec, path, root, frames=frames, labels=labels, job=job)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    if not source.keys:
        raise DataError(
            f"{name}: expected images in {source.where}; found none with a suffix of {sorted(IMAGE_SUFFIXES)}."
        )
    if labels and source.truth is None:
        raise DataError(
            f"{name}: expected images with labels at {path}; found images alone. Point it to a data.yaml (YOLO), a "
            f"COCO JSON file or a Pascal VOC folder."
        )
    mapping = map_classes(source.vocabulary, spec.classes, classes, name) if labels else {}
    keys = _part(source.keys, spec, name)
    records = scan(source.root, keys, cache, job=job)
    if source.truth is None:
        return ImageSet(source.root, table_of(classes, records, {}))
    _require_readable(records, name, source)
    try:
        truth = source.truth(records)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    table = _labelled(truth, mapping, classes, records, labelled=spec.labelled_classes, job=job)
    return ImageSet(source.root, table)


def find_format(path: Path) -> str:
    """Return the format of what lies at ``path``: yolo, coco, voc, video, list or folder.

    Raises:
        DataError: nothing is there, or a file of an unknown kind.
    """
    if not is_there(path):
        near = next(parent for parent in path.parents if is_there(parent))
        raise DataError(
            f"expected a data set at {path}; found nothing there (the closest folder that exists is {near}). "
            f"Correct the path (in a recipe 'path' or 'data.root')."
        )
    suffix = path.suffix.lower()
    if path.is_dir():
        if find_yaml(path):
            return "yolo"
        if is_voc(path):
            return "voc"
        return "video" if walk(path, VIDEO_SUFFIXES) and not walk(path, IMAGE_SUFFIXES) else "folder"
    if suffix in _FILES:
        return _FILES[suffix]
    raise DataError(
        f"expected a folder, a data.yaml, a COCO JSON file, a Parquet list or a video at {path}; found a file of "
        f"another kind. Name the folder it lies in, or set 'format'."
    )


def _open(spec: Images, path: Path, root: Path, *, frames: Path, labels: bool, job: Job) -> Source:
    """List the images of the set in its format."""
    kind = find_format(path) if spec.format == "auto" else spec.format
    if kind == "yolo":
        return open_yolo(path, spec.split, labels=labels)
    if kind == "coco":
        return open_coco(path, _under(root, spec.images) if spec.images else None, spec.split, labels=labels)
    if kind == "voc":
        return open_voc(path, spec.split, labels=labels)
    if kind == "list":
        return open_list(path, frames / "copies", job)
    if kind == "video":
        if spec.split:
            raise missing_split(f"The video(s) {path}", spec.split, [])
        return open_video(path, spec.fps, frames, job)
    if path.is_dir() and (videos := walk(path, VIDEO_SUFFIXES)):
        job.warn(f"{path} holds images and {len(videos)} videos; the videos are left out (format: video takes them).")
    return open_folder(path, spec.split)


def _place(name: str, root: Path, copies: Path, job: Job) -> Path:
    """Return where a set lies; one of an object store is copied first."""
    if not is_remote(name):
        return _under(root, name)
    if name.partition("?")[0].lower().endswith(LIST_SUFFIX):
        return copies / "lists" / copy_files([name], copies / "lists", job)[0]
    return copy_folder(name, copies, job)


def _under(root: Path, name: str) -> Path:
    """Return a place that a recipe names; relative ones count from ``root``."""
    try:
        return expanded(name, root).absolute()
    except InputError as error:
        raise DataError(str(error)) from error


def _part(keys: Sequence[str], spec: Images, name: str) -> list[str]:
    """Return the images that holdout and fraction leave."""
    taken = list(keys)
    if spec.holdout is not None:
        try:
            taken = [taken[index] for index in held_out(taken, spec.holdout)]
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    taken = [taken[index] for index in nested(taken, spec.fraction)]
    if not taken:
        raise DataError(
            f"{name}: expected images to be left after 'holdout'; found none of {len(keys)}. Choose a smaller "
            f"holdout.fraction."
        )
    return taken


def _require_readable(records: Sequence[ImageRecord], name: str, source: Source) -> None:
    """Refuse a labelled set with images that cannot be read."""
    problems = Problems(f"{name}, images of {source.where}", "Replace the files, or take them out with their labels.")
    for record in records:
        if record.reason:
            problems.add(str(source.root / record.key), record.reason)
    problems.raise_any()


def _labelled(
    truth: Truth,
    mapping: dict[str, Target],
    classes: Vocabulary,
    records: Sequence[ImageRecord],
    *,
    labelled: tuple[str, ...] | None,
    job: Job,
) -> DetectionTable:
    """Return ground truth in the recipe's classes.

    A box of a class that may be one of several becomes an ignored box of each.
    """
    for text in truth.warnings:
        job.warn(text)
    covered = classes if labelled is None else labelled
    targets = [tuple(to for to in names_of(mapping[name]) if to in covered) for name in truth.vocabulary]
    labels = [np.array([classes.index(to) for to in names], np.int32) for names in targets]
    unclear = np.array([isinstance(mapping[name], tuple) for name in truth.vocabulary], bool)
    found: dict[str, Detections] = {}
    state: dict[str, npt.NDArray[np.int8]] = {}
    given = truth.found()
    for key, (boxes, states) in given.items():
        row = np.repeat(np.arange(len(boxes)), [len(labels[label]) for label in boxes.label])
        label = np.concatenate([np.zeros(0, np.int32), *(labels[label] for label in boxes.label)])
        found[key] = Detections(classes, boxes.xyxy[row], boxes.score[row], label)
        state[key] = np.where(unclear[boxes.label[row]], np.int8(State.IGNORED), states[row])
    stray = {name for name, to in zip(truth.vocabulary, targets, strict=True) if mapping[name] is not None and not to}
    _tell_left_out(stray, [boxes for boxes, _ in given.values()], job)
    searched = labelled if labelled is not None else tuple(to for names in targets for to in names)
    table = table_of(classes, records, found, searched=searched, state=state)
    return _narrowed(table, truth, mapping) if truth.searched else table


def _tell_left_out(stray: set[str], found: Sequence[Detections], job: Job) -> None:
    """Say how many boxes are left out because their class is not among the set's labelled classes."""
    count = sum(int(np.isin(boxes.label, [boxes.vocabulary.index(name) for name in stray]).sum()) for boxes in found)
    if count:
        job.warn(f"{count} boxes of {', '.join(sorted(stray))} are left out: 'labelled_classes' does not name them.")


def _narrowed(table: DetectionTable, truth: Truth, mapping: dict[str, Target]) -> DetectionTable:
    """Return the table with nothing counted as searched that the labels themselves say was not."""
    mask = table.searched.copy()
    for row, key in enumerate(table.key):
        if key in truth.searched:
            names = {to for name in truth.searched[key] for to in names_of(mapping.get(name))}
            mask[row] &= np.array([name in names for name in table.vocabulary], dtype=bool)
    return dataclasses.replace(table, searched=mask)
