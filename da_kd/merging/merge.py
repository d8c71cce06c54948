"""Merges what several teachers say of many images into one set of boxes. Pure; knows no file and no class's threshold.

Boxes of different classes, or of different images, never meet. What is one object is decided in ``lockstep``; here are
the numbers that come of it: the merged box, its score, who saw it and who could have.

Where this differs on purpose from the package ensemble_boxes, whose weighted boxes fusion it otherwise equals:

- A merged score counts the teachers *able* to see the class (and to read the image), not all there are.
- ``repeats="best"`` (the default) counts a teacher that says one object twice once, with its best score. The package
  takes the mean over all boxes of a cluster, so that a teacher's second, lower box both lowers its own score and stands
  in for another teacher's silence. ``repeats="all"`` is the package's rule.
- Where only one teacher is able there is nothing to average, and ``wbf`` suppresses duplicates as ``nms`` does.
- Scores never exceed 1, and equally loud boxes are taken by place, not row. A box without area is no error and is for
  itself (but ``pool`` leaves it out).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from da_kd.boxes import FloatArray, IntArray
from da_kd.merging.lockstep import TINY, Method, Rows, homes
from da_kd.merging.pairs import Bools, Doubles, ranked

Repeats = Literal["best", "all"]
_FLOOR = 0.001  # a score that ``soft_nms`` pushed below this is no detection (Bodla et al. use the same)


@dataclass(frozen=True)
class Panel:
    """T teachers, what they know of C classes, and which of I images they could read.

    Attributes:
        knows: (T, C) bool.
        weight: (T, C) float64 > 0, how much each counts.
        read: (I, T) bool.
    """

    knows: Bools
    weight: Doubles
    read: Bools


@dataclass(frozen=True)
class Pool:
    """N boxes that the teachers of a panel found in its images, in any order.

    Attributes:
        xyxy: (N, 4) pixels.
        score: (N,) in [0, 1].
        image: (N,) index into the panel's images.
        label: (N,) index into the classes.
        owner: (N,) index into the teachers.
    """

    xyxy: Doubles
    score: Doubles
    image: IntArray
    label: IntArray
    owner: IntArray


@dataclass(frozen=True)
class MergedPool:
    """M merged boxes of many images, by image, the best score first.

    Attributes:
        xyxy: (M, 4) float32 pixels.
        score: (M,) float32 in [0, 1].
        image: (M,) int64, never falling.
        label: (M,) int32.
        able: (M,) int64, how many teachers could have seen each.
        teacher_score: (M, T) float32, each teacher's best score for it, NaN where it saw nothing.
    """

    xyxy: FloatArray
    score: FloatArray
    image: IntArray
    label: np.ndarray[tuple[int], np.dtype[np.int32]]
    able: IntArray
    teacher_score: FloatArray

    @property
    def saw(self) -> IntArray:
        """(M,) int64: how many teachers saw each box."""
        saw: IntArray = (~np.isnan(self.teacher_score)).sum(axis=1)
        return saw

    @property
    def agreement(self) -> FloatArray:
        """(M,) float32 in (0, 1]: the share of the able teachers that saw each box."""
        return (self.saw / np.maximum(self.able, 1)).astype(np.float32)

    def pick(self, rows: IntArray | Bools) -> MergedPool:
        """Return some of the boxes."""
        return MergedPool(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def join(parts: Sequence[MergedPool], teachers: int) -> MergedPool:
    """Return the parts, of T teachers and whose ``image`` counts through, one after the other as one."""
    nothing = MergedPool(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.int64),
        np.zeros((0, teachers), np.float32),
    )
    names = [field.name for field in dataclasses.fields(MergedPool)]
    return MergedPool(*(np.concatenate([getattr(part, name) for part in (nothing, *parts)]) for name in names))


def merge_pool(panel: Panel, pool: Pool, method: Method, overlap: float, repeats: Repeats = "best") -> MergedPool:
    """Merge the boxes of many images at once.

    Args:
        panel: the teachers.
        pool: their boxes.
        method: what becomes of boxes of a class that overlap by more than ``overlap``. ``wbf`` takes their mean,
            weighted by score and teacher, with the weighted mean of the able teachers' scores, so that a teacher that
            knows the class and stays silent lowers it, and one that does not know it has no say. ``nms`` takes the best
            box as it is; ``nmm`` the rectangle around all of them, with the best score; ``soft_nms`` the best box, and
            lowers the scores of those it overlaps (see ``lockstep``). The best is that with the highest score times
            weight.
        overlap: an IoU in [0, 1].
        repeats: for ``wbf``: whether a teacher's ``best`` box of a cluster counts, or the mean over ``all`` boxes.
    """
    weight = panel.weight[pool.owner, pool.label]
    rows = Rows(pool.xyxy, pool.score * weight, pool.image * panel.knows.shape[1] + pool.label, pool.owner)
    alone = _able(panel, pool.image, pool.label).sum(axis=1) == 1
    home, left = _homes(rows, alone, method, overlap)
    begins = home == np.arange(len(home))
    seed, cluster = np.flatnonzero(begins), (np.cumsum(begins) - 1)[home]
    said = _said(pool, cluster, (len(seed), len(panel.knows)))
    able = _able(panel, pool.image[seed], pool.label[seed])
    image, label, xyxy, score = pool.image[seed], pool.label[seed], pool.xyxy[seed], pool.score[seed] * left[seed]
    if method == "nmm":
        xyxy = _around(pool.xyxy, cluster, len(seed))
    if method == "wbf":
        mean, share = ~alone[seed], able * panel.weight[:, label].T
        xyxy = np.where(mean[:, None], _centre(rows, cluster, xyxy), xyxy)
        heard = _mean_of_best(said, share) if repeats == "best" else _mean_of_all(rows, cluster, share, able)
        score = np.where(mean, heard, score)
    keep = np.flatnonzero((score >= _FLOOR) | (left[seed] == 1))
    order = keep[ranked(image[keep], score[keep], (label[keep], *xyxy[keep].T))]
    return MergedPool(
        xyxy[order].astype(np.float32),
        np.clip(score[order], 0, 1).astype(np.float32),
        image[order],
        label[order].astype(np.int32),
        able[order].sum(axis=1),
        said[order].astype(np.float32),
    )


def _able(panel: Panel, image: IntArray, label: IntArray) -> Bools:
    """Return (N, T) which teachers could have seen a box of each image and class."""
    able: Bools = panel.read[image] & panel.knows[:, label].T
    return able


def _homes(rows: Rows, alone: Bools, method: Method, overlap: float) -> tuple[IntArray, Doubles]:
    """Return each row's home and what is left of its score; ``wbf`` with nobody to agree with only suppresses."""
    if method != "wbf":
        return homes(rows, method, overlap)
    home = np.empty(len(alone), np.int64)
    parts: tuple[tuple[Bools, Method], ...] = ((alone, "nms"), (~alone, "wbf"))
    for some, how in parts:
        index = np.flatnonzero(some)
        home[index] = index[homes(rows.pick(index), how, overlap)[0]]
    return home, np.ones(len(home))


def _said(pool: Pool, cluster: IntArray, shape: tuple[int, int]) -> Doubles:
    """Return (M, T) each teacher's best score in each cluster, NaN where it has no box there."""
    best = np.full(shape[0] * shape[1], -1.0)
    np.maximum.at(best, cluster * shape[1] + pool.owner, pool.score)
    return np.where(best < 0, np.nan, best).reshape(shape)


def _around(xyxy: Doubles, cluster: IntArray, count: int) -> Doubles:
    """Return the (count, 4) smallest boxes that hold all boxes of each cluster."""
    around = np.full((count, 4), np.inf)
    around[:, 2:] = -np.inf
    for side, least in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
        least.at(around[:, side], cluster, xyxy[:, side])
    return around


def _centre(rows: Rows, cluster: IntArray, seed: Doubles) -> Doubles:
    """Return each cluster's mean box, weighted by voice, summed as distances from the (M, 4) boxes they began with."""
    voice = np.maximum(rows.voice, TINY)
    total = np.bincount(cluster, voice, len(seed))
    away = (rows.xyxy - seed[cluster]) * voice[:, None]
    return seed + np.stack([np.bincount(cluster, side, len(seed)) / total for side in away.T], axis=1)


def _mean_of_best(said: Doubles, share: Doubles) -> Doubles:
    """Return the mean of the teachers' best scores, those that are silent with 0, weighted by (M, T) ``share``."""
    mean: Doubles = (np.nan_to_num(said) * share).sum(axis=1) / share.sum(axis=1)
    return mean


def _mean_of_all(rows: Rows, cluster: IntArray, share: Doubles, able: Bools) -> Doubles:
    """Return the mean voice of all boxes of a cluster, lowered for what is missing (ensemble_boxes' ``avg``)."""
    size = np.bincount(cluster, minlength=len(share))
    mean = np.bincount(cluster, rows.voice, len(share)) / size
    scaled: Doubles = mean * np.minimum(able.sum(axis=1), size) / share.sum(axis=1)
    return scaled
