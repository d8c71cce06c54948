"""What the raw outputs of exported detectors mean: numpy arrays in, boxes in pixels of the model's input out.

Knows array shapes; must not know how a model is run, where it lies, or what an image looked like before it was scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray
from da_kd.errors import WeightsError
from da_kd.teachers.geometry import Mode, corners

LayoutName = Literal["yolo", "yolo_end2end", "yolox", "rtdetr"]
Size = tuple[int, int]
STRIDES = (8, 16, 32)  # of YOLOX's three grids, finest first
_CANDIDATES = 30_000  # boxes that go into suppression, best first


@dataclass(frozen=True)
class Raw:
    """Boxes of one image as the model said them.

    Attributes:
        xyxy: (N, 4) float32 pixels of the model's input.
        score: (N,) float32, each box's best class.
        label: (N,) int64, that class.
    """

    xyxy: FloatArray
    score: FloatArray
    label: IntArray

    def pick(self, index: npt.NDArray[Any]) -> Raw:
        """Return the boxes a boolean mask or an index array picks."""
        return Raw(self.xyxy[index], self.score[index], self.label[index])


@dataclass(frozen=True)
class Layout:
    """How a family of exports wants its pixels and what it answers.

    Attributes:
        name: the name in a recipe.
        mode: how an image is fitted into the input (see :func:`~da_kd.teachers.geometry.letterbox`).
        scale: what pixels of 0 to 255 are multiplied with.
        bgr: whether blue comes first.
        suppress: whether the answer still needs non-maximum suppression.
        decode: one image's output and the input's (width, height) to boxes.
        classes: the number of classes in an output of that shape; None where the shape does not say.
    """

    name: LayoutName
    mode: Mode
    scale: float
    bgr: bool
    suppress: bool
    decode: Callable[[FloatArray, Size], Raw]
    classes: Callable[[Sequence[int]], int | None]

    def pixels(self, padded: npt.NDArray[np.uint8]) -> FloatArray:
        """Return an (H, W, 3) uint8 RGB input as the (3, H, W) float32 array the model takes."""
        ordered = padded[:, :, ::-1] if self.bgr else padded
        values: FloatArray = np.ascontiguousarray(ordered.transpose(2, 0, 1), dtype=np.float32)
        return values if self.scale == 1 else values * np.float32(self.scale)


def _best(xyxy: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Raw:
    """Return (N, 4) boxes with the best of their (N, C) scores."""
    label = scores.argmax(axis=1)
    score = np.take_along_axis(scores, label[:, None], axis=1)[:, 0]
    return Raw(xyxy.astype(np.float32), score.astype(np.float32), label.astype(np.int64))


def _yolo(output: FloatArray, size: Size) -> Raw:
    """(4 + C, N): center, width, height in pixels of the input; a probability per class."""
    rows = output.T
    return _best(corners(rows[:, :4]), rows[:, 4:])


def _end2end(output: FloatArray, size: Size) -> Raw:
    """(N, 6): corners in pixels of the input, score, class."""
    return Raw(output[:, :4], output[:, 4], np.rint(output[:, 5]).astype(np.int64))


def _rtdetr(output: FloatArray, size: Size) -> Raw:
    """(N, 6): center, width, height as fractions of the input, score, class."""
    raw = _end2end(output, size)
    return Raw((corners(raw.xyxy) * np.tile(size, 2)).astype(np.float32), raw.score, raw.label)


def _yolox(output: FloatArray, size: Size) -> Raw:
    """(N, 5 + C): offset in the cell, log size in strides, objectness, a probability per class."""
    grid, stride = _cells(size)
    center = (output[:, :2] + grid) * stride
    extent = np.exp(np.minimum(output[:, 2:4], 20)) * stride  # beyond any image; no overflow
    return _best(corners(np.concatenate([center, extent], axis=1)), output[:, 4:5] * output[:, 5:])


def _cells(size: Size) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the (N, 2) column and row of every cell of all grids, and the (N, 1) stride of its grid."""
    grids, strides = [], []
    for stride in STRIDES:
        columns, rows = size[0] // stride, size[1] // stride
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        grids.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((columns * rows, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def count_cells(size: Size) -> int:
    """Return how many cells the three grids of YOLOX have on an input of this (width, height)."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)


LAYOUTS: Mapping[LayoutName, Layout] = {
    layout.name: layout
    for layout in (
        Layout("yolo", "center", 1 / 255, False, True, _yolo, lambda shape: shape[0] - 4),
        Layout("yolo_end2end", "center", 1 / 255, False, False, _end2end, lambda shape: None),
        Layout("yolox", "top_left", 1.0, True, True, _yolox, lambda shape: shape[1] - 5),
        Layout("rtdetr", "stretch", 1 / 255, False, False, _rtdetr, lambda shape: None),
    )
}
_ROWS_OF_END2END = 6


def guess_layout(shape: Sequence[int], size: Size, metadata: Mapping[str, str], classes: int | None) -> LayoutName:
    """Return the layout of a model from the shape of its first output, without the batch, and what it says of itself.

    Args:
        shape: the two numbers.
        size: width and height of the input.
        metadata: the model's own notes; ultralytics' exports carry ``head``, ``stride`` and ``names``.
        classes: how many class names are known, where they are.

    Raises:
        WeightsError: no layout fits.
    """
    fits: LayoutName | None = None
    if metadata.get("head") == "RTDETRDecoder":
        fits = "rtdetr"
    elif "stride" not in metadata and shape[0] == count_cells(size) and shape[1] >= _ROWS_OF_END2END:
        fits = "yolox"
    elif shape[1] == _ROWS_OF_END2END and (classes is None or shape[0] != classes + 4):
        fits = "yolo_end2end"
    elif 4 < shape[0] < shape[1]:  # noqa: PLR2004 - a box and at least one class
        fits = "yolo"
    if fits is None:
        raise WeightsError(
            f"Expected an output of (4 + classes, boxes), (boxes, 6) or (cells, 5 + classes) numbers an image; found "
            f"{tuple(shape)}. Say which one it is with the option 'layout': {', '.join(LAYOUTS)}."
        )
    return fits


def suppress(raw: Raw, overlap: float) -> Raw:
    """Return what non-maximum suppression within each class leaves, best score first."""
    from torchvision.ops import nms

    raw = raw.pick(np.argsort(-raw.score, kind="stable")[:_CANDIDATES])
    kept = [np.zeros(0, np.int64)]
    import torch

    for label in np.unique(raw.label):
        rows = np.flatnonzero(raw.label == label)
        alive = nms(torch.from_numpy(raw.xyxy[rows]), torch.from_numpy(raw.score[rows]), overlap)
        kept.append(rows[alive.numpy()])
    return raw.pick(np.sort(np.concatenate(kept)))
