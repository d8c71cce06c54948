"""Makes a student's labels anew of its fixed pseudo labels and what it says itself, and guards against collapse.

Self-training can talk itself into nothing, or into too much: a class whose labels run away keeps the fixed ones. Knows
tables; must not know a model, an epoch, or where labels are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from da_kd.boxes import IntArray, iou
from da_kd.detections import BoolArray, DetectionTable, State, Vocabulary
from da_kd.events import Job
from da_kd.merging.merge import MergedPool, Panel, Pool, merge_pool
from da_kd.recipe import Refresh
from da_kd.stages.fuse.classes import ClassMap
from da_kd.stages.fuse.thresholds import Cuts
from da_kd.training.refresh import VOICE

FEWEST = 10  # kept boxes of a class; changes among fewer say nothing
VOICES = ("labels", VOICE)

Completed = Mapping[str, tuple[str, ...]]  # by content hash, the classes of which a person named all objects


@dataclass(frozen=True)
class Relabel:
    """The rule that makes labels anew, always from the fixed ones.

    Fixed labels and student are two voices of a weighted boxes fusion: a box's score is the mean of both, the student's
    counting ``share``, one that says nothing as 0; thresholds turn scores into states. These stay as they are: boxes
    that a person decided on, boxes that ground truth ignores, boxes of classes that nobody searched the image for, and
    boxes that nobody saw who can tell their class (see :func:`mark_coarse`).
    The student adds none of a class that the image was not searched for, none in an image all of whose boxes a person
    decided on, none of a class that a person completed there, none over a box that a person kept, and none over one of
    its class that a person rejected.

    Attributes:
        config: the recipe's section.
        cuts: the thresholds.
        overlap: IoU from which two boxes are one object.
        completed: what people completed, beyond what the labels tell.
    """

    config: Refresh
    cuts: Cuts
    overlap: float
    completed: Completed = field(default_factory=dict)

    def __call__(self, fixed: DetectionTable, said: DetectionTable, job: Job) -> DetectionTable:
        """Return labels of the same images, in the same order.

        Args:
            fixed: the labels that the training began with.
            said: what the student says of the images, in the same classes.
            job: hears of classes that keep their fixed labels.
        """
        searched = fixed.searched[fixed.image_index, fixed.label]
        stays = fixed.protected | (fixed.state == State.IGNORED) | ~searched | (fixed.agreement == 0)
        merged = self._merged([(fixed, ~stays), (said, _heard(fixed, said, self.overlap, self.completed))])
        state = self.cuts.states(merged.score, merged.label)
        old = _counts(fixed.label[~stays & (fixed.state == State.KEPT)], fixed)
        new = _counts(merged.label[state == State.KEPT], fixed)
        held = self._held(fixed.vocabulary, old, new, job)
        return _joined(fixed, stays | held[fixed.label], merged, state, ~held[merged.label])

    def _merged(self, parts: Sequence[tuple[DetectionTable, BoolArray]]) -> MergedPool:
        """Return the boxes picked of the fixed labels, merged with those of the student."""
        (fixed, _), (said, _) = parts
        pool = Pool(
            np.concatenate([table.xyxy[rows] for table, rows in parts]).astype(np.float64),
            np.concatenate([table.score[rows] for table, rows in parts]).astype(np.float64),
            np.concatenate([table.image_index[rows] for table, rows in parts]),
            np.concatenate([table.label[rows] for table, rows in parts]).astype(np.int64),
            np.repeat([0, 1], [int(rows.sum()) for _, rows in parts]),
        )
        classes, share = len(fixed.vocabulary), self.config.share
        panel = Panel(
            knows=np.ones((2, classes), bool),
            weight=np.repeat([[1 - share], [share]], classes, axis=1),
            read=np.stack([np.ones(len(fixed), bool), said.ok], axis=1),
        )
        return merge_pool(panel, pool, "wbf", self.overlap)

    def _held(self, names: Vocabulary, old: IntArray, new: IntArray, job: Job) -> BoolArray:
        """Return (C,) the classes that keep their fixed labels, since the new ones ran away from them."""
        lost = (old >= FEWEST) & (new < self.config.lost * old)
        exploded = new > self.config.exploded * np.maximum(old, FEWEST)
        for label in np.flatnonzero(lost | exploded).tolist():
            job.warn(
                f"Class '{names[label]}' keeps its fixed labels: the student would leave {new[label]:,} boxes "
                f"where they hold {old[label]:,}."
            )
        return np.asarray(lost | exploded)


def mark_coarse(labels: DetectionTable, maps: Mapping[str, ClassMap], cuts: Cuts) -> DetectionTable:
    """Return fused labels in which a box that may be of one of several classes has agreement 0.

    So many of the teachers able to tell its class saw it; sets that are mixed keep that, if not what each said.
    Where a teacher has both the class and the coarse one, a box not kept in spite of its score is taken for coarse.

    Args:
        labels: of *fuse*, with what every teacher said, reviewed or not.
        maps: by name, where each teacher's classes go.
        cuts: the thresholds that labels are made anew by.
    """
    silent, ordered = np.isnan(labels.teacher_score), [maps[name] for name in labels.teachers]
    able = np.array([item.able for item in ordered], bool)[:, labels.label].T
    unclear = np.array([item.may_be.any(axis=0) for item in ordered], bool)[:, labels.label].T
    held_back = (labels.state == State.UNCERTAIN) & (cuts.states(labels.score, labels.label) == State.KEPT)
    coarse = ~(silent | able).all(axis=1) | ((silent | unclear).all(axis=1) & held_back)
    return dataclasses.replace(labels, agreement=np.where(coarse, np.float32(0), labels.agreement))


def _heard(fixed: DetectionTable, said: DetectionTable, overlap: float, completed: Completed) -> BoolArray:
    """Return which of the student's boxes may be taken up."""
    open_ = fixed.searched.copy()
    for image, sha in enumerate(fixed.sha):
        if sha in completed:
            open_[image] &= ~np.isin(fixed.vocabulary, completed[sha])
    heard: BoolArray = open_[said.image_index, said.label]
    for image in np.unique(fixed.image_index[fixed.protected]).tolist():
        mine = np.arange(*fixed.offsets[image : image + 2])
        theirs = np.arange(*said.offsets[image : image + 2])
        person = mine[fixed.protected[mine]]
        over = iou(said.xyxy[theirs].astype(np.float64), fixed.xyxy[person].astype(np.float64)) >= overlap
        kept = fixed.state[person] == State.KEPT
        same = said.label[theirs][:, None] == fixed.label[person][None, :]
        whole = (fixed.protected | (fixed.state == State.IGNORED))[mine].all()
        heard[theirs] &= ~(whole | (over & (kept[None, :] | same)).any(axis=1))
    return heard


def _counts(label: Any, table: DetectionTable) -> IntArray:
    """Return (C,) how often each class stands among labels."""
    return np.bincount(label, minlength=len(table.vocabulary)).astype(np.int64)


def _joined(
    fixed: DetectionTable, stays: BoolArray, merged: MergedPool, state: Any, taken: BoolArray
) -> DetectionTable:
    """Return a table of some fixed boxes and some merged ones, by image."""
    new = np.flatnonzero(taken)
    image = np.concatenate([fixed.image_index[stays], merged.image[new]])
    order = np.argsort(image, kind="stable")
    voices = np.full((int(stays.sum()), len(VOICES)), np.nan, np.float32)
    voices[:, 0] = fixed.score[stays]
    columns: dict[str, Any] = {
        "xyxy": np.concatenate([fixed.xyxy[stays], merged.xyxy[new]]),
        "score": np.concatenate([fixed.score[stays], merged.score[new]]),
        "label": np.concatenate([fixed.label[stays], merged.label[new]]),
        "state": np.concatenate([fixed.state[stays], state[new]]),
        "agreement": np.concatenate([fixed.agreement[stays], merged.agreement[new]]),
        "protected": np.concatenate([fixed.protected[stays], np.zeros(len(new), bool)]),
        "teacher_score": np.concatenate([voices, merged.teacher_score[new]]),
    }
    counts = np.bincount(image, minlength=len(fixed))
    return dataclasses.replace(
        fixed,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        teachers=VOICES,
        **{name: column[order] for name, column in columns.items()},
    )
