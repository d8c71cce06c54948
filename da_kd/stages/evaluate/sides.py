"""Ground truth and predictions as columns, from COCO's JSON or from tables; must not know how they are scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.detections import DetectionTable, State, Vocabulary
from da_kd.errors import DataError
from da_kd.stages.evaluate.coco_files import check_coco
from da_kd.stages.evaluate.matches import Doubles, Found, Truth


@dataclass(frozen=True)
class Sides:
    """What is to be scored: objects, found boxes, the number of images they count into, and the names of classes."""

    truth: Truth
    found: Found
    images: int
    classes: tuple[str, ...]


def sides_of_coco(truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> Sides:
    """Return the sides of a COCO object and a list of results; see :func:`~da_kd.stages.evaluate.metrics.score_coco`.

    Raises:
        DataError: an entry lacks a key or has a wrong value, or an id is not in the truth.
    """
    check_coco(truth, predictions)
    images = _numbers([image["id"] for image in truth["images"]])
    categories = _numbers([category["id"] for category in truth["categories"]])
    objects = truth["annotations"]
    xywh = _boxes(objects)
    given = [item.get("area") for item in objects]
    areas = [w * h if area is None else area for area, (_, _, w, h) in zip(given, xywh.tolist(), strict=True)]
    known = Truth(
        _column(objects, "image_id", images),
        _column(objects, "category_id", categories),
        xywh,
        np.array(areas, np.float64),
        np.array([bool(item.get("iscrowd")) for item in objects], bool),
    )
    found = Found(
        _column(predictions, "image_id", images),
        _column(predictions, "category_id", categories),
        _boxes(predictions),
        np.array([item["score"] for item in predictions], np.float64),
    )
    names = _distinct({category["id"]: str(category["name"]) for category in truth["categories"]})
    return Sides(known, found, len(images), tuple(names[key] for key in categories))


def sides_of_tables(truth: DetectionTable, predictions: DetectionTable) -> Sides:
    """Return the sides of two tables; see :func:`~da_kd.stages.evaluate.metrics.score_tables`.

    Raises:
        DataError: an image of the truth is missing in the predictions, or no class name is shared.
    """
    rows = {key: row for row, key in enumerate(truth.key)}
    missing = sorted(set(rows) - set(predictions.key))
    if missing:
        raise DataError(
            f"Expected predictions for all {len(rows)} images of the ground truth; {len(missing)} are missing, "
            f"e.g. '{missing[0]}'; predict on them first (an image without boxes counts, an absent one does not)."
        )
    label_of = _labels_by_name(predictions.vocabulary, truth.vocabulary)
    row_of = np.array([rows.get(key, -1) for key in predictions.key], dtype=np.int64)
    row, label = row_of[predictions.image_index], label_of[predictions.label]
    use = (predictions.state == State.KEPT) & (row >= 0) & (label >= 0)
    use[use] = truth.searched[row[use], label[use]]
    found = Found(row[use], label[use], _xywh(predictions.xyxy[use]), predictions.score[use].astype(np.float64))
    use = (truth.state != State.DROPPED) & truth.searched[truth.image_index, truth.label]
    xywh = _xywh(truth.xyxy[use])
    crowd = truth.state[use] != State.KEPT
    label = truth.label[use].astype(np.int64)
    known = Truth(truth.image_index[use], label, xywh, xywh[:, 2] * xywh[:, 3], crowd)
    return Sides(known, found, len(truth), truth.vocabulary)


def _numbers(ids: Sequence[Any]) -> dict[Any, int]:
    """Number ids 0, 1, ... in their order, on which the ranking of equal scores depends."""
    return {item: number for number, item in enumerate(sorted(ids, key=lambda item: (isinstance(item, str), item)))}


def _distinct(names: Mapping[Any, str]) -> dict[Any, str]:
    """Return the names, with their id behind them where two are the same, so that none is lost."""
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _column(items: Sequence[Mapping[str, Any]], key: str, numbers: Mapping[Any, int]) -> IntArray:
    """Return the numbers of the ids under ``key``."""
    return np.array([numbers[item[key]] for item in items], np.int64)


def _boxes(items: Sequence[Mapping[str, Any]]) -> Doubles:
    """Return (N, 4) boxes."""
    return np.array([item["bbox"] for item in items], np.float64).reshape(-1, 4)


def _labels_by_name(names: Vocabulary, wanted: Vocabulary) -> npt.NDArray[np.int64]:
    """Return for every label of ``names`` the label of the same name in ``wanted``, -1 where there is none."""
    position = {name: label for label, name in enumerate(wanted)}
    if names and wanted and not set(names) & set(wanted):
        raise DataError(
            f"Expected predictions of the classes {list(wanted)}; found only {list(names)}; map the class names."
        )
    return np.array([position.get(name, -1) for name in names], dtype=np.int64)


def _xywh(xyxy: npt.NDArray[np.floating]) -> Doubles:
    """Return boxes as left, top, width and height; widths are taken in float64, so that no digit is lost."""
    boxes = xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
