"""Reads YOLO data sets: a ``data.yaml``, images, and a text file of normalised boxes beside each image.

An image without a label file has no objects; that is the format's convention. A labelled set without a single one is
refused: its labels lie elsewhere. Knows the format; must not know the recipe's classes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da_kd.data.files import read_text, rooted, walk
from da_kd.data.images import IMAGE_SUFFIXES
from da_kd.data.problems import Problems
from da_kd.data.source import Box, Source, Truth, cut, distinct, missing_split
from da_kd.detections import ImageRecord, Vocabulary
from da_kd.errors import DataError
from da_kd.files import is_there
from da_kd.plain_yaml import read_yaml

TOLERANCE = 1e-3  # how far outside 0..1 a number may lie; rounding by other tools
YAML_NAMES = ("data.yaml", "data.yml")

_USUAL_SPLITS = ("train", "val", "valid", "test")
_NO_SPLITS = {"path", "names", "nc", "download", "roboflow", "kpt_shape", "flip_idx", "license", "task", "description"}
_BOX_COLUMNS = 5
_POLYGON_COLUMNS = 7  # the class and three points


def find_yaml(path: Path) -> Path | None:
    """Return the ``data.yaml`` that ``path`` is or holds; None where there is none."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return path
    return next((path / name for name in YAML_NAMES if (path / name).is_file()), None)


def label_path(image: Path) -> Path:
    """Return where the labels of an image lie: the last folder ``images`` becomes ``labels``, the suffix ``.txt``."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def open_yolo(path: Path, split: Sequence[str] = (), *, labels: bool = True) -> Source:
    """List the images of a YOLO data set; keys count from the set's folder.

    Args:
        path: a ``data.yaml`` or the folder that holds one.
        split: which splits to take; empty means those of train, val, valid and test that it names.
        labels: offer the labels too; else no label file is ever opened.

    Raises:
        DataError: no ``data.yaml``, a mistake in it, or a split that does not exist.
    """
    config_path = find_yaml(path)
    if config_path is None:
        raise DataError(f"Expected a YOLO data set at {path}; found no data.yaml in it. Name the YAML file itself.")
    config = _read_config(config_path)
    base = _base(config, config_path)
    images = [
        image
        for name in _splits(config, split, config_path)
        for image in _images(config[name], base, name, config_path)
    ]
    if not images:
        return Source(str(config_path), base, ())
    root, keys = rooted(list(dict.fromkeys(images)), base)
    keys = tuple(dict.fromkeys(keys))
    if not labels:
        return Source(str(config_path), root, keys)
    vocabulary = _names(config.get("names"), config_path)

    def truth(records: Sequence[ImageRecord]) -> Truth:
        found = read_labels(root, records, vocabulary, str(config_path))
        _require_labels(root, keys, config_path)
        orphans = _orphans(root, keys)
        if orphans:
            found.warnings.append(f"{config_path}: {len(orphans)} label files have no image, e.g. {orphans[0]}.")
        return found

    return Source(str(config_path), root, keys, vocabulary, truth)


def _read_config(path: Path) -> Mapping[str, Any]:
    """Return the YAML's mapping."""
    try:
        config = read_yaml(read_text(path))
    except ValueError as error:
        raise DataError(f"Expected YAML in {path}; found a mistake: {error}.") from error
    if not isinstance(config, dict):
        raise DataError(f"Expected names and splits in {path} (names: [...], train: images/train); found no mapping.")
    return config


def _base(config: Mapping[str, Any], config_path: Path) -> Path:
    """Return the folder that splits count from: the key ``path``, else the YAML's own folder."""
    base = (config_path.parent / str(config.get("path") or ".")).absolute()
    if not is_there(base) or not base.is_dir():
        raise DataError(
            f"{config_path}: expected the data set's folder at {base} (its key 'path'); there is none. "
            f"Correct 'path', or remove it where the YAML lies in that folder."
        )
    return base


def _names(names: Any, config_path: Path) -> Vocabulary:
    """Return the class names, from a list or a mapping of ids 0, 1, 2, ... to names."""
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(f"{config_path}: expected 'names' to count 0, 1, 2, ...; found the ids {list(names)}.")
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{config_path}: expected 'names', a list of class names; found {names!r}. Add it.")
    odd = [name for name in names if isinstance(name, bool) or not isinstance(name, str | int | float)]
    if odd:
        raise DataError(f"{config_path}: expected class names as text; found {odd}. Put them in quotes.")
    return distinct([str(name) for name in names], str(config_path))


def split_names(path: Path) -> list[str]:
    """Return which of train, val, valid and test a data set has; see :func:`open_yolo`.

    Raises:
        DataError: no ``data.yaml``, or a mistake in it.
    """
    config_path = find_yaml(path)
    existing = _existing(_read_config(config_path)) if config_path is not None else []
    return [name for name in _USUAL_SPLITS if name in existing]


def _existing(config: Mapping[str, Any]) -> list[str]:
    return [str(k) for k, v in config.items() if k not in _NO_SPLITS and v and isinstance(v, str | list)]


def _splits(config: Mapping[str, Any], wanted: Sequence[str], config_path: Path) -> list[str]:
    """Return the splits to take, checked."""
    existing = _existing(config)
    absent = [name for name in wanted if name not in existing]
    if absent:
        raise missing_split(str(config_path), absent, existing)
    taken = list(dict.fromkeys(wanted)) or [name for name in _USUAL_SPLITS if name in existing]
    if not taken:
        raise DataError(
            f"{config_path}: expected splits such as 'train' and 'val'; found {existing}. Name them in 'split'."
        )
    return taken


def _images(value: Any, base: Path, name: str, config_path: Path) -> list[Path]:
    """Return the images of one split: a folder, a list in a text file, or several of these."""
    found: list[Path] = []
    for item in value if isinstance(value, list) else [value]:
        place = base / str(item)
        if not is_there(place) and str(item).startswith("../"):
            place = base / str(item)[3:]  # some exporters count from a folder below
        there = is_there(place)
        if there and place.is_dir():
            found += [place / key for key in walk(place, IMAGE_SUFFIXES)]
        elif there and place.is_file() and place.suffix.lower() == ".txt":
            found += _listed(place, base)
        else:
            raise DataError(
                f"{config_path}: expected the split '{name}' to be a folder or a .txt list at {base / str(item)}; "
                f"found {'another file' if there else 'nothing'} there. Correct the YAML."
            )
    return found


def _listed(path: Path, base: Path) -> list[Path]:
    """Return the images that a text file names, one a line, relative to that file or to the set's folder."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = line.strip()
        if "\0" in name:
            raise DataError(f"{path}:{number}: expected the path of an image; found {name!r}. Correct the list.")
        if name:
            beside = path.parent / name
            found.append(beside if is_there(beside) else base / name)
    return found


def _orphans(root: Path, keys: Sequence[str]) -> list[Path]:
    """Return the label files beside those of ``keys`` that belong to no image at all."""
    found: list[Path] = []
    for folder in dict.fromkeys((root / key).parent for key in keys):
        labels = label_path(folder / "any").parent
        if labels == folder or not labels.is_dir() or not folder.is_dir():
            continue
        stems = {file.stem for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES}
        found += sorted(file for file in labels.glob("*.txt") if file.stem not in {*stems, "classes"})
    return found


def _require_labels(root: Path, keys: Sequence[str], config_path: Path) -> None:
    """Refuse a set of which no image has a label file."""
    if not keys or any(label_path(root / key).exists() for key in keys):
        return
    beside = next((file for key in keys if (file := (root / key).with_suffix(".txt")).exists()), None)
    raise DataError(
        f"{config_path}: expected label files such as {label_path(root / keys[0])}; found none for {len(keys)} images"
        f"{f', but {beside} beside its image' if beside else ''}. Put label files there; where no image has an object, "
        f"one empty file is enough."
    )


def read_labels(root: Path, records: Sequence[ImageRecord], vocabulary: Vocabulary, where: str) -> Truth:
    """Read the label files of images whose sizes are known.

    Raises:
        DataError: mistakes in label files; the message lists the first ten with file and line, and counts all.
    """
    truth = Truth(vocabulary)
    problems = Problems(f"The labels of {where}", "Each row must read: class cx cy w h, all but the class in 0..1.")
    for record in records:
        truth.looked(record.key)
        path = label_path(root / record.key)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            problems.add(os.path.relpath(path, root), f"cannot be read ({error})")
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            columns = line.split()
            if columns:
                try:
                    label, box = _row(columns, len(vocabulary), record.width, record.height)
                except ValueError as error:
                    problems.add(f"{os.path.relpath(path, root)}:{number}", str(error))
                else:
                    truth.add(record.key, box, label)
    problems.raise_any()
    return truth


def _row(columns: Sequence[str], classes: int, width: int, height: int) -> tuple[int, Box]:
    """Return class id and pixel box of a row; raises ValueError with what is wrong."""
    count = len(columns)
    if count != _BOX_COLUMNS and (count < _POLYGON_COLUMNS or count % 2 == 0):
        raise ValueError(f"expected 5 columns (or a class and at least 3 points), found {count}")
    try:
        numbers = [float(column) for column in columns]
    except ValueError:
        odd = next(column for column in columns if not _is_number(column))
        raise ValueError(f"expected numbers, found '{odd}'") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("expected finite numbers, found nan or inf")
    label = int(numbers[0])
    if label != numbers[0] or not 0 <= label < classes:
        raise ValueError(f"expected a class id in 0..{classes - 1}, found {columns[0]}")
    outside = [value for value in numbers[1:] if not -TOLERANCE <= value <= 1 + TOLERANCE]
    if outside:
        raise ValueError(f"expected coordinates in 0..1, found {outside[0]:g}")
    x1, y1, x2, y2 = _corners(numbers[1:])
    box = cut((x1 * width, y1 * height, x2 * width, y2 * height), width, height)
    if box is None:
        raise ValueError("expected a box with an area inside the image, found none")
    return label, box


def _corners(numbers: Sequence[float]) -> Box:
    """Return normalised corners of ``cx cy w h``, or of the points of a polygon."""
    if len(numbers) == _BOX_COLUMNS - 1:
        cx, cy, w, h = numbers
        return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    xs, ys = numbers[0::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
