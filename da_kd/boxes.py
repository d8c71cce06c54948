"""Box arithmetic on plain arrays: area, overlap, clipping. Knows no class that holds boxes.

Boxes are (N, 4) arrays ``x1, y1, x2, y2`` in pixels, the origin at the top left corner of the image, with
``x1 <= x2`` and ``y1 <= y2``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def area(xyxy: Floats) -> Floats:
    """Return the (N,) areas in square pixels."""
    areas: Floats = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return areas


def iou(a: Floats, b: Floats) -> Floats:
    """Return the (N, M) intersection over union of every box of ``a`` with every box of ``b``, 0 to 1.

    Two boxes without area overlap 0, not NaN.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter: Floats = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    union = area(a)[:, None] + area(b)[None, :] - inter
    overlap: Floats = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return overlap


def clip(xyxy: Floats, width: int, height: int) -> Floats:
    """Return the boxes cut to an image of ``width`` by ``height`` pixels."""
    return np.clip(xyxy, 0, np.array([width, height, width, height], dtype=xyxy.dtype))
