"""Which boxes of two sides are the same object. Pure functions of boxes; must not know whose they are."""

from __future__ import annotations

import numpy as np

from da_kd.boxes import area, iou
from da_kd.detections import BoolArray, Detections

SAME = 0.5  # least IoU of two boxes of one object


def paired(first: Detections, second: Detections) -> BoolArray:
    """Return for the (M,) boxes of ``second`` whether each has a partner of its own in ``first``.

    Partners have the same class name and an IoU of at least 0.5; the best scores of ``second`` choose first.
    """
    fits = np.where(_same_class(first, second), iou(first.xyxy, second.xyxy), 0.0)
    has = np.zeros(len(second), dtype=bool)
    for box in np.argsort(-second.score, kind="stable") if len(first) else ():
        best = int(fits[:, box].argmax())
        if fits[best, box] >= SAME:
            has[box] = True
            fits[best] = 0.0  # taken
    return has


def inside(regions: Detections, boxes: Detections) -> BoolArray:
    """Return for the (M,) ``boxes`` whether half of each or more lies in one region of its class."""
    low = np.maximum(regions.xyxy[:, None, :2], boxes.xyxy[None, :, :2])
    high = np.minimum(regions.xyxy[:, None, 2:], boxes.xyxy[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    covered = _same_class(regions, boxes) & (shared >= SAME * area(boxes.xyxy)[None, :])
    return np.asarray(covered.any(axis=0))


def _same_class(first: Detections, second: Detections) -> BoolArray:
    """Return an (N, M) mask: True where the names of the classes are equal."""
    names = [np.array([side.vocabulary[label] for label in side.label], dtype=object) for side in (first, second)]
    return np.asarray(names[0][:, None] == names[1][None, :], dtype=bool)
