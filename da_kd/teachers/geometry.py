"""How an image is scaled and padded into a model's input, and the exact way back for boxes.

Knows pixels and numbers; must not know which framework runs the model, or what a class is.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, clip

Mode = Literal["center", "top_left", "stretch"]
Pixels = npt.NDArray[np.uint8]

PAD = 114  # the gray that YOLO models are trained with around an image


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in a model's input; made by :func:`letterbox`.

    All pairs are ``(width, height)`` or ``(x, y)``, in whole pixels.

    Attributes:
        source: the image as displayed.
        target: the model's input.
        inner: the image after scaling.
        offset: the top left corner of the scaled image in the input.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    inner: tuple[int, int]
    offset: tuple[int, int]

    def apply(self, pixels: Pixels, fill: int = PAD) -> Pixels:
        """Return an (H, W, 3) uint8 image of the source's size as the (H, W, 3) uint8 input, padded with ``fill``."""
        import cv2

        if self.source != self.inner:
            pixels = cv2.resize(pixels, self.inner, interpolation=cv2.INTER_LINEAR)
        if self.inner == self.target:
            return np.ascontiguousarray(pixels)
        (left, top), (width, height) = self.offset, self.inner
        padded = np.full((self.target[1], self.target[0], 3), fill, np.uint8)
        padded[top : top + height, left : left + width] = pixels
        return padded

    def back(self, xyxy: npt.NDArray[Any]) -> FloatArray:
        """Return (N, 4) boxes given in pixels of the input as float32 pixels of the source, cut to it."""
        gain = np.divide(self.inner, self.source)
        boxes = (np.asarray(xyxy, np.float64).reshape(-1, 4) - np.tile(self.offset, 2)) / np.tile(gain, 2)
        return clip(boxes, *self.source).astype(np.float32)


def letterbox(source: tuple[int, int], target: tuple[int, int], mode: Mode = "center") -> Letterbox:
    """Return how an image goes into a model's input.

    Args:
        source: width and height of the image.
        target: width and height of the input.
        mode: ``center`` keeps the aspect and pads on both sides, rounded as ultralytics' ``LetterBox``; ``top_left``
            keeps it and pads at the right and the bottom, rounded as YOLOX's ``preproc``; ``stretch`` fills the input,
            as RT-DETR does.
    """
    if mode == "stretch":
        return Letterbox(source, target, target, (0, 0))
    (width, height), (wide, high) = source, target
    ratio = min(high / height, wide / width)
    if mode == "top_left":
        return Letterbox(source, target, (max(int(width * ratio), 1), max(int(height * ratio), 1)), (0, 0))
    inner = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    offset = (round((wide - inner[0]) / 2 - 0.1), round((high - inner[1]) / 2 - 0.1))
    return Letterbox(source, target, inner, offset)


def corners(center_size: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (..., 4) boxes ``center x, center y, width, height`` as ``x1, y1, x2, y2``."""
    center, half = center_size[..., :2], center_size[..., 2:] / 2
    return np.concatenate([center - half, center + half], axis=-1)


def groups(sizes: Sequence[Hashable]) -> list[list[int]]:
    """Return the positions of equal sizes, group by group.

    A framework that pads images of several sizes into one batch lets an image's neighbours change its answer; batches
    of one size do not.
    """
    found: dict[Hashable, list[int]] = {}
    for position, size in enumerate(sizes):
        found.setdefault(size, []).append(position)
    return list(found.values())
