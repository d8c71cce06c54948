"""Scale matching: the input size at which a detector sees a target's objects as large as those it learned from.

Another magnification, lens or distance makes objects larger or smaller than any a detector was trained on, and it then
misses them or ends their boxes in the wrong place. How much larger they are is read from what the detector itself says
of both sets, so no label is needed, and it is read again at the size that follows from it. Knows pictures and boxes;
must not know how the detector was trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.boxes import FloatArray
from da_kd.data import ImageSet, spread
from da_kd.events import Job
from da_kd.teachers.batches import predict_images
from da_kd.teachers.ultralytics import UltralyticsTeacher

IMAGES = 64  # of each set; sides of objects need no more
SURE = 0.5  # score from which a box counts
FEWEST = 20  # boxes that a ratio is read from
STRIDE = 32  # input sizes are multiples of it
_KNOWN = 3  # boxes of a class at home, without which its size is not known
_EDGE = 0.01  # share of the image: a box as close to the edge may be cut off
_BATCH = 8

Sides = Mapping[str, FloatArray]  # by class, what the boxes' sides are


def sides(
    weights: Path, images: ImageSet, size: int, device: str, job: Job, options: Mapping[str, Any] | None = None
) -> Sides:
    """Return how large the objects are that a checkpoint is sure of, at some input size.

    Args:
        weights: an ultralytics checkpoint.
        images: what it looks at, 64 images of it.
        size: side of the square that an image is scaled into, in pixels.
        device: where it runs.
        job: where progress goes.
        options: of the teacher: its head, its words.

    Returns:
        By class, for each box away from the image's edges, the root of its area by the longer side of the image.
    """
    with UltralyticsTeacher(weights, {**(options or {}), "imgsz": size}).open(device, SURE, _BATCH) as predictor:
        said = predict_images(predictor, spread(images, IMAGES), "", _BATCH, job, "object scale")
    extent = said.size[said.image_index].astype(np.float32)
    gap = _EDGE * extent.max(axis=1, keepdims=True)
    whole = ((said.xyxy[:, :2] > gap) & (extent - said.xyxy[:, 2:] > gap)).all(axis=1)
    side = np.sqrt((said.xyxy[:, 2:] - said.xyxy[:, :2]).prod(axis=1)) / extent.max(axis=1)
    return {name: side[whole & (said.label == label)] for label, name in enumerate(said.vocabulary)}


def ratio_of(home: Sides, away: Sides) -> float | None:
    """Return how many times as large as at home objects are away, or None where too few were found to tell.

    The median, over all boxes away, of a box's side by the median side of its class at home: a class counts as often as
    it is seen, and another mixture of classes changes nothing.
    """
    shared = [name for name, values in home.items() if len(values) >= _KNOWN and name in away]
    logs = [np.log(away[name]) - np.log(np.median(home[name])) for name in shared]
    pooled = np.concatenate([np.zeros(0), *logs])
    return math.exp(float(np.median(pooled))) if len(pooled) >= FEWEST else None


def size_for(trained: int, ratio: float) -> int:
    """Return the input size, a multiple of 32, at which objects ``ratio`` times as large look as they were learned."""
    return max(STRIDE, STRIDE * round(trained / ratio / STRIDE))
