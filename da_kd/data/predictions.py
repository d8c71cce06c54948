"""Reads predictions that another program stored as COCO JSON: a list of results, or annotations that have scores.

Must not know what the predictions are for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from da_kd.data.coco import category_names, image_entries, parse_bbox, parse_score
from da_kd.data.files import read_json
from da_kd.data.problems import Problems
from da_kd.detections import Detections, Vocabulary
from da_kd.errors import DataError


@dataclass(frozen=True, eq=False)
class StoredPredictions:
    """Predictions by image name.

    Attributes:
        vocabulary: the class names of the predictions.
        found: boxes by the name the file gives an image; one with no boxes was predicted and nothing found.
    """

    vocabulary: Vocabulary
    found: Mapping[str, Detections]
    _by_part: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the names by their last part."""
        by_part: dict[str, list[str]] = defaultdict(list)
        for name in self.found:
            for part in _last(name):
                by_part[part].append(name)
        object.__setattr__(self, "_by_part", dict(by_part))

    def lookup(self, key: str) -> Detections | None:
        """Return the predictions for an image key; None where there are none for it.

        The name is the key itself, or one is the end of the other (``val/a.jpg`` and ``a.jpg``), or the name is the
        last part of the key without its suffix.

        Raises:
            DataError: several names fit equally.
        """
        if key in self.found:
            return self.found[key]
        near = dict.fromkeys(name for part in _last(key) for name in self._by_part.get(part, []))
        names = [name for name in near if _fits(name, key)]
        if len(names) > 1:
            raise DataError(
                f"Expected one stored prediction for '{key}'; found '{names[0]}' and '{names[1]}'. Rename them."
            )
        return self.found[names[0]] if names else None


def read_coco_results(path: Path, companion: Path | None = None) -> StoredPredictions:
    """Read stored predictions.

    Args:
        path: a list of ``{image_id, category_id, bbox, score}``, or a COCO object whose annotations have scores.
        companion: a COCO JSON file that tells which images and categories the ids of a list mean. Without one, a list
            must name images and classes: ``image_id`` a file name and ``category_id`` a class name.

    Returns:
        Boxes in pixels as stored. Images that ``companion`` (or the object) lists without a box are empty, not absent;
        from a list without companion only images with boxes can be known.

    Raises:
        DataError: a file is missing or wrong, or a list with numbers as ids has no companion.
    """
    content = read_json(path)
    if isinstance(content, dict):
        rows, names, categories = content.get("annotations"), _image_names(content, path), category_names(content, path)
    elif companion is not None:
        other = read_json(companion)
        rows, names = content, _image_names(other, companion)
        categories = category_names({**other, "annotations": rows}, companion)
    else:
        rows, names, categories = content, {}, {}
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"Expected a list of predictions in {path}, each with image_id, category_id, bbox and score.")
    if isinstance(content, list) and companion is None:
        names, categories = _by_name(rows, path)
    return _collect(rows, names, categories, path)


def _image_names(content: Any, path: Path) -> dict[Any, str]:
    """Return image names by id."""
    return {entry["id"]: str(entry["file_name"]).replace("\\", "/") for entry in image_entries(content, path)}


def _by_name(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[dict[Any, str], dict[Any, str]]:
    """Return the names of a list that has no companion, by themselves."""
    for row in rows:
        if not isinstance(row.get("image_id"), str) or not isinstance(row.get("category_id"), str):
            raise DataError(
                f"{path}: expected a COCO JSON file beside it that tells what image_id {row.get('image_id')!r} and "
                f"category_id {row.get('category_id')!r} mean; none was given. Name one."
            )
    images = {row["image_id"]: row["image_id"].replace("\\", "/") for row in rows}
    return images, {name: name for name in sorted({row["category_id"] for row in rows})}


def _collect(
    rows: Iterable[Mapping[str, Any]], names: Mapping[Any, str], categories: Mapping[Any, str], path: Path
) -> StoredPredictions:
    """Return the predictions by image name."""
    label_of = {number: index for index, number in enumerate(categories)}
    name_of = {**{name: name for name in names.values()}, **names}  # an image may be named by its file, too
    boxes: dict[str, list[tuple[float, ...]]] = {name: [] for name in names.values()}
    problems = Problems(f"The predictions of {path}", "Correct the file, or store them again.")
    for index, row in enumerate(rows):
        try:
            name, label = name_of[row.get("image_id")], label_of[row.get("category_id")]
            x, y, w, h = parse_bbox(row.get("bbox"))
            boxes[name].append((x, y, x + w, y + h, parse_score(row.get("score")), label))
        except (KeyError, TypeError):
            known = f"image_id {row.get('image_id')!r} and category_id {row.get('category_id')!r}"
            problems.add(f"prediction {index}", f"expected ids that the images and categories have, found {known}")
        except ValueError as error:
            problems.add(f"prediction {index}", str(error))
    problems.raise_any()
    vocabulary = tuple(categories.values())
    return StoredPredictions(vocabulary, {name: _detections(vocabulary, found) for name, found in boxes.items()})


def _detections(vocabulary: Vocabulary, rows: Sequence[tuple[float, ...]]) -> Detections:
    """Return rows of ``x1 y1 x2 y2 score label`` as detections."""
    array = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(vocabulary, array[:, :4], array[:, 4], array[:, 5])  # type: ignore[arg-type]


def _last(name: str) -> tuple[str, str]:
    """Return the last part of a name, as written and without suffix; in ``x_jpg.rf.ab`` the last dot may begin none."""
    path = PurePosixPath(name)
    return path.name, path.stem


def _fits(name: str, key: str) -> bool:
    """Say whether a stored name means the image ``key``."""
    return f"/{key}".endswith(f"/{name}") or f"/{name}".endswith(f"/{key}") or name == PurePosixPath(key).stem
