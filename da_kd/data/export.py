"""Writes detections as COCO JSON and as YOLO data sets, for other programs.

Plain files that others can read; what only da_kd knows stands under one key of its own. Must not know recipes or
stages.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from da_kd.data.coco import NAMESPACE
from da_kd.data.files import write_text
from da_kd.data.problems import Problems
from da_kd.data.source import Box, cut
from da_kd.data.yolo import label_path
from da_kd.detections import DetectionTable, State
from da_kd.errors import DataError


def coco_dict(table: DetectionTable, root: Path | None = None) -> dict[str, Any]:
    """Return the table as a COCO object; ids of images, annotations and categories all count from 1.

    Boxes of every state are in it; IGNORED ones are *crowd*. Read back, they are the same to the last bit of float32.

    Args:
        table: the detections.
        root: put before the keys to make ``file_name``; None keeps the keys.
    """
    images = [
        {
            "id": index + 1,
            "file_name": key if root is None else str(root / key),
            "width": int(table.size[index, 0]),
            "height": int(table.size[index, 1]),
            NAMESPACE: {
                "sha": table.sha[index],
                "reason": table.reason[index],
                "searched": [name for name, yes in zip(table.vocabulary, table.searched[index], strict=True) if yes],
            },
        }
        for index, key in enumerate(table.key)
    ]
    image_of = table.image_index
    return {
        "info": {"description": "Written by da_kd"},
        "images": images,
        "annotations": [_annotation(table, row, int(image_of[row])) for row in range(len(table.xyxy))],
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(table.vocabulary)],
    }


def _annotation(table: DetectionTable, row: int, image: int) -> dict[str, Any]:
    """Return one box as a COCO annotation."""
    x1, y1, x2, y2 = (float(value) for value in table.xyxy[row])
    state = State(int(table.state[row]))
    said = {name: float(value) for name, value in zip(table.teachers, table.teacher_score[row], strict=True)}
    return {
        "id": row + 1,
        "image_id": image + 1,
        "category_id": int(table.label[row]) + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": int(state is State.IGNORED),
        "score": float(table.score[row]),
        NAMESPACE: {
            "state": state.name.lower(),
            "agreement": float(table.agreement[row]),
            "protected": bool(table.protected[row]),
            "teacher_scores": {name: value for name, value in said.items() if not math.isnan(value)},
        },
    }


def write_coco(table: DetectionTable, path: Path, root: Path | None = None) -> None:
    """Write the table as a COCO JSON file (see :func:`coco_dict`), under a temporary name, then rename."""
    write_text(path, json.dumps(coco_dict(table, root), ensure_ascii=False, allow_nan=False))


def write_yolo(table: DetectionTable, root: Path, folder: Path) -> tuple[str, ...]:
    """Write a YOLO data set that can be trained from: ``data.yaml``, ``images/`` (links, else copies) and ``labels/``.

    Kept boxes only; the format has no place for others, nor for scores.

    Args:
        table: the detections; keys become the names below ``images/``.
        root: the folder the keys count from.
        folder: what to make; it must not exist, or be empty.

    Returns:
        The keys of the images that were left out, because they cannot be read or nobody looked at them (an image
        without labels would claim that nothing is on it).

    Raises:
        DataError: the folder holds something, two images would share a label file, or a kept box has no area.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"Expected a new or empty folder at {folder}; something is in it. Choose another, or remove it."
        )
    taken = [index for index in range(len(table)) if not table.reason[index] and table.searched[index].any()]
    names = _names([table.key[index] for index in taken])
    texts = _texts(table, taken)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / "images").mkdir(parents=True)
        for index, name, text in zip(taken, names, texts, strict=True):
            _link((root / table.key[index]).absolute(), temporary / name)
            label = _label_file(name)
            (temporary / label).parent.mkdir(parents=True, exist_ok=True)
            (temporary / label).write_text(text, encoding="utf-8")
        config = {"train": "images", "val": "images", "names": dict(enumerate(table.vocabulary))}
        write_text(temporary / "data.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    written = set(taken)
    return tuple(key for index, key in enumerate(table.key) if index not in written)


def _names(keys: Sequence[str]) -> list[str]:
    """Return where the images go, below the new folder; ``images/`` is not put before keys that all begin with it."""
    prefix = "" if all(key.startswith("images/") for key in keys) else "images/"
    names = [prefix + key for key in keys]
    owner: dict[Path, str] = {}
    for key, name in zip(keys, names, strict=True):
        label = _label_file(name)
        if label in owner:
            raise DataError(
                f"Expected names that differ without their suffix; found '{owner[label]}' and '{key}'. Rename one."
            )
        owner[label] = key
    return names


def _label_file(name: str) -> Path:
    """Return where readers of the format look for the labels of an image."""
    return label_path(Path(name))


def _texts(table: DetectionTable, images: Sequence[int]) -> list[str]:
    """Return the label file of each image."""
    problems = Problems("The kept boxes", "Drop them before the export.")
    texts = []
    for index in images:
        boxes = table.at(index)
        width, height = (int(value) for value in table.size[index])
        lines = []
        for xyxy, label in zip(boxes.xyxy.tolist(), boxes.label.tolist(), strict=True):
            box = cut((xyxy[0], xyxy[1], xyxy[2], xyxy[3]), width, height)
            if box is None:
                problems.add(table.key[index], f"expected a box with an area inside the image, found {xyxy}")
            else:
                lines.append(_row(label, box, width, height))
        texts.append("".join(f"{line}\n" for line in lines))
    problems.raise_any()
    return texts


def _row(label: int, box: Box, width: int, height: int) -> str:
    """Return one line of a label file."""
    x1, y1, x2, y2 = box
    numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return " ".join([str(label), *(f"{number:.12g}" for number in numbers)])


def _link(source: Path, target: Path) -> None:
    """Make ``target`` a link to ``source``, a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copy2(source, target)
