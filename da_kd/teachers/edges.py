"""Boxes that end where labels end, by the edges in the picture, around any teacher.

People who label draw boxes close around what they see or leave some room, and a detector carries its source's habit,
and its own error, to pictures where all else has changed. Where the edges of an object lie in the picture is seen
without a label. So each side of a box is compared with the edge beside it: how far out the edge ends, in units of the
box. What is usual at home, and how far the teacher departs from that on the target, is measured elsewhere
(``training.object_edges``) and kept as a :class:`Habit` for every class; this module looks at pictures and moves boxes.
Must not know which framework answers, nor any label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import Floats
from da_kd.detections import Detections, Vocabulary
from da_kd.hashing import hash_file, hash_json
from da_kd.teachers.base import Failure, Image, Predictor, Teacher
from da_kd.teachers.checks import finish

REACH = 0.3  # how far in and out of a side is looked, in widths or heights of the box
MOST = 0.1  # a single box follows its own edges no farther than so
_FAR = 0.2  # nor all boxes of a class together
_STEPS = 48  # places along the way from inside to outside
_LINES = 16  # lines across a side that are averaged
_MIDDLE = 0.4  # share of a side that they cover: near the corners of a box an object is seldom seen
_USUAL, _SPREAD = -0.06, 0.12  # an edge counts the less, the farther it lies from a little inside the side
_ENDED = 0.3  # an edge ends where its strength has fallen to so much of its peak
_TEXTURE = 96  # pixels; larger boxes are looked at in a smaller picture, where hairs and noise are gone
_FEW = 4  # pixels; no edge is seen in boxes that are smaller
_AT_ONCE = 2048  # boxes looked at in one go
_MOST_SIDE = 32000  # pixels; OpenCV looks into no larger picture

_OUT = (np.arange(_STEPS) + 0.5) * (2 * REACH / _STEPS) - REACH
_WEIGHT = np.exp(-0.5 * ((_OUT - _USUAL) / _SPREAD) ** 2)
_OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Habit:
    """Where the edges of a class's objects end, seen from its boxes' sides, in widths or heights of the box.

    Attributes:
        home: from the sides of the labels that boxes are to end like, the source's or some of the target's; negative is
            inside of the box.
        away: from the sides of the teacher's boxes on the target.
        pull: how much of the way a single box follows its own edges, 0 to 1.
    """

    home: float
    away: float
    pull: float

    def shift(self, ends: Floats) -> Floats:
        """Return how far outwards sides are to move, in the shape of ``ends``, where NaN means that no edge is seen."""
        own = np.clip(np.nan_to_num(ends - self.away), -MOST, MOST)
        shift: Floats = np.clip(self.away - self.home, -_FAR, _FAR) + self.pull * own
        return shift


class EdgedTeacher:
    """A teacher whose boxes are moved, side by side, to where labels would end.

    Args:
        inner: the teacher.
        habits: a file that :func:`read_habits` reads, when the teacher is opened.
    """

    def __init__(self, inner: Teacher, habits: Path) -> None:
        """Remember both."""
        self.inner, self.habits = inner, habits
        self.by_name = getattr(inner, "by_name", False)

    def fingerprint(self) -> str:
        """Return a hash of the inner teacher and the habits."""
        return hash_json(["edges", 1, self.inner.fingerprint(), hash_file(self.habits)])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[Predictor]:
        """Open the inner teacher; see :class:`~da_kd.teachers.base.Teacher`."""
        habits = read_habits(self.habits)
        with self.inner.open(device, floor, batch) as predictor:
            yield _Edged(predictor, habits)


class _Edged:
    """A loaded teacher whose boxes are moved."""

    def __init__(self, inner: Predictor, habits: Mapping[str, Habit]) -> None:
        self._inner, self._habits = inner, habits
        self.classes: Vocabulary = inner.classes

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image."""
        return [
            said if isinstance(said, Failure) else follow(image.pixels, said, self._habits)
            for image, said in zip(batch, self._inner.predict(batch), strict=True)
        ]


def read_habits(path: Path) -> dict[str, Habit]:
    """Return the habits in a file of ``training.object_edges`` that move boxes, by the teacher's class names."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    return {name: Habit(each["home"], each["away"], each["pull"]) for name, each in tree.items() if each["follows"]}


def like_the_target(path: Path) -> list[str]:
    """Return the classes whose boxes are moved to end as labels of the target do, and not as the source's, likewise."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    return [name for name, each in tree.items() if each["follows"] and each.get("labels_of_target", 0)]


def usual_shifts(path: Path) -> dict[str, float]:
    """Return how far outwards the sides of a class's boxes go, in widths and heights, by the same file."""
    return {name: float(habit.shift(np.zeros(1) + habit.away)[0]) for name, habit in read_habits(path).items()}


def follow(pixels: npt.NDArray[np.uint8], said: Detections, habits: Mapping[str, Habit]) -> Detections:
    """Return an image's boxes with their sides moved; classes without a habit stay, and sides at the image's border.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        said: its boxes.
        habits: by class name.
    """
    known = np.array([said.vocabulary[label] in habits for label in said.label], bool)
    if not known.any():
        return said
    ends = np.zeros((len(said), 4))
    boxes = said.xyxy.astype(np.float64)
    ends[known] = edge_ends(pixels, boxes[known])
    for label, name in enumerate(said.vocabulary):
        mine = known & (said.label == label)
        if mine.any():
            boxes[mine] = moved(boxes[mine], habits[name].shift(ends[mine]), pixels.shape[1], pixels.shape[0])
    return finish(said.vocabulary, boxes.astype(np.float32), said.score, said.label, pixels.shape[:2], 0.0)


def moved(xyxy: Floats, shift: Floats, width: int, height: int) -> Floats:
    """Return boxes whose sides have moved outwards, but those that touch the image's border.

    Args:
        xyxy: (N, 4) boxes in pixels.
        shift: (N, 4) how far, left, top, right, bottom, in widths and heights of the box.
        width: of the image, in pixels.
        height: of the image, in pixels.
    """
    extent = np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    free = np.concatenate([xyxy[:, :2] > 1, xyxy[:, 2:] < np.array([width, height]) - 1], axis=1)
    result: Floats = xyxy + np.where(free, shift, 0.0) * extent * _OUTWARD
    return result


def surrounded(xyxy: Floats, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Return (N,) whether an image of ``width`` by ``height`` pixels shows all that is looked at around each box."""
    around = REACH * (xyxy[:, 2:] - xyxy[:, :2])
    return np.asarray(((xyxy[:, :2] >= around) & (xyxy[:, 2:] + around <= (width, height))).all(axis=1), bool)


def whole_ends(pixels: npt.NDArray[np.uint8], xyxy: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return (N,) which boxes a picture shows with all that is around them, and for these (K, 4) :func:`edge_ends`."""
    boxes = xyxy.astype(np.float64)
    whole = surrounded(boxes, pixels.shape[1], pixels.shape[0])
    return whole, edge_ends(pixels, boxes[whole])


def edge_ends(pixels: npt.NDArray[np.uint8], xyxy: Floats) -> Floats:
    """Return where the edge beside every side of a box ends.

    The strength of an edge is the change of the colours across the side, averaged over its middle; the edge is the
    strongest one near the side, and ends, going outwards, where the strength has fallen to 0.3 of its peak.

    Args:
        pixels: (H, W, 3) uint8.
        xyxy: (N, 4) boxes in pixels.

    Returns:
        (N, 4), left, top, right, bottom: outwards from the side, in widths or heights of the box, at most 0.3 either
        way; NaN where the box is smaller than 4 pixels, or the picture too large to look into.
    """
    extent = xyxy[:, 2:] - xyxy[:, :2]
    ends = np.full((len(xyxy), 4), np.nan)
    seen = extent.min(axis=1, initial=np.inf) >= _FEW
    level = np.floor(np.log2(np.maximum(np.sqrt(extent.clip(1).prod(axis=1)) / _TEXTURE, 1))).astype(int)
    import cv2

    picture = cv2.GaussianBlur(pixels, (3, 3), 0)
    for step in range(int(level[seen].max(initial=0)) + 1):
        if step:
            picture = cv2.pyrDown(picture)
        if max(picture.shape) > _MOST_SIDE:
            continue
        mine = np.flatnonzero(seen & (level == step))
        for some in np.split(mine, range(_AT_ONCE, len(mine), _AT_ONCE)):
            if len(some):
                # Each time every second pixel stays, the first among them; its centre lies at a half, as before.
                ends[some] = _ended(_strengths(picture, xyxy[some] / 2**step + (1 - 0.5**step) / 2))
    return ends


def _strengths(picture: npt.NDArray[np.uint8], xyxy: Floats) -> Floats:
    """Return (N, 4, steps) how strong the edge is at every place across each side, from inside to outside."""
    import cv2

    low, extent = xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]
    along = 0.5 + _MIDDLE * (np.arange(_LINES) / (_LINES - 1) - 0.5)
    across = np.stack([-_OUT, 1 + _OUT])  # of a low side and of a high one, in units of the box
    x = np.empty((len(xyxy), 4, _LINES, _STEPS), np.float32)
    y = np.empty_like(x)
    for side in range(4):
        normal, other = (x, y) if side % 2 == 0 else (y, x)
        axis = side % 2
        normal[:, side] = (low[:, axis, None] + across[side // 2] * extent[:, axis, None])[:, None, :]
        other[:, side] = (low[:, 1 - axis, None] + along * extent[:, 1 - axis, None])[:, :, None]
    shape = (len(xyxy) * 4, _LINES * _STEPS)  # pixel centres lie at halves
    looked = cv2.remap(
        picture, x.reshape(shape) - 0.5, y.reshape(shape) - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    colours = looked.reshape(len(xyxy), 4, _LINES, _STEPS, 3).astype(np.float32)
    strength: Floats = np.abs(np.gradient(colours, axis=3)).sum(axis=4).mean(axis=2)
    return strength


def _ended(strength: Floats) -> Floats:
    """Return (N, 4) where the strongest edge near each side ends."""
    quiet = strength[..., _STEPS // 4 :].min(axis=-1, keepdims=True)  # deep inside, another edge may begin
    strength = strength - quiet
    peak = (strength * _WEIGHT).argmax(axis=-1)[..., None]
    level = _ENDED * np.take_along_axis(strength, peak, axis=-1)
    after = (np.arange(_STEPS) > peak) & (strength < level)
    stop = np.where(after.any(axis=-1), after.argmax(axis=-1), _STEPS - 1)[..., None]
    above = np.take_along_axis(strength, np.maximum(stop - 1, 0), axis=-1)
    below = np.take_along_axis(strength, stop, axis=-1)
    part = np.clip((above - level) / np.maximum(above - below, 1e-9), 0, 1)
    result: Floats = (_OUT[np.maximum(stop - 1, 0)] + part * (2 * REACH / _STEPS))[..., 0]
    return result
