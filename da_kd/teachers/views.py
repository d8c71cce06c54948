"""Test-time augmentation around any teacher: it looks at several views of an image, and its answers are merged.

The views are the image as it is, its mirror image, and the image at other scales. A teacher scales what it is given
into its own input, so a smaller image alone would change nothing: a scale below 1 lays the image on a larger grey
canvas, one above 1 cuts it into overlapping tiles. Knows pixels and boxes; must not know which framework answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, Vocabulary
from da_kd.hashing import hash_json
from da_kd.merging.merge import MergedPool, Panel, Pool, merge_pool
from da_kd.teachers.base import Failure, Image, Predictor, Teacher
from da_kd.teachers.batches import out_of_memory
from da_kd.teachers.checks import finish
from da_kd.teachers.geometry import PAD

_LOW = 0.001  # score from which a view's boxes are merged, else what a view says softly would count as silence
_SAME = 0.55  # overlap from which boxes of two views are one object
_OVERLAP = 0.25  # least share of a tile that its neighbour shows too
_EDGE = 0.01  # share of a tile: a box as close to an inner edge is cut by it

Merge = Literal["wbf", "nms"]


class ViewedTeacher:
    """A teacher that looks at every image several times.

    Args:
        inner: the teacher that looks.
        flip: it looks at the mirror image, too.
        scales: it looks at the image at these scales, too; below 1 objects are smaller, above 1 larger.
        merge: ``wbf`` takes the mean of what the views say, and a view that says nothing of a box it shows whole
            counts as 0; ``nms`` takes the best.
    """

    def __init__(self, inner: Teacher, flip: bool, scales: Sequence[float], merge: Merge) -> None:
        """Remember the views; see the class."""
        self.inner, self.flip, self.scales, self.merge = inner, flip, tuple(scales), merge
        self.by_name = getattr(inner, "by_name", False)

    def fingerprint(self) -> str:
        """Return a hash of the inner teacher and the views."""
        return hash_json(["views", 1, self.inner.fingerprint(), self.flip, self.scales, self.merge])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[Predictor]:
        """Open the inner teacher; see :class:`~da_kd.teachers.base.Teacher`."""
        with self.inner.open(device, min(floor, _LOW), batch) as predictor:
            yield _Views(self, predictor, floor, batch)


class Window(NamedTuple):
    """A part of an image that is shown, or a canvas around it: ``x1, y1, x2, y2`` in whole pixels of the image."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class View:
    """One way to look at an image: in one window, or in several that cover it together.

    Attributes:
        windows: where it looks.
        mirrored: left and right are swapped.
    """

    windows: tuple[Window, ...]
    mirrored: bool = False


class _Views:
    """A loaded teacher that looks several times."""

    def __init__(self, teacher: ViewedTeacher, inner: Predictor, floor: float, batch: int) -> None:
        self._teacher, self._inner, self._floor, self._batch = teacher, inner, floor, batch
        self.classes: Vocabulary = inner.classes

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; an image of which one view failed is a failure."""
        plans = [self._views(image) for image in batch]
        looks = [
            (index, owner, window)
            for index, views in enumerate(plans)
            for owner, view in enumerate(views)
            for window in view.windows
        ]
        parts: list[_Part] = []
        failed: dict[int, Failure] = {}
        for start in range(0, len(looks), self._batch):
            some = looks[start : start + self._batch]
            shown = [Image(batch[i].key, show(batch[i].pixels, w, plans[i][v].mirrored)) for i, v, w in some]
            for (index, owner, window), said in zip(some, self._ask(shown, len(batch)), strict=True):
                if isinstance(said, Failure):
                    failed[index] = said
                else:
                    size = (batch[index].pixels.shape[1], batch[index].pixels.shape[0])
                    parts.append(_Part(index, owner, back(said, window, size, plans[index][owner].mirrored)))
        answers = self._merged(parts, plans)
        return [failed.get(index, answers[index]) for index in range(len(batch))]

    def _ask(self, shown: Sequence[Image], images: int) -> list[Detections | Failure]:
        """Return one answer per look; where they do not fit into the memory, fewer are shown from then on.

        Args:
            shown: the looks.
            images: how many the batch has; who asks halves it, says so, and asks again, unless it is one.
        """
        try:
            return self._inner.predict(shown)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            self._batch = max(1, images // 2)
            if images > 1 or len(shown) == 1:
                raise
        return [said for look in shown for said in self._ask([look], images)]

    def _views(self, image: Image) -> tuple[View, ...]:
        high, wide = image.pixels.shape[:2]
        return views_of(wide, high, self._teacher.flip, self._teacher.scales)

    def _merged(self, parts: Sequence[_Part], plans: Sequence[Sequence[View]]) -> list[Detections]:
        """Merge the views of all images at once; return the boxes of each image at or above the floor."""
        if not plans:
            return []
        views, classes = len(plans[0]), len(self.classes)
        panel = Panel(np.ones((views, classes), bool), np.ones((views, classes)), np.ones((len(plans), views), bool))
        merged = merge_pool(panel, _pool(parts), self._teacher.merge, _SAME)
        score = merged.score
        if self._teacher.merge == "wbf":
            score = np.concatenate(
                [np.zeros(0, np.float32)]
                + [
                    _heard(merged.xyxy[rows], merged.teacher_score[rows], plan)
                    for rows, plan in _by_image(merged, plans)
                ]
            )
        keep = score >= self._floor
        return [
            Detections(
                self.classes, merged.xyxy[rows][keep[rows]], score[rows][keep[rows]], merged.label[rows][keep[rows]]
            )
            for rows, _ in _by_image(merged, plans)
        ]


class _Part(NamedTuple):
    """What one look at one image found, in pixels of the whole image."""

    image: int
    view: int
    found: Detections


def views_of(width: int, height: int, flip: bool, scales: Sequence[float]) -> tuple[View, ...]:
    """Return the views of an image, the image as it is first.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        flip: with its mirror image.
        scales: with it at these scales.
    """
    whole = (Window(0, 0, width, height),)
    mirrored = (View(whole, mirrored=True),) if flip else ()
    return (View(whole), *mirrored, *(View(_windows(width, height, scale)) for scale in scales))


def _windows(width: int, height: int, scale: float) -> tuple[Window, ...]:
    """Return the canvas around an image for a scale below 1, the tiles that cover it for one above."""
    wide, high = max(1, round(width / scale)), max(1, round(height / scale))
    lefts, tops = _starts(width, wide), _starts(height, high)
    return tuple(Window(left, top, left + wide, top + high) for top, left in product(tops, lefts))


def _starts(side: int, window: int) -> list[int]:
    """Return where windows along one side begin: one in the middle if it is as long as the side, else several."""
    if window >= side:
        return [-((window - side) // 2)]
    count = 1 + math.ceil((side - window) / max(1.0, window * (1 - _OVERLAP)))
    return [round(start) for start in np.linspace(0, side - window, count)]


def show(pixels: npt.NDArray[np.uint8], window: Window, mirrored: bool) -> npt.NDArray[np.uint8]:
    """Return what a window shows of an (H, W, 3) image, grey where it reaches beyond, mirrored if so asked."""
    high, wide = pixels.shape[:2]
    left, top = max(window.left, 0), max(window.top, 0)
    part = pixels[top : min(window.bottom, high), left : min(window.right, wide)]
    if window.left < 0 or window.top < 0 or window.right > wide or window.bottom > high:
        canvas = np.full((window.bottom - window.top, window.right - window.left, 3), PAD, np.uint8)
        y, x = top - window.top, left - window.left
        canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        part = canvas
    return np.ascontiguousarray(part[:, ::-1] if mirrored else part)


def back(said: Detections, window: Window, size: tuple[int, int], mirrored: bool) -> Detections:
    """Return what was found in a window in pixels of the image, without the boxes that an inner edge cuts.

    Args:
        said: boxes in pixels of the window.
        window: what was shown.
        size: width and height of the image.
        mirrored: it was shown mirrored.
    """
    xyxy = said.xyxy
    if mirrored:
        wide = np.float32(window.right - window.left)
        xyxy = np.stack([wide - xyxy[:, 2], xyxy[:, 1], wide - xyxy[:, 0], xyxy[:, 3]], axis=1)
    xyxy = xyxy + np.array([window.left, window.top] * 2, np.float32)
    whole = said.pick(covered(xyxy, window, size))
    return finish(said.vocabulary, xyxy[covered(xyxy, window, size)], whole.score, whole.label, size[::-1], 0.0)


def covered(xyxy: npt.NDArray[np.floating], window: Window, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (N,) whether a window shows each box whole: none lies at an edge where the image goes on.

    Args:
        xyxy: (N, 4) boxes in pixels of the image.
        window: what is shown.
        size: width and height of the image.
    """
    least = np.array([window.left, window.top], float)
    most = np.array([window.right, window.bottom], float)
    margin = np.maximum(1.0, _EDGE * (most - least))
    low = np.where(least > 0, least + margin, -np.inf)
    high = np.where(most < size, most - margin, np.inf)
    inside = np.concatenate([xyxy[:, :2] >= low, xyxy[:, 2:] <= high], axis=1)
    return np.asarray(inside.all(axis=1), bool)


def _pool(parts: Sequence[_Part]) -> Pool:
    """Return all boxes of all views, the views being the teachers."""
    count = [len(part.found) for part in parts]
    nothing = Detections.empty(("",))
    found = [nothing, *(part.found for part in parts)]
    return Pool(
        np.concatenate([item.xyxy for item in found]).astype(np.float64),
        np.concatenate([item.score for item in found]).astype(np.float64),
        np.repeat([part.image for part in parts], count).astype(np.int64),
        np.concatenate([item.label for item in found]).astype(np.int64),
        np.repeat([part.view for part in parts], count).astype(np.int64),
    )


def _by_image(merged: MergedPool, plans: Sequence[Sequence[View]]) -> Iterator[tuple[slice, Sequence[View]]]:
    """Yield the rows of every image, with its views."""
    ends = np.searchsorted(merged.image, np.arange(len(plans) + 1)).tolist()
    for index, plan in enumerate(plans):
        yield slice(ends[index], ends[index + 1]), plan


def _heard(
    xyxy: npt.NDArray[np.float32], said: npt.NDArray[np.float32], views: Sequence[View]
) -> npt.NDArray[np.float32]:
    """Return (N,) the mean score over the views that show a box whole, or that found it all the same.

    Args:
        xyxy: (N, 4) merged boxes of one image.
        said: (N, V) the best score of each view, NaN where it was silent.
        views: the V views.
    """
    whole = views[0].windows[0]
    size = (whole.right, whole.bottom)
    able = np.array(~np.isnan(said), bool)
    for index, view in enumerate(views):
        for window in view.windows:
            able[covered(xyxy, window, size), index] = True
    mean: npt.NDArray[np.float32] = (np.nan_to_num(said).sum(axis=1) / able.sum(axis=1)).astype(np.float32)
    return mean
