"""How right pseudo labels are, where truth for some of their images is at hand: precision and recall by threshold.

Only tells; nothing is decided by it. Images are matched by content, classes by name. Pure functions of tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from da_kd.detections import BoolArray, DetectionTable, State, Vocabulary
from da_kd.merging.matching import inside, paired

THRESHOLDS = (0.1, 0.25, 0.5, 0.7, 0.9)
_LOOKED_AT = (State.KEPT, State.UNCERTAIN, State.DROPPED)


@dataclass(frozen=True)
class Quality:
    """Of the boxes of one class that score at least ``threshold``: how many are right, and how much they find.

    Attributes:
        name: the class.
        threshold: the least score.
        precision: the share of these boxes that meet an object (IoU at least 0.5), None where there is no box.
        recall: the share of the objects that are met, None where there is no object.
    """

    name: str
    threshold: float
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Checked:
    """What was compared: ``images`` whose labels have truth, and the qualities by class and threshold."""

    images: int
    by_class: dict[str, tuple[Quality, ...]]


def check_labels(labels: DetectionTable, truth: DetectionTable) -> Checked:
    """Return precision and recall of ``labels`` on the images that ``truth`` knows; none where it knows none.

    As in AP, a class does not count in an image whose truth does not cover it, nor a false box in a region that the
    truth ignores.
    """
    rows = {sha: row for row, sha in enumerate(truth.sha) if sha and truth.searched[row].any()}
    pairs = [(row, rows[sha]) for row, sha in enumerate(labels.sha) if sha in rows and labels.searched[row].any()]
    if not pairs:
        return Checked(0, {})
    label, score, right = _boxes(labels, truth, pairs)
    objects = _objects(truth, [row for _, row in pairs])
    curves = {
        name: _curve(name, label == position, score, right, objects[name])
        for position, name in enumerate(labels.vocabulary)
        if name in objects
    }
    return Checked(len(pairs), curves)


def _boxes(
    labels: DetectionTable, truth: DetectionTable, pairs: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return label, score and whether it is right, of every box that counts of the images in ``pairs``.

    The best scores choose their object first, so what a higher threshold would leave takes nothing from the rest.
    """
    label, score, right = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)], [np.zeros(0, bool)]
    for ours, theirs in pairs:
        boxes = labels.at(ours, _LOOKED_AT)
        boxes = boxes.pick(_covered(truth, theirs, labels.vocabulary)[boxes.label])
        meets = paired(truth.at(theirs), boxes)
        counts = meets | ~inside(truth.at(theirs, (State.IGNORED, State.UNCERTAIN)), boxes)
        label.append(boxes.label[counts])
        score.append(boxes.score[counts])
        right.append(meets[counts])
    return np.concatenate(label), np.concatenate(score), np.concatenate(right)


def _objects(truth: DetectionTable, rows: list[int]) -> dict[str, int]:
    """Return how many objects the images of these rows hold of each class that was searched for in some of them."""
    part = truth.take(rows)
    there = (part.state == State.KEPT) & part.searched[part.image_index, part.label]
    counts = np.bincount(part.label[there], minlength=len(truth.vocabulary))
    return {truth.vocabulary[label]: int(counts[label]) for label in np.flatnonzero(part.searched.any(axis=0))}


def _covered(truth: DetectionTable, row: int, vocabulary: Vocabulary) -> BoolArray:
    """Return (C,) which classes of a vocabulary the truth of an image covers."""
    known = {name for name, searched in zip(truth.vocabulary, truth.searched[row], strict=True) if searched}
    return np.array([name in known for name in vocabulary], bool)


def _curve(name: str, own: np.ndarray, score: np.ndarray, right: np.ndarray, objects: int) -> tuple[Quality, ...]:
    found = []
    for threshold in THRESHOLDS:
        use = own & (score >= threshold)
        hits, boxes = int((right & use).sum()), int(use.sum())
        found.append(Quality(name, threshold, hits / boxes if boxes else None, hits / objects if objects else None))
    return tuple(found)
