"""Merges what several teachers say of one image into one set of boxes. Pure; knows no file and no threshold of a class.

Weighted boxes fusion follows Solovyev, Wang and Gabruseva, *Weighted boxes fusion: Ensembling boxes from different
object detection models* (2021): overlapping boxes of a class become their mean, weighted by score and teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray, iou, nms
from da_kd.detections import Detections, Vocabulary


@dataclass(frozen=True)
class Voice:
    """What one teacher says of an image, in the recipe's vocabulary.

    Attributes:
        found: its boxes.
        able: for each class, whether the teacher knows it.
        weight: how much it counts.
    """

    found: Detections
    able: Sequence[bool]
    weight: float = 1.0


@dataclass(frozen=True)
class Merged:
    """Merged boxes of one image.

    Attributes:
        boxes: N boxes.
        agreement: (N,) float32 in (0, 1], the share of the able teachers that saw each.
        teacher_score: (N, T) float32, each teacher's best score for it, NaN where it saw nothing.
    """

    boxes: Detections
    agreement: FloatArray
    teacher_score: FloatArray


def merge(vocabulary: Vocabulary, voices: Sequence[Voice], method: Literal["wbf", "nms"], overlap: float) -> Merged:
    """Merge the voices of T teachers about one image; boxes of different classes never meet.

    With ``wbf`` a merged score is the weighted mean over all teachers *able* to see the class, so that a teacher that
    knows the class and stays silent lowers it, and one that does not know it has no say. Where only one teacher is able
    there is nothing to average, and duplicates are suppressed instead.
    """
    parts = [_merge_class(label, voices, method, overlap) for label in range(len(vocabulary))]
    xyxy, score, teacher_score = (np.concatenate([part[i] for part in parts]) for i in range(3))
    label = np.repeat(np.arange(len(vocabulary), dtype=np.int32), [len(part[1]) for part in parts])
    able = np.array([sum(voice.able[c] for voice in voices) for c in range(len(vocabulary))])
    agreement = (~np.isnan(teacher_score)).sum(axis=1) / np.maximum(able[label], 1)
    order = np.argsort(-score, kind="stable")
    boxes = Detections(vocabulary, xyxy[order], np.clip(score[order], 0, 1), label[order])
    return Merged(boxes, agreement[order].astype(np.float32), teacher_score[order].astype(np.float32))


Doubles = npt.NDArray[np.float64]
_Part = tuple[Doubles, Doubles, Doubles]


def _merge_class(label: int, voices: Sequence[Voice], method: str, overlap: float) -> _Part:
    """Return (xyxy, score, teacher_score) of the merged boxes of one class."""
    rows = [np.flatnonzero(voice.found.label == label) for voice in voices]
    xyxy = np.concatenate([voice.found.xyxy[row] for voice, row in zip(voices, rows, strict=True)]).astype(np.float64)
    score = np.concatenate([voice.found.score[row] for voice, row in zip(voices, rows, strict=True)]).astype(np.float64)
    owner = np.repeat(np.arange(len(voices)), [len(row) for row in rows])
    able = [position for position, voice in enumerate(voices) if voice.able[label]]
    if method == "nms" or len(able) == 1:
        groups = _nms_groups(xyxy, score, overlap)
        return _best(xyxy, score, owner, groups, len(voices))
    weight = np.array([voice.weight for voice in voices])
    return _weighted_boxes_fusion(xyxy, score, owner, weight, able, overlap)


def _nms_groups(xyxy: Doubles, score: Doubles, overlap: float) -> list[IntArray]:
    """Return, for each box that survives suppression, the rows of the boxes it stands for, itself first."""
    kept = nms(xyxy.astype(np.float32), score.astype(np.float32), np.zeros(len(score), np.int32), overlap)
    overlaps = iou(xyxy[kept], xyxy)
    home = overlaps.argmax(axis=0) if len(kept) else np.zeros(0, np.int64)
    home[kept] = np.arange(len(kept))  # also a box without area, or a duplicate where all are kept, stands for itself
    return [np.concatenate([[row], np.setdiff1d(np.flatnonzero(home == i), [row])]) for i, row in enumerate(kept)]


def _best(
    xyxy: Doubles,
    score: Doubles,
    owner: IntArray,
    groups: list[IntArray],
    teachers: int,
) -> _Part:
    """Return each group's first box, and what every teacher said within the group."""
    first = np.array([group[0] for group in groups], dtype=np.int64)
    said = np.full((len(groups), teachers), np.nan)
    for index, group in enumerate(groups):
        for row in group:
            said[index, owner[row]] = np.fmax(said[index, owner[row]], score[row])
    return xyxy[first].reshape(-1, 4), score[first], said


def _weighted_boxes_fusion(
    xyxy: Doubles,
    score: Doubles,
    owner: IntArray,
    weight: Doubles,
    able: Sequence[int],
    overlap: float,
) -> _Part:
    """Return the fused boxes of one class; rows join the cluster they overlap most, best rows first."""
    clusters: list[list[int]] = []
    fused = np.zeros((len(score), 4))
    voice = score * weight[owner]
    for row in np.argsort(-voice, kind="stable"):
        near = iou(xyxy[row : row + 1], fused[: len(clusters)])[0]
        best = int(near.argmax()) if clusters else -1
        if best >= 0 and near[best] > overlap:
            clusters[best].append(int(row))
        else:
            clusters.append([int(row)])
            best = len(clusters) - 1
        members = clusters[best]
        fused[best] = np.average(xyxy[members], axis=0, weights=np.maximum(voice[members], 1e-12))
    said = np.full((len(clusters), len(weight)), np.nan)
    for index, members in enumerate(clusters):
        for row in members:
            said[index, owner[row]] = np.fmax(said[index, owner[row]], score[row])
    total = weight[list(able)].sum()
    mean = np.nansum(np.where(np.isnan(said), 0.0, said) * weight, axis=1) / total
    return fused[: len(clusters)], mean, said
