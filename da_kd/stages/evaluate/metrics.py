"""Average precision as everybody counts it: the one room for pycocotools.

Knows boxes, classes and scores; must not know which model made the boxes, or where images, runs and reports lie.
Figures are fractions, 0 to 1, and equal to the last digit what plain pycocotools prints.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, State, Vocabulary
from da_kd.errors import DataError, InputError
from da_kd.stages.evaluate.coco_files import check_coco, read_truth_and_predictions

__all__ = ["Metrics", "gap_recovered", "read_truth_and_predictions", "score_coco", "score_tables", "undefined"]

_AREAS = {"AP": 0, "APs": 1, "APm": 2, "APl": 3}  # positions in pycocotools' list of area ranges
_THRESHOLDS = {"AP50": 0, "AP75": 5}  # positions in its list of IoU thresholds 0.50, 0.55, ... 0.95


@dataclass(frozen=True)
class Metrics:
    """What a model reaches on labelled images; fractions 0 to 1, None where undefined (nothing to find).

    Attributes:
        AP: average precision, the mean over IoU thresholds 0.50 to 0.95 and over classes.
        AP50: the same at IoU 0.50 alone.
        AP75: the same at IoU 0.75 alone.
        APs: AP of objects under 32 x 32 pixels.
        APm: AP of objects from 32 x 32 to 96 x 96 pixels.
        APl: AP of objects over 96 x 96 pixels.
        AR100: average recall with at most 100 boxes per image and class.
        per_class: AP of every class by name.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR100: float | None
    per_class: Mapping[str, float | None]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object, undefined ones as null."""
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
        return {**{name: getattr(self, name) for name in names}, "per_class": dict(self.per_class)}


def undefined(classes: Vocabulary) -> Metrics:
    """Return the metrics of a model that gave no answer at all."""
    return Metrics(None, None, None, None, None, None, None, dict.fromkeys(classes))


def score_coco(truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], max_boxes: int = 100) -> Metrics:
    """Score results against a COCO ground truth; neither is changed.

    Args:
        truth: a COCO object; a missing ``area`` is taken from the box, a missing ``iscrowd`` is 0, and annotation ids
            may be missing, repeated or 0.
        predictions: results with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels) and ``score``.
        max_boxes: how many boxes per image and class count, the best scores first; at least 1. AR100 counts at most 100
            of them.

    Raises:
        InputError: ``max_boxes`` is below 1.
        DataError: an entry lacks a key or has a wrong value, or an id is not in the truth.
    """
    check_coco(truth, predictions)
    if max_boxes < 1:
        raise InputError(f"Expected max_boxes to be at least 1; found {max_boxes}.")
    images = _numbers([image["id"] for image in truth["images"]])
    categories = _numbers([category["id"] for category in truth["categories"]])
    objects = [_annotation(item, number, images, categories) for number, item in enumerate(truth["annotations"], 1)]
    results = [
        {**_annotation({**item, "area": None, "iscrowd": 0}, number, images, categories), "score": item["score"]}
        for number, item in enumerate(predictions, 1)
    ]
    names = _distinct({category["id"]: str(category["name"]) for category in truth["categories"]})
    return _evaluate(len(images), {categories[i]: name for i, name in names.items()}, objects, results, max_boxes)


def score_tables(truth: DetectionTable, predictions: DetectionTable, max_boxes: int = 100) -> Metrics:
    """Score a table of predictions against a table of ground truth; images match by key, classes by name.

    Kept boxes of the truth are to be found. Ignored and uncertain ones neither reward nor punish: a prediction that
    lies in one is left out. A class that was not searched in an image is not evaluated there. Of the predictions the
    kept boxes count; images and classes that only the predictions have are left out. A prediction's ``score`` ranks it.

    Args:
        truth: the labelled images; its vocabulary names the classes of the result.
        predictions: a table that has every image of ``truth``, be it with no boxes.
        max_boxes: as in :func:`score_coco`.

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
    found = _annotations(row[use], label[use], predictions.xyxy[use])
    for item, score in zip(found, predictions.score[use].tolist(), strict=True):
        item["score"] = score
    use = (truth.state != State.DROPPED) & truth.searched[truth.image_index, truth.label]
    objects = _annotations(truth.image_index[use], truth.label[use], truth.xyxy[use])
    for item, state in zip(objects, truth.state[use], strict=True):
        item["iscrowd"] = int(state != State.KEPT)
    return _evaluate(len(truth), dict(enumerate(truth.vocabulary)), objects, found, max_boxes)


def gap_recovered(source_only: Metrics | None, model: Metrics | None, oracle: Metrics | None) -> float | None:
    """Return which share of the AP between the source-only model and the oracle a model won.

    0 is no better than source-only, 1 as good as the oracle; it may lie outside of both. None where a figure is missing
    or the oracle is not above the source-only model, so that there is no gap.
    """
    figures = [metrics.AP if metrics else None for metrics in (source_only, model, oracle)]
    low, own, high = figures
    if low is None or own is None or high is None or high <= low:
        return None
    return (own - low) / (high - low)


def _numbers(ids: Sequence[Any]) -> dict[Any, int]:
    """Number ids 0, 1, ... in their order, on which pycocotools' ranking of equal scores depends."""
    return {item: number for number, item in enumerate(sorted(ids, key=lambda item: (isinstance(item, str), item)))}


def _distinct(names: Mapping[Any, str]) -> dict[Any, str]:
    """Return the names, with their id behind them where two are the same, so that none is lost."""
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _annotation(
    item: Mapping[str, Any], number: int, images: Mapping[Any, int], categories: Mapping[Any, int]
) -> dict[str, Any]:
    """Return what pycocotools reads of an annotation, with an id from 1 (it takes id 0 for 'no match')."""
    area = item.get("area")
    return {
        "id": number,
        "image_id": images[item["image_id"]],
        "category_id": categories[item["category_id"]],
        "bbox": list(item["bbox"]),
        "area": item["bbox"][2] * item["bbox"][3] if area is None else area,
        "iscrowd": int(item.get("iscrowd") or 0),
    }


def _labels_by_name(names: Vocabulary, wanted: Vocabulary) -> npt.NDArray[np.int64]:
    """Return for every label of ``names`` the label of the same name in ``wanted``, -1 where there is none."""
    position = {name: label for label, name in enumerate(wanted)}
    if names and wanted and not set(names) & set(wanted):
        raise DataError(
            f"Expected predictions of the classes {list(wanted)}; found only {list(names)}; map the class names."
        )
    return np.array([position.get(name, -1) for name in names], dtype=np.int64)


def _annotations(
    row: npt.NDArray[np.int64], label: npt.NDArray[np.integer], xyxy: npt.NDArray[np.floating]
) -> list[dict[str, Any]]:
    """Return boxes as pycocotools' annotations; widths are taken in float64, so that no digit is lost."""
    xywh = xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    columns = zip(row.tolist(), label.tolist(), xywh.tolist(), strict=True)
    return [
        {"id": number, "image_id": image, "category_id": kind, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, kind, box) in enumerate(columns, 1)
    ]


def _evaluate(
    images: int, names: Mapping[int, str], objects: list[dict[str, Any]], found: list[dict[str, Any]], max_boxes: int
) -> Metrics:
    """Run pycocotools on checked annotations; image ids are 0 to ``images`` - 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    header = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": i, "name": n} for i, n in names.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it talks
        sides = [COCO(), COCO()]
        for side, annotations in zip(sides, (objects, found), strict=True):
            side.dataset = {**header, "annotations": annotations}
            side.createIndex()
        scoring = COCOeval(*sides, "bbox")
        scoring.params.maxDets = sorted({min(100, max_boxes), max_boxes})
        scoring.evaluate()
        scoring.accumulate()
    precision = scoring.eval["precision"][..., -1]  # IoU threshold, recall, class, area
    recall = scoring.eval["recall"][:, :, 0, 0]  # IoU threshold, class
    figures = {name: _mean(precision[..., area]) for name, area in _AREAS.items()}
    figures |= {name: _mean(precision[position, ..., 0]) for name, position in _THRESHOLDS.items()}
    classes = {names[kind]: _mean(precision[:, :, k, 0]) for k, kind in enumerate(scoring.params.catIds)}
    return Metrics(**figures, AR100=_mean(recall), per_class={name: classes[name] for name in names.values()})


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Return the mean of the defined values (pycocotools marks the others with -1), or None."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else None
