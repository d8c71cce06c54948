"""Average precision as everybody counts it, and what is told beside it: intervals, types of errors, curves.

Knows boxes, classes and scores; must not know which model made the boxes, or where images, runs and reports lie.
Figures are fractions, 0 to 1, and equal to the last digit what plain pycocotools prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, Vocabulary
from da_kd.errors import InputError
from da_kd.stages.evaluate import errors, resampling
from da_kd.stages.evaluate.coco_files import read_truth_and_predictions
from da_kd.stages.evaluate.matches import SIZES, Doubles, Matches, match
from da_kd.stages.evaluate.precision import precision_curves, total_recall
from da_kd.stages.evaluate.sides import Sides, sides_of_coco, sides_of_tables

__all__ = [
    "FIGURES",
    "Evaluation",
    "Metrics",
    "evaluate_coco",
    "evaluate_tables",
    "gap_recovered",
    "read_truth_and_predictions",
    "score_coco",
    "score_tables",
    "undefined",
]

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
_AT_50_AND_75 = (0, 5)  # positions in the list of IoU thresholds
_DIGITS = 4  # of a curve


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
        intervals: of ``AP`` and ``AP50``, the ends of the 95 % interval over images, or None; may be empty.
        errors: by type (see :func:`~da_kd.stages.evaluate.errors.error_types`), ``count`` and ``AP50``, what it costs.
        confusion: a triple per pair of classes that occurs: the object's class, what it is taken for, how often; None
            stands for nothing (see :func:`~da_kd.stages.evaluate.errors.confusion`).
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR100: float | None
    per_class: Mapping[str, float | None]
    intervals: Mapping[str, Sequence[float] | None] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: Sequence[Sequence[Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object, undefined ones as null; what was not asked for is left out."""
        tree = {**{name: getattr(self, name) for name in FIGURES}, "per_class": dict(self.per_class)}
        more = {
            "intervals": {name: ends and list(ends) for name, ends in self.intervals.items()},
            "errors": {name: dict(error) for name, error in self.errors.items()},
            "confusion": [list(triple) for triple in self.confusion],
        }
        return tree | {name: value for name, value in more.items() if value}


@dataclass(frozen=True)
class Evaluation:
    """Figures and what they are made of.

    Attributes:
        metrics: the figures, with intervals, types of errors and confusion.
        curves: at IoU 0.50, precision at the recalls 0.00, 0.01, ... 1.00, by class name; undefined classes are absent.
        resamples: AP and AP50 in every resample, None where there are too few images.
    """

    metrics: Metrics
    curves: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    resamples: resampling.Resamples | None = None

    def detail(self) -> dict[str, Any]:
        """Return curves and resamples as a JSON object."""
        drawn: dict[str, Any] = {"seed": resampling.SEED}
        if self.resamples is not None:
            drawn |= {name: _listed(getattr(self.resamples, name)) for name in ("AP", "AP50")}
        return {"curves": {name: list(curve) for name, curve in self.curves.items()}, "resamples": drawn}


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
    return _figures(*_matched(sides_of_coco(truth, predictions), max_boxes), max_boxes)


def evaluate_coco(
    truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], max_boxes: int = 100
) -> Evaluation:
    """Score as :func:`score_coco`, and tell more; see :class:`Evaluation`."""
    return _evaluation(*_matched(sides_of_coco(truth, predictions), max_boxes), max_boxes)


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
    return _figures(*_matched(sides_of_tables(truth, predictions), max_boxes), max_boxes)


def evaluate_tables(truth: DetectionTable, predictions: DetectionTable, max_boxes: int = 100) -> Evaluation:
    """Score as :func:`score_tables`, and tell more; see :class:`Evaluation`."""
    return _evaluation(*_matched(sides_of_tables(truth, predictions), max_boxes), max_boxes)


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


def _matched(sides: Sides, max_boxes: int) -> tuple[Matches, tuple[str, ...]]:
    if max_boxes < 1:
        raise InputError(f"Expected max_boxes to be at least 1; found {max_boxes}.")
    return match(sides.truth, sides.found, sides.images, len(sides.classes), max_boxes), sides.classes


def _figures(matches: Matches, classes: Sequence[str], max_boxes: int) -> Metrics:
    return _metrics(precision_curves(matches), total_recall(matches, min(100, max_boxes)), classes)


def _metrics(precision: Doubles, recall: Doubles, classes: Sequence[str]) -> Metrics:
    """Return the figures of (10, 101, C, 4) precision and (10, C) recall."""
    every, small, medium, large = (_mean(precision[..., size]) for size in range(len(SIZES)))
    at_50, at_75 = (_mean(precision[position, ..., 0]) for position in _AT_50_AND_75)
    by_class = {name: _mean(precision[:, :, label, 0]) for label, name in enumerate(classes)}
    return Metrics(every, at_50, at_75, small, medium, large, _mean(recall), by_class)


def _evaluation(matches: Matches, classes: Sequence[str], max_boxes: int) -> Evaluation:
    precision = precision_curves(matches)
    metrics = _metrics(precision, total_recall(matches, min(100, max_boxes)), classes)
    curves = {
        name: _listed(curve) for name, curve in zip(classes, precision[0, :, :, 0].T, strict=True) if curve[0] >= 0
    }
    resamples = resampling.resample(matches)
    name_of = dict(enumerate(classes)) | {-1: None}
    more = replace(
        metrics,
        intervals=_intervals(metrics, resamples),
        errors={name: {"count": one.count, "AP50": one.cost} for name, one in errors.error_types(matches).items()},
        confusion=[(name_of[a], name_of[b], count) for (a, b), count in errors.confusion(matches).items()],
    )
    return Evaluation(more, curves, resamples)


def _intervals(metrics: Metrics, resamples: resampling.Resamples | None) -> dict[str, tuple[float, float] | None]:
    """Return the intervals of AP and AP50, within 0 to 1."""
    found: dict[str, tuple[float, float] | None] = {}
    for name in ("AP", "AP50"):
        ends = resampling.interval(getattr(metrics, name), getattr(resamples, name)) if resamples else None
        found[name] = (max(0.0, ends[0]), min(1.0, ends[1])) if ends else None
    return found


def _listed(values: Doubles) -> list[float | None]:
    """Return rounded numbers, None for those that are none."""
    return [value if np.isfinite(value) else None for value in values.round(_DIGITS).tolist()]


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Return the mean of the defined values (pycocotools marks the others with -1), or None."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else None
