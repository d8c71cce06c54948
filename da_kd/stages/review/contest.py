"""Is the new one better here? Two models on the same audited images, without a labelled test set.

Both are compared with the same truth on the same images, so the intervals are of the difference: whole images are drawn
again, for both models at once. Pure functions of counts; must not know which models they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.errors import DataError
from da_kd.stages.review.audit import BOOTSTRAPS, Audited
from da_kd.stages.review.estimates import CONFIDENCE, percentiles, resample

Doubles = npt.NDArray[np.float64]

FIGURES = ("precision", "recall", "F1", "AP50")


def keep_above(audited: Audited, threshold: Mapping[str, float]) -> Audited:
    """Return the same boxes, those kept that score at least the threshold of their class."""
    least = np.array([threshold[name] for name in audited.vocabulary], np.float32)
    return dataclasses.replace(audited, kept=audited.score >= least[audited.label])


def contest(first: Audited, second: Audited, times: int = BOOTSTRAPS, seed: int = 0) -> dict[str, Any]:
    """Compare two models on the same audited images.

    Precision, recall and F1 are of the boxes each model keeps, AP50 of all its boxes; ``all`` takes boxes of all
    classes together, but AP50 the mean over classes that have objects. The bootstrap takes the audited images for a
    sample of very many, so its intervals are a little too wide where a good part of all images was audited. With few
    images they are a little too narrow: in 300 simulated audits of 60 images they covered the true difference in 93 %,
    that of AP50 in 90 %.

    Args:
        first: the model that is there.
        second: the model that might take its place.
        times: how many bootstraps.
        seed: of the bootstrap.

    Returns:
        ``images_audited``, ``confidence``, and under ``classes`` by name and under ``all``, by figure: ``first``,
        ``second``, ``difference`` (second less first: ``value``, ``low``, ``high``) and ``better`` (``first``,
        ``second`` or ``not decided``).

    Raises:
        DataError: the two were not compared with the same images, or there is none.
    """
    if not len(first) or len(first) != len(second) or not np.array_equal(first.probability, second.probability):
        raise DataError(
            f"Expected two models on the same audited images; found {len(first)} and {len(second)} images. "
            "Predict with both on all audited images first."
        )
    base = 1 / first.probability
    weight = np.concatenate([base[None], resample(len(first), times, seed) * base])
    one, other = _figures(first, weight), _figures(second, weight)

    def told(at: int) -> dict[str, Any]:
        return {figure: _told(one[figure][:, at], other[figure][:, at], len(first)) for figure in FIGURES}

    classes = {name: told(at) for at, name in enumerate(first.vocabulary)}
    return {"images_audited": len(first), "confidence": CONFIDENCE, "classes": classes, "all": told(len(classes))}


def _figures(audited: Audited, weight: Doubles) -> dict[str, Doubles]:
    """Return each figure as (W, C + 1), under each of (W, n) weights of the images."""
    classes = len(audited.vocabulary)
    kept = np.zeros((2, classes, len(audited)))
    for row, use in enumerate((audited.kept, audited.kept & audited.right)):
        np.add.at(kept[row], (audited.label[use], audited.image[use]), 1.0)
    boxes, right = (_and_all(weight @ part.T) for part in kept)
    objects = weight @ audited.objects.astype(np.float64)
    areas = np.stack([_area(audited, label, weight, objects[:, label]) for label in range(classes)], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = (objects > 0).sum(axis=1)
        mean_area = np.where(known > 0, np.nansum(areas, axis=1) / known, np.nan)
        objects = _and_all(objects)
        return {
            "precision": right / boxes,
            "recall": right / objects,
            "F1": 2 * right / (boxes + objects),
            "AP50": np.concatenate([areas, mean_area[:, None]], axis=1),
        }


def _and_all(by_class: Doubles) -> Doubles:
    return np.concatenate([by_class, by_class.sum(axis=1, keepdims=True)], axis=1)


def _area(audited: Audited, label: int, weight: Doubles, objects: Doubles) -> Doubles:
    """Return (W,) the area under precision over recall, precision made to fall; NaN where there is no object."""
    own = np.flatnonzero(audited.label == label)
    own = own[np.argsort(-audited.score[own], kind="stable")]
    counts = weight[:, audited.image[own]]
    right = counts * audited.right[own]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(right.cumsum(axis=1) / counts.cumsum(axis=1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        area: Doubles = np.where(objects > 0, (right * precision).sum(axis=1) / objects, np.nan)
    return area


def _told(first: Doubles, second: Doubles, images: int) -> dict[str, Any]:
    """Return one figure of both models; the first row is of the audit itself, the others of the bootstrap."""
    difference = second - first
    low, high = percentiles(difference[1:, None], images)
    better = "second" if low[0] > 0 else "first" if high[0] < 0 else "not decided"
    interval = {"value": _plain(difference[0]), "low": _plain(low[0]), "high": _plain(high[0])}
    return {"first": _plain(first[0]), "second": _plain(second[0]), "difference": interval, "better": better}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
