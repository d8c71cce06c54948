"""Pours what the teachers said of a slice of images into one pool, in the recipe's classes. Knows no way to merge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.merging.merge import Pool
from da_kd.merging.pairs import Doubles
from da_kd.stages.fuse.classes import ClassMap

Curve = Callable[[Doubles, IntArray], Doubles]  # (N,) scores and (N,) labels to (N,) scores

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


def pour(
    tables: Sequence[DetectionTable], maps: Sequence[ClassMap], images: slice, curves: Sequence[Curve] = ()
) -> Pool:
    """Return the kept boxes that T teachers found in a slice of images; ``image`` counts from its beginning.

    Boxes are cut to the image where its size is known; those without area are left out, and so is what an image holds
    of a teacher that could not read it. Where a teacher's classes were joined, duplicates in the joined class are
    suppressed. Of T ``curves``, if given, each makes a teacher's scores what they mean.
    """
    parts = [_cut(table, images, _size(tables, images)) for table in tables]
    found = [_mapped(part, mapping) for part, mapping in zip(parts, maps, strict=True)]
    for number, curve in enumerate(curves):
        part = found[number]
        found[number] = dataclasses.replace(part, score=curve(part.score, part.label))
    return _pool(found)


def pour_coarse(tables: Sequence[DetectionTable], maps: Sequence[ClassMap], images: slice) -> tuple[Pool, BoolArray]:
    """Return the boxes of classes that may be one of several, labels still the teachers' own.

    Returns:
        The N boxes, and (N, C) bool: of which of the recipe's classes each may be.
    """
    parts, may = [], [np.zeros((0, len(maps[0].target)), bool)]
    for table, mapping in zip(tables, maps, strict=True):
        part = _cut(table, images, _size(tables, images)) if any(mapping.coarse) else _NOTHING
        classes = mapping.may_be[part.label]
        parts.append(part.pick(np.flatnonzero(classes.any(axis=1))))
        may.append(classes[classes.any(axis=1)])
    return _pool(parts), np.concatenate(may)


@dataclass(frozen=True)
class _Part:
    """One teacher's boxes in a slice of images; columns as in a pool."""

    xyxy: Doubles
    score: Doubles
    image: IntArray
    label: IntArray

    def pick(self, rows: IntArray) -> _Part:
        """Return some of the boxes."""
        return _Part(self.xyxy[rows], self.score[rows], self.image[rows], self.label[rows])


_NOTHING = _Part(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))


def _pool(parts: Sequence[_Part]) -> Pool:
    """Return what T teachers found as one."""
    xyxy, score, image, label = (
        np.concatenate([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(_Part)
    )
    owner = np.repeat(np.arange(len(parts)), [len(part.score) for part in parts])
    return Pool(xyxy, score, image, label, owner)


def _size(tables: Sequence[DetectionTable], images: slice) -> IntArray:
    """Return (I, 2) width and height of each image, as whoever could read it says; 0 where nobody does."""
    size: IntArray = np.stack([table.size[images] for table in tables]).max(axis=0).astype(np.int64)
    return size


def _cut(table: DetectionTable, images: slice, size: IntArray) -> _Part:
    """Return one teacher's kept boxes, cut to their images, in its own classes."""
    offsets = table.offsets[images.start : images.stop + 1]
    rows = slice(int(offsets[0]), int(offsets[-1]))
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    read = read_by([table])[images, 0]
    kept = np.flatnonzero((table.state[rows] == State.KEPT) & read[image])
    xyxy, score = table.xyxy[rows][kept].astype(np.float64), table.score[rows][kept].astype(np.float64)
    edge = np.tile(size, 2)[image[kept]]
    xyxy = np.where(edge > 0, np.clip(xyxy, 0, edge), xyxy)
    solid = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    return _Part(xyxy[solid], score[solid], image[kept[solid]], table.label[rows][kept[solid]].astype(np.int64))


def _mapped(part: _Part, mapping: ClassMap) -> _Part:
    """Return one teacher's boxes in the recipe's classes."""
    stay, label = mapping.map_rows(part.xyxy, part.score, part.label, part.image)
    return dataclasses.replace(part.pick(stay), label=label)
