"""Lets regions go through ultralytics' augmentations as images do; imported only where a training runs.

What travels as a box's class is the number of its row (:class:`~da_kd.training.signals.Rows`), so that the library's
own concatenating and filtering carries every column. A region is a row like a box, but where the library drops a box of
which too little is left, a region must stay as long as anything of it is seen; and CutMix must not take a region for an
object. Rotated, sheared or warped, a region becomes the rectangle around it: rather too much ignored than too little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ultralytics.data.augment import BaseTransform, Compose, CutMix, RandomPerspective
from ultralytics.utils.instance import Instances

from da_kd.boxes import Floats, IntArray
from da_kd.training.signals import Kind, Rows

Regions = tuple[Any, Any]  # (N, 1) row numbers; the library's Instances


def follow(transforms: Compose, rows: Rows) -> Compose:
    """Return the library's augmentations such that regions follow them, ended by :class:`Unpacked`."""
    transforms.transforms = [_following(transform, rows) for transform in transforms.transforms]
    transforms.append(Unpacked(rows))
    return transforms


def _following(transform: Any, rows: Rows) -> Any:
    """Return a transform, and all inside it, with those replaced that would lose regions; twice is as good as once."""
    if isinstance(transform, Compose):
        transform.transforms = [_following(inner, rows) for inner in transform.transforms]
    elif type(transform) is RandomPerspective:
        transform = _as(_Perspective, transform, rows)
    elif type(transform) is CutMix:
        transform = _as(_CutMix, transform, rows)
        transform.pre_transform = Compose([transform.pre_transform, _Aside(rows)])
    if getattr(transform, "pre_transform", None) is not None:
        _following(transform.pre_transform, rows)
    return transform


def _as(kind: type[Any], transform: Any, rows: Rows) -> Any:
    """Return a transform with the same settings as one of our kind."""
    own: Any = object.__new__(kind)
    own.__dict__.update(vars(transform), rows=rows)
    return own


class _Aside(BaseTransform):  # type: ignore[misc]
    """Takes the regions out of the labels and keeps them beside, in ``labels['aside']``."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        row, instances = labels["cls"], labels["instances"]
        region = self.rows.kind[row[:, 0].astype(np.int64)] != Kind.OBJECT
        labels["aside"] = (row[region], instances[region])
        labels["cls"], labels["instances"] = row[~region], instances[~region]
        return labels


def _joined(labels: dict[str, Any], *regions: Regions) -> dict[str, Any]:
    """Return the labels with the regions among them, behind the objects."""
    labels["cls"] = np.concatenate([labels["cls"], *(row for row, _ in regions)])
    labels["instances"] = Instances.concatenate([labels["instances"], *(part for _, part in regions)])
    return labels


class _Perspective(RandomPerspective):  # type: ignore[misc]
    """Moves, scales and crops; a region stays as long as anything of it is seen."""

    rows: Rows

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        labels = _Aside(self.rows)(labels)
        row, regions = labels.pop("aside")
        labels = super().apply_instances(labels, params)
        assert params is not None  # noqa: S101 - get_params gave them
        regions.convert_bbox("xyxy")
        regions.denormalize(*params["orig_shape"][::-1])
        regions.update(self.apply_bboxes(regions.bboxes, params["M"]))
        regions.clip(*params["size"])
        seen = regions.remove_zero_area_boxes()
        return _joined(labels, (row[seen], regions))


class _CutMix(CutMix):  # type: ignore[misc]
    """Pastes a part of another image; with it come that image's regions, and its own end at the part's edge."""

    rows: Rows

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = super().get_params(_Aside(self.rows)(labels))
        return params

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        assert params is not None  # noqa: S101 - get_params gave them
        labels = super().apply_instances(labels, params)
        rest = labels.pop("aside")
        if params.get("skip"):
            return _joined(labels, rest)
        area = params["area"].astype(np.int32)
        part = labels["mix_labels"][0]["aside"]
        kept, pasted = _outside(rest[1].bboxes, area), _inside(part[1].bboxes, area)
        return _joined(labels, _cut(rest, *kept), _cut(part, *pasted))


def _cut(regions: Regions, xyxy: Floats, whose: IntArray) -> Regions:
    """Return parts of regions as regions."""
    row, instances = regions
    parts = instances[whose]
    parts.update(xyxy)
    return row[whose], parts


def _outside(xyxy: Floats, area: Any) -> tuple[Floats, IntArray]:
    """Return the parts of (N, 4) boxes outside a rectangle, up to four each, and the (M,) boxes they are parts of."""
    (x1, y1, x2, y2), (left, top, right, bottom) = area, xyxy.T
    middle = np.maximum(top, y1), np.minimum(bottom, y2)
    parts = np.stack(
        [
            np.stack([left, top, right, np.minimum(bottom, y1)], 1),
            np.stack([left, np.maximum(top, y2), right, bottom], 1),
            np.stack([left, middle[0], np.minimum(right, x1), middle[1]], 1),
            np.stack([np.maximum(left, x2), middle[0], right, middle[1]], 1),
        ],
        axis=1,
    )
    return _with_area(parts.reshape(-1, 4), np.repeat(np.arange(len(xyxy)), 4))


def _inside(xyxy: Floats, area: Any) -> tuple[Floats, IntArray]:
    """Return the parts of (N, 4) boxes inside a rectangle, and the (M,) boxes they are parts of."""
    parts = np.concatenate([np.maximum(xyxy[:, :2], area[:2]), np.minimum(xyxy[:, 2:], area[2:])], axis=1)
    return _with_area(parts, np.arange(len(xyxy)))


def _with_area(xyxy: Floats, whose: IntArray) -> tuple[Floats, IntArray]:
    good = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    return xyxy[good].astype(np.float32), whose[good]


class Unpacked(BaseTransform):  # type: ignore[misc]
    """Reads the rows again, last of all: objects as the library wants them, with their weights; regions beside them.

    A sample gets ``weight`` (N,) and ``regions`` (R, 5 + C), float32: a box as shares of the image (centre, width,
    height), 1 for an unsearched region and 0 for an ignored one, then 1 for every class in the region's set.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Return the sample."""
        rows, row = self.rows, labels["cls"].numpy().reshape(-1).astype(np.int64)
        boxes, kind = labels["bboxes"].float(), rows.kind[row]
        objects = row[kind == Kind.OBJECT]
        labels["cls"] = torch.from_numpy(rows.label[objects].astype(np.float32)[:, None])
        labels["bboxes"] = boxes[kind == Kind.OBJECT]
        labels["batch_idx"] = torch.zeros(len(objects))
        labels["weight"] = torch.from_numpy(rows.weight[objects])
        regions = row[kind != Kind.OBJECT]
        unsearched = rows.kind[regions, None] == Kind.UNSEARCHED
        told = np.concatenate([unsearched, rows.patterns[rows.pattern[regions]]], axis=1).astype(np.float32)
        labels["regions"] = torch.cat([boxes[kind != Kind.OBJECT], torch.from_numpy(told)], 1)
        return labels
