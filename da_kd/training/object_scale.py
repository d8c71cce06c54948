"""Scale matching: the input size at which a detector sees a target's objects as large as those it learned from.

Another magnification, lens or distance makes objects larger or smaller than any a detector was trained on, and it then
misses them or ends their boxes in the wrong place. How much larger they are is read from what the detector itself says
of both sets, so no label is needed, and it is read again at the size that follows from it. Knows pictures and boxes;
must not know how the detector was trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from da_kd.boxes import FloatArray
from da_kd.data import ImageSet, read_image, spread
from da_kd.detections import Detections
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.teachers import Failure, Image
from da_kd.teachers.ultralytics import UltralyticsTeacher

IMAGES = 64  # of each set; sides of objects need no more
SURE = 0.5  # score from which a box counts
FEWEST = 20  # boxes that a ratio is read from
STRIDE = 32  # input sizes are multiples of it
_EDGE = 0.01  # share of the image: a box as close to the edge may be cut off
_BATCH = 8

Sides = Mapping[str, FloatArray]  # by class, what the boxes' sides are


def sides(weights: Path, images: ImageSet, size: int, device: str, job: Job) -> Sides:
    """Return how large the objects are that a checkpoint is sure of, at some input size.

    Args:
        weights: an ultralytics checkpoint.
        images: what it looks at, 64 images of it.
        size: side of the square that an image is scaled into, in pixels.
        device: where it runs.
        job: where progress goes.

    Returns:
        By class, for each box away from the image's edges, the root of its area by the longer side of the image.
    """
    found: dict[str, list[float]] = {}
    with UltralyticsTeacher(weights, {"imgsz": size}).open(device, SURE, _BATCH) as predictor:
        for batch in job.track(list(_batches(spread(images, IMAGES))), "object scale", unit="batches"):
            for image, said in zip(batch, predictor.predict(batch), strict=True):
                if not isinstance(said, Failure):
                    for name, side in _whole(said, image.pixels.shape[1], image.pixels.shape[0]):
                        found.setdefault(name, []).append(side)
    return {name: np.array(values, np.float32) for name, values in found.items()}


def ratio_of(home: Sides, away: Sides) -> float | None:
    """Return how many times as large as at home objects are away, or None where too few were found to tell.

    The median, over all boxes away, of a box's side by the median side of its class at home: a class counts as often as
    it is seen, and another mixture of classes changes nothing.
    """
    shared = [name for name, values in home.items() if len(values) >= 3 and name in away]  # noqa: PLR2004
    logs = [np.log(away[name]) - np.log(np.median(home[name])) for name in shared]
    pooled = np.concatenate([np.zeros(0), *logs])
    return math.exp(float(np.median(pooled))) if len(pooled) >= FEWEST else None


def size_for(trained: int, ratio: float) -> int:
    """Return the input size, a multiple of 32, at which objects ``ratio`` times as large look as they were learned."""
    return max(STRIDE, STRIDE * round(trained / ratio / STRIDE))


def _whole(said: Detections, width: int, height: int) -> Iterator[tuple[str, float]]:
    """Yield the class and the relative side of each box that no edge of the image cuts."""
    gap = _EDGE * max(width, height)
    for (left, top, right, bottom), label in zip(said.xyxy.tolist(), said.label.tolist(), strict=True):
        if min(left, top, width - right, height - bottom) > gap:
            yield said.vocabulary[label], math.sqrt((right - left) * (bottom - top)) / max(width, height)


def _batches(images: ImageSet) -> Iterator[list[Image]]:
    """Yield the readable pictures of a set, some at a time."""
    batch: list[Image] = []
    for index in np.flatnonzero(images.table.ok):
        try:
            batch.append(Image(images.table.key[index], read_image(images.path(int(index)))))
        except DataError:
            continue  # *predict* counts and lists it
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
