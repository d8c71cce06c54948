"""Reads COCO JSON as ground truth. Category ids may be any integers; the vocabulary is in their order.

*Crowd* boxes, and those marked ``ignore``, neither reward nor punish. What da_kd itself wrote beside a box (its state)
and beside an image (which classes were searched) is taken back. Must not know the recipe's classes.
"""

from __future__ import annotations

import math
import os
import reprlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da_kd.data.files import read_json, rooted, walk
from da_kd.data.images import IMAGE_SUFFIXES
from da_kd.data.problems import Problems
from da_kd.data.source import Box, Source, Truth, cut, distinct, missing_split
from da_kd.detections import ImageRecord, State, Vocabulary
from da_kd.errors import DataError
from da_kd.files import is_file

NAMESPACE = "da_kd"


def open_coco(path: Path, images: Path | None = None, split: Sequence[str] = (), *, labels: bool = True) -> Source:
    """List the images of a COCO JSON file; keys count from the folder of the images.

    Args:
        path: the JSON file.
        images: the folder that ``file_name`` counts from; None looks beside the file and in folders named ``images``.
        split: must be empty; a COCO file is one split.
        labels: offer the labels too; else nothing but the list of images is looked at.

    Raises:
        DataError: no such file, a mistake in it, or an image name that fits several files.
    """
    if not path.is_file():
        raise DataError(
            f"Expected a COCO JSON file at {path}; found {'a folder' if path.exists() else 'nothing'} there."
        )
    if split:
        raise missing_split(f"The COCO file {path} is one split", split, [])
    content = read_json(path)
    entries = image_entries(content, path)
    if images is not None and not images.is_dir():
        raise DataError(f"Expected the images of {path.name} in the folder {images}; there is no such folder.")
    folder = images or _guess_folder(path, entries)
    if not entries:
        return Source(str(path), folder, ())
    files = _resolve(folder, entries, path)
    root, keys = rooted(files, folder)
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{path}: expected one entry for each image; found '{twice}' more than once. Remove one.")
    if not labels:
        return Source(str(path), root, keys)
    categories = category_names(content, path)
    key_of = {entry["id"]: key for entry, key in zip(entries, keys, strict=True)}

    def truth(records: Sequence[ImageRecord]) -> Truth:
        return _Reader(path, content, categories, key_of, records).read()

    return Source(str(path), root, keys, tuple(categories.values()), truth)


def image_entries(content: Any, path: Path) -> list[Mapping[str, Any]]:
    """Return the entries of ``images``, each with a distinct ``id`` and a ``file_name``.

    Raises:
        DataError: they are not there or not like that.
    """
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"Expected a COCO file at {path}, an object with 'images'; found no list of images in it.")
    problems = Problems(str(path), "Each image needs an id of its own and a 'file_name'.")
    seen: set[Any] = set()
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            problems.add(f"images[{index}]", "expected a 'file_name', found none")
        elif not isinstance(entry.get("id"), int | str):
            problems.add(f"images[{index}]", f"expected an 'id', found {entry.get('id')!r}")
        elif entry["id"] in seen:
            problems.add(f"images[{index}]", f"expected an id of its own, found {entry['id']!r} again")
        else:
            seen.add(entry["id"])
    problems.raise_any()
    return entries


def category_names(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Return class names by category id, in the order of the ids, without those of :func:`_headings`.

    Raises:
        DataError: there are none, or an id or name stands there twice.
    """
    entries = content.get("categories")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: expected 'categories', a list of class names with ids; found none. Add them.")
    problems = Problems(str(path), "Each category needs an integer 'id' of its own and a 'name'.")
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not isinstance(number, int) or not isinstance(name, str) or number in names:
            problems.add(f"categories[{index}]", f"found id {number!r} and name {name!r}")
        else:
            names[number] = name
    problems.raise_any()
    headings = _headings(entries, content.get("annotations"))
    ordered = {number: names[number] for number in sorted(names) if number not in headings}
    distinct(list(ordered.values()), str(path))
    return ordered


def _headings(categories: Sequence[Mapping[str, Any]], annotations: Any) -> list[int]:
    """Return the ids of categories that others stand under and no box has: Roboflow's project, before its classes."""
    above = [entry.get("supercategory") for entry in categories if entry.get("supercategory") != "none"]
    found = [entry["id"] for entry in categories if entry["name"] in above and entry.get("supercategory") == "none"]
    if not found or not isinstance(annotations, list):
        return found
    used = [entry.get("category_id") for entry in annotations if isinstance(entry, dict)]
    return [number for number in found if number not in used]


def _guess_folder(path: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Return the folder near the JSON file that the first image lies in."""
    here, above = path.parent, path.parent.parent
    stem = path.stem.removeprefix("instances_")
    places = [here, here / "images", above / "images", above / "images" / stem, above / stem, above]
    first = entries[0]["file_name"] if entries else ""
    return next((place for place in places if first and is_file(place / first)), here)


def _resolve(folder: Path, entries: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    """Return each image's file: below ``folder`` by its name, else the only one below it with that last name."""
    nested: dict[str, list[str]] | None = None
    problems = Problems(f"{path}, images looked for in {folder}", "Name the folder they count from in 'images'.")
    files = []
    for entry in entries:
        name = str(entry["file_name"]).replace("\\", "/")
        file = folder / name
        if not name.isprintable() and _cannot_be(name):
            problems.add(repr(name), "expected the name of a file, found characters that none can have")
            continue
        if not is_file(file):
            if nested is None:
                nested = defaultdict(list)
                for key in walk(folder, IMAGE_SUFFIXES):
                    nested[key.rsplit("/", 1)[-1]].append(key)
            matches = nested.get(name.rsplit("/", 1)[-1], [])
            if len(matches) > 1:
                problems.add(f"'{name}'", f"expected one file, found '{matches[0]}' and '{matches[1]}'")
            file = folder / matches[0] if len(matches) == 1 else file
        files.append(file)
    problems.raise_any()
    return files


def _cannot_be(name: str) -> bool:
    """Say whether no file can be called so."""
    try:
        return b"\0" in os.fsencode(name)
    except UnicodeEncodeError:  # half of a character, which JSON can spell
        return True


class _Reader:
    """Turns annotations into boxes; one use."""

    def __init__(
        self,
        path: Path,
        content: Mapping[str, Any],
        categories: Mapping[int, str],
        key_of: Mapping[Any, str],
        records: Sequence[ImageRecord],
    ) -> None:
        self.path, self.content, self.key_of = path, content, key_of
        self.label_of = {number: index for index, number in enumerate(categories)}
        self.records = {record.key: record for record in records}
        self.vocabulary: Vocabulary = tuple(categories.values())
        self.problems = Problems(f"The labels of {path}", "Correct the file, or export it again.")
        self.flat = 0

    def read(self) -> Truth:
        truth = Truth(self.vocabulary)
        self._read_images(truth)
        annotations = self.content.get("annotations")
        if not isinstance(annotations, list):
            raise DataError(f"{self.path}: expected 'annotations', a list (it may be empty); found none. Add it.")
        for index, entry in enumerate(annotations):
            try:
                self._read_annotation(truth, entry)
            except (ValueError, TypeError) as error:
                name = entry.get("id", index) if isinstance(entry, dict) else index
                self.problems.add(f"annotation {name}", str(error))
        self.problems.raise_any()
        if self.flat:
            truth.warnings.append(f"{self.path}: {self.flat} boxes have no width or no height; they stay as 'dropped'.")
        return truth

    def _read_images(self, truth: Truth) -> None:
        """Check the sizes that the file claims, and note what was searched in each image."""
        for entry in self.content["images"]:
            record = self.records.get(self.key_of[entry["id"]])
            if record is None:
                continue
            try:
                _check_size(entry, record)
                searched = _searched(entry)
            except ValueError as error:
                self.problems.add(f"image '{entry['file_name']}'", str(error))
                continue
            if searched is None or searched:
                truth.looked(record.key)
            if searched is not None:
                truth.searched[record.key] = searched

    def _read_annotation(self, truth: Truth, entry: Any) -> None:
        """Add one box; raises ValueError with what is wrong."""
        if not isinstance(entry, dict):
            raise ValueError("expected an object")
        if entry.get("image_id") not in self.key_of:
            raise ValueError(f"expected the id of an image of the file, found image_id {entry.get('image_id')!r}")
        if entry.get("category_id") not in self.label_of:
            raise ValueError(f"expected the id of a category, found category_id {entry.get('category_id')!r}")
        record = self.records.get(self.key_of[entry["image_id"]])
        x, y, w, h = parse_bbox(entry.get("bbox"))
        if record is None:  # an image that nobody asked for
            return
        label, score = self.label_of[entry["category_id"]], parse_score(entry.get("score", 1.0))
        state = _state(entry)
        if w == 0 or h == 0:
            self.flat += state is not State.DROPPED
            truth.add(record.key, (x, y, x + w, y + h), label, State.DROPPED, score)
            return
        box = cut((x, y, x + w, y + h), record.width, record.height)
        if box is None:
            raise ValueError(
                f"expected a box inside the image of {record.width}x{record.height} pixels, found {[x, y, w, h]}"
            )
        truth.add(record.key, box, label, state, score)


def _check_size(entry: Mapping[str, Any], record: ImageRecord) -> None:
    """Compare the size that an image's entry claims, if it does; raises ValueError with what is wrong."""
    claimed = (entry.get("width") or record.width, entry.get("height") or record.height)
    for side in claimed:
        if not isinstance(side, int | float):
            raise ValueError(f"expected numbers as width and height, found {reprlib.repr(side)}")
    if claimed != (record.width, record.height):
        raise ValueError(
            f"expected {claimed[0]}x{claimed[1]} pixels as the file says, "
            f"found {record.width}x{record.height} as displayed (EXIF orientation applied)"
        )


def parse_bbox(value: Any) -> Box:
    """Return ``x, y, width, height``; raises ValueError with what is wrong."""
    if not isinstance(value, list) or len(value) != 4 or not all(isinstance(item, int | float) for item in value):  # noqa: PLR2004
        raise ValueError(f"expected a bbox of four numbers x, y, width, height, found {value!r}")
    try:
        x, y, w, h = (float(item) for item in value)
    except OverflowError as error:  # JSON has whole numbers of any length
        raise ValueError(f"expected a bbox of four numbers in pixels, found {reprlib.repr(value)}") from error
    if not all(map(math.isfinite, (x, y, w, h))) or w < 0 or h < 0:
        raise ValueError(f"expected a bbox with width and height of at least 0, found {value}")
    return x, y, w, h


def parse_score(value: Any) -> float:
    """Return a score; raises ValueError with what is wrong."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"expected a score in 0..1, found {value!r}")
    return float(value)


def _own(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what da_kd wrote beside an entry."""
    value = entry.get(NAMESPACE)
    return value if isinstance(value, dict) else {}


def _searched(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return which classes were looked for in an image, None where that is not said."""
    names = _own(entry).get("searched")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected a list of class names as 'searched', found {reprlib.repr(names)}")
    return tuple(names)


def _state(entry: Mapping[str, Any]) -> State:
    """Return a box's state."""
    name = str(_own(entry).get("state", "")).upper()
    if name:
        if name not in State.__members__:
            raise ValueError(f"expected a state of {[state.name.lower() for state in State]}, found '{name.lower()}'")
        return State[name]
    return State.IGNORED if entry.get("iscrowd") or entry.get("ignore") else State.KEPT
