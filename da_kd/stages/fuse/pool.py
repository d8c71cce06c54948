"""Pours what the teachers said of a slice of images into one pool, in the recipe's classes. Knows no way to merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.merging.merge import Pool
from da_kd.stages.fuse.classes import ClassMap

JOIN = 0.7  # overlap from which two boxes of one teacher are one object after its classes were joined
_SLICE = 200_000  # boxes that are merged at a time, so that memory does not grow with the number of images


def read_by(tables: Sequence[DetectionTable]) -> BoolArray:
    """Return (I, T) bool: which of the images each teacher could read."""
    return np.stack([table.searched.any(axis=1) for table in tables], axis=1)


def slices(tables: Sequence[DetectionTable]) -> Iterator[slice]:
    """Yield slices of the images, in order, with about as many boxes in each; one image is never cut."""
    images = len(tables[0])
    boxes: IntArray = np.stack([table.offsets[1:] for table in tables]).sum(axis=0)
    total = int(boxes[-1]) if images else 0
    ends = np.unique([*np.searchsorted(boxes, np.arange(_SLICE, total, _SLICE)), images])
    begin = 0
    for end in ends.tolist():
        if end > begin:
            yield slice(begin, end)
        begin = end


def pour(tables: Sequence[DetectionTable], maps: Sequence[ClassMap], images: slice) -> Pool:
    """Return the kept boxes that T teachers found in a slice of images; ``image`` counts from its beginning.

    Boxes are cut to the image where its size is known; those without area are left out, and so is what an image holds
    of a teacher that could not read it. Where a teacher's classes were joined, duplicates in the joined class are
    suppressed.
    """
    parts = [_one(table, item, images, _size(tables, images)) for table, item in zip(tables, maps, strict=True)]
    owner = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    xyxy, score, image, label = (np.concatenate([part[i] for part in parts]) for i in range(4))
    return Pool(xyxy, score, image, label, owner)


def _size(tables: Sequence[DetectionTable], images: slice) -> IntArray:
    """Return (I, 2) width and height of each image, as whoever could read it says; 0 where nobody does."""
    size: IntArray = np.stack([table.size[images] for table in tables]).max(axis=0).astype(np.int64)
    return size


def _one(
    table: DetectionTable, mapping: ClassMap, images: slice, size: IntArray
) -> tuple[np.ndarray, np.ndarray, IntArray, IntArray]:
    """Return one teacher's boxes, scores, images and labels."""
    offsets = table.offsets[images.start : images.stop + 1]
    rows = slice(int(offsets[0]), int(offsets[-1]))
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    read = read_by([table])[images, 0]
    kept = np.flatnonzero((table.state[rows] == State.KEPT) & read[image])
    xyxy, score = table.xyxy[rows][kept].astype(np.float64), table.score[rows][kept].astype(np.float64)
    edge = np.tile(size, 2)[image[kept]]
    xyxy = np.where(edge > 0, np.clip(xyxy, 0, edge), xyxy)
    solid = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    xyxy, score, kept = xyxy[solid], score[solid], kept[solid]
    stay, label = mapping.map_rows(xyxy, score, table.label[rows][kept], image[kept], JOIN)
    return xyxy[stay], score[stay], image[kept][stay], label
