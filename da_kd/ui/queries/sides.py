"""What can be a side of a comparison: scored models, each teacher's raw boxes, pseudo labels, and files of predictions.

All of them are stored; no model runs here. Files are what a person put into the run's folder ``compare``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

from da_kd.data import ImageSet, read_coco_results
from da_kd.detections import DetectionTable, ImageRecord, table_of
from da_kd.errors import DaKdError, InputError
from da_kd.files import whole
from da_kd.pipeline import Run, list_runs
from da_kd.stages.fuse.classes import ClassMap, class_map
from da_kd.stages.report.facts import in_order, name_of
from da_kd.ui.queries.runs import MOST_OFFERED, outputs
from da_kd.ui.queries.sets import inputs_of, memory, recipe_of, table_at, teachers_said, truth_of, version_of

FILES = "compare"  # the folder of a run that holds files of predictions
_EVALUATE, _PREDICT, _FUSE, _FILE = "evaluate:", "predict:", "fuse", "file:"
_LARGEST = 256 << 20  # bytes of a file


class Stored(NamedTuple):
    """What one side of a comparison is: a run, and ``evaluate:ROW``, ``predict:TEACHER``, ``fuse`` or ``file:NAME``."""

    run: Run
    what: str

    @property
    def on_target(self) -> bool:
        """Whether it speaks of the target images, which have no labels to judge by, and not of the test images."""
        return self.what == _FUSE or self.what.startswith(_PREDICT)


def offered(workspace: Path) -> dict[str, Stored]:
    """Return everything that can be a side, by what it is called."""
    found: dict[str, Stored] = {}
    for run in list_runs(workspace)[:MOST_OFFERED]:
        try:
            done = outputs(run)
            teachers = [teacher.name for teacher in recipe_of(run).teachers]
        except DaKdError:
            continue
        rows = {name.removeprefix(_EVALUATE) for name in done if name.startswith(_EVALUATE)}
        parts = {name_of(row): f"{_EVALUATE}{row}" for row in in_order(rows)}
        if rows:
            parts |= {f"file {file.stem}": f"{_FILE}{file.name}" for file in files_of(run)}
        raw = [name for name in teachers if f"{_PREDICT}{name}" in done]
        parts |= {f"Teacher {name}, raw on the target": f"{_PREDICT}{name}" for name in raw}
        parts |= {"Pseudo labels of the target": _FUSE} if _FUSE in done else {}
        found |= {f"{run.name} / {called}": Stored(run, what) for called, what in parts.items()}
    return found


def files_of(run: Run) -> list[Path]:
    """Return the files of predictions in a run's folder."""
    return sorted(path for path in (run.folder / FILES).glob("*.json") if not path.name.startswith("."))


def images_of(side: Stored) -> ImageSet:
    """Return the images that a side speaks of.

    Raises:
        InputError: they cannot be read.
    """
    images = inputs_of(side.run).get("target") if side.on_target else truth_of(side.run)
    if images is None:
        raise InputError(f"The test images of run '{side.run.name}' cannot be read; see page 2.")
    return images


def version(side: Stored) -> Hashable:
    """Return what changes when the boxes of a side do.

    Raises:
        InputError: there is no such side (any more).
    """
    if side.what.startswith(_FILE):
        path = _file(side)
        return path, path.stat().st_mtime_ns
    return _output(side), version_of(side.run)


def boxes_of(side: Stored) -> DetectionTable:
    """Return what a side says, in the classes of its run.

    Raises:
        DaKdError: it is gone, or its file does not fit the images.
    """
    if side.what.startswith(_FILE):
        found: DetectionTable = memory.get(("file", version(side)), lambda: _from_file(side))
        return found
    place = _output(side)
    if side.what == _FUSE:
        return table_at(place / "labels.parquet")
    if side.what.startswith(_EVALUATE):
        return table_at(place / "predictions.parquet")
    raw: DetectionTable = memory.get(("mapped", version(side)), lambda: _raw(side))
    return raw


def _output(side: Stored) -> Path:
    place = outputs(side.run).get(side.what)
    if place is None:
        name = side.what.partition(":")[2] or side.what
        raise InputError(f"Run '{side.run.name}' has no predictions of '{name}' (any more); choose another model.")
    return place


def _file(side: Stored) -> Path:
    name = side.what.removeprefix(_FILE)
    path = next((path for path in files_of(side.run) if path.name == name), None)
    if path is None:
        raise InputError(f"Run '{side.run.name}' has no file '{name}' (any more); add it below, or choose another.")
    return path


def _raw(side: Stored) -> DetectionTable:
    """Return a teacher's boxes before any threshold, in the classes of the recipe."""
    recipe, name = recipe_of(side.run), side.what.removeprefix(_PREDICT)
    said = teachers_said(side.run)[name]
    given = next(teacher.classes for teacher in recipe.teachers if teacher.name == name)
    mapping = class_map(name, said.vocabulary, recipe.classes, given)
    records = _records(said)
    found = {key: mapping.apply(said.at(row)) for row, key in enumerate(said.key) if said.ok[row]}
    return table_of(tuple(recipe.classes), records, found)


def _from_file(side: Stored) -> DetectionTable:
    return read_file(_file(side), side.run)


def read_file(path: Path, run: Run) -> DetectionTable:
    """Return the boxes of a COCO file on the test images of a run.

    A list of results whose images have numbers is read with the COCO file of the run's test set.

    Raises:
        DataError: the file is none, or names no image or class of the run.
        InputError: the test images cannot be read.
    """
    images, recipe = images_of(Stored(run, _EVALUATE)), recipe_of(run)
    given = recipe.data.test.path if recipe.data.test else None
    labels = Path(recipe.data.root) / given if given and given.endswith(".json") else None
    stored = read_coco_results(path, labels if labels and _numbered(path) else None)
    common = set(stored.vocabulary) & set(recipe.classes)
    if not common:
        raise InputError(
            f"Expected boxes of {', '.join(recipe.classes)} in {path.name}; found classes "
            f"{', '.join(stored.vocabulary) or 'of no name'}. Rename them in the file."
        )
    mapping: ClassMap = class_map("file", stored.vocabulary, recipe.classes, {})
    answers = {key: stored.lookup(key) for key in images.table.key}
    known = {key: mapping.apply(found) for key, found in answers.items() if found is not None}
    if not known:
        raise InputError(f"Expected predictions of the test images of run '{run.name}' in {path.name}; it names none.")
    return table_of(tuple(recipe.classes), [one for one in _records(images.table) if one.key in known], known)


def keep_file(path: Path, run: Run) -> int:
    """Copy a file of predictions to a run, so that it can be a side; return for how many test images it answers.

    Raises:
        DaKdError: it does not fit the run, or is too large.
    """
    if path.stat().st_size > _LARGEST:
        raise InputError(f"Expected a file of at most {_LARGEST >> 20} MB; {path.name} is larger.")
    answered = len(read_file(path, run))
    place = run.folder / FILES / path.name
    if path != place:
        place.parent.mkdir(exist_ok=True)
        with whole(place) as temporary:
            shutil.copyfile(path, temporary)
    return answered


def folder_of(run: Run) -> Path:
    """Return the folder that holds all test images of a run.

    Raises:
        InputError: they cannot be read.
    """
    images = images_of(Stored(run, _EVALUATE))
    return images.root / commonpath([str(Path(key).parent) for key in images.table.key])


def _records(table: DetectionTable) -> list[ImageRecord]:
    rows = zip(table.key, table.sha, table.size.tolist(), table.reason, strict=True)
    return [ImageRecord(key, sha, width, height, reason) for key, sha, (width, height), reason in rows]


def _numbered(path: Path) -> bool:
    """Say whether a file is a list of results that gives images by number, and so does not tell which they are."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # whoever reads it tells what is wrong
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and isinstance(first.get("image_id"), int)
