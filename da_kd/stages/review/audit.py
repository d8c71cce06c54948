"""The audit: whole images drawn at random and labelled completely; what they say about labels and models.

The only part of a review that measures: a queue shows the worst images first, so what is found there says nothing of
the others. Here every image has a known chance to be drawn. Pure; must not know FiftyOne, a disk, nor a run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, Detections, DetectionTable, State, Vocabulary
from da_kd.errors import DataError
from da_kd.merging.matching import inside, paired
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.estimates import (
    CONFIDENCE,
    Doubles,
    Estimate,
    mean,
    more_to_halve,
    percentiles,
    resample,
    share,
)

THRESHOLDS = np.round(np.arange(0.02, 0.99, 0.02), 2)
BOOTSTRAPS = 500
_SHOWN = (State.KEPT, State.UNCERTAIN, State.DROPPED)


@dataclass(frozen=True, eq=False)
class Audited:
    """Labels on n audited images with M boxes in all, compared with the truth.

    Attributes:
        vocabulary: the C class names.
        population: how many images the n were drawn from.
        probability: (n,) float64 in (0, 1], with what probability each was drawn.
        objects: (n, C) int64, how many objects there are.
        image: (M,) int64 in [0, n).
        label: (M,) int32.
        score: (M,) float32.
        right: (M,) bool, whether the box meets an object of its own (its class, IoU at least 0.5).
        kept: (M,) bool, whether it is a pseudo label as things stand.
        right_as_kept: (M,) bool, whether it meets one where only these are looked at.
    """

    vocabulary: Vocabulary
    population: int
    probability: Doubles
    objects: npt.NDArray[np.int64]
    image: IntArray
    label: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    right: BoolArray
    kept: BoolArray
    right_as_kept: BoolArray

    def __len__(self) -> int:
        """Return the number of audited images."""
        return len(self.probability)


def compare_with_truth(
    labels: DetectionTable, truth: DetectionTable, probability: Mapping[str, float], population: int = 0
) -> Audited:
    """Compare labels with the truth on the audited images; images are matched by content, classes by name.

    The best scores choose their object first, so what a higher threshold would leave takes nothing from the rest. What
    a rule leaves uncertain, whatever its score, takes nothing from what is kept. Of copies of an image one counts.
    Boxes in ignored regions of the truth do not count, and classes that nobody looked for in an image neither.

    Args:
        labels: pseudo labels, or what a model says, of the whole set that was drawn from.
        truth: complete labels of the audited images at least.
        probability: by content hash, with what probability each audited image was drawn.
        population: how many images these were drawn from, where the labels are of fewer.

    Raises:
        DataError: the vocabularies differ, or a probability is not above 0 and at most 1.
    """
    if labels.vocabulary != truth.vocabulary:
        raise DataError(f"Expected truth in the classes {list(labels.vocabulary)}; found {list(truth.vocabulary)}.")
    if any(not 0 < value <= 1 for value in probability.values()):
        raise DataError("Expected the probabilities of audited images above 0 and at most 1; draw the audit again.")
    labels = each_once(labels)
    rows = {sha: row for row, sha in enumerate(truth.sha) if sha in probability}
    pairs = [(row, rows[sha]) for row, sha in enumerate(labels.sha) if sha in rows and not labels.reason[row]]
    parts = [_one_image(labels, truth, ours, theirs) for ours, theirs in pairs]
    counts = np.array([len(part[0]) for part in parts], np.int64)
    joined = [np.concatenate([np.zeros(0, kind), *(part[i] for part in parts)]) for i, kind in enumerate(_COLUMNS)]
    part = truth.take([theirs for _, theirs in pairs])
    use = (part.state == State.KEPT) & part.searched[part.image_index, part.label]
    objects = np.zeros((len(pairs), len(truth.vocabulary)), np.int64)
    np.add.at(objects, (part.image_index[use], part.label[use]), 1)
    chance = np.array([probability[labels.sha[ours]] for ours, _ in pairs], np.float64)
    image = np.repeat(np.arange(len(pairs)), counts)
    population = max(population, int(labels.ok.sum()), len(pairs))
    return Audited(labels.vocabulary, population, chance, objects, image, *joined)


_COLUMNS: tuple[Any, ...] = (np.int32, np.float32, bool, bool, bool)


def _one_image(labels: DetectionTable, truth: DetectionTable, ours: int, theirs: int) -> tuple[np.ndarray, ...]:
    """Return label, score, whether it is right, kept, and right among the kept, of each box that counts."""
    rows = slice(int(labels.offsets[ours]), int(labels.offsets[ours + 1]))
    use = np.isin(labels.state[rows], _SHOWN) & truth.searched[theirs][labels.label[rows]]
    boxes = Detections(labels.vocabulary, labels.xyxy[rows][use], labels.score[rows][use], labels.label[rows][use])
    right, kept = paired(truth.at(theirs), boxes), (labels.state[rows] == State.KEPT)[use]
    alone = np.zeros(len(boxes), bool)
    alone[kept] = paired(truth.at(theirs), boxes.pick(kept))
    counts = right | alone | ~inside(truth.at(theirs, (State.IGNORED, State.UNCERTAIN)), boxes)
    return boxes.label[counts], boxes.score[counts], right[counts], kept[counts], alone[counts]


@dataclass(frozen=True, eq=False)
class Curves:
    """Counts by class (all of them together last), threshold and image: (C + 1, T, n) float64.

    Attributes:
        boxes: how many boxes score at least the threshold.
        right: how many of them are right.
        objects: (C + 1, 1, n), how many objects there are.
    """

    boxes: Doubles
    right: Doubles
    objects: Doubles


def count(audited: Audited, thresholds: Doubles = THRESHOLDS) -> Curves:
    """Return the counts that every figure of the audit is made of, for (T,) rising thresholds."""
    classes, images = len(audited.vocabulary), len(audited)
    shape = (classes, len(thresholds) + 1, images)
    # A score counts for all thresholds up to the last that it reaches; they are float32 like the scores.
    reached = np.searchsorted(thresholds.astype(np.float32), audited.score, side="right")
    cell = np.ravel_multi_index((audited.label, reached, audited.image), shape)

    def curve(weight: BoolArray) -> Doubles:
        found = np.bincount(cell, weight, minlength=int(np.prod(shape))).reshape(shape)
        above: Doubles = found[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        return _with_all(above)

    return Curves(
        curve(np.ones(len(cell), bool)), curve(audited.right), _with_all(audited.objects.T[:, None].astype(np.float64))
    )


def _with_all(by_class: Doubles) -> Doubles:
    return np.concatenate([by_class, by_class.sum(axis=0, keepdims=True)])


def precision(curves: Curves, audited: Audited) -> Estimate:
    """Return (C + 1, T) the share of boxes that are right."""
    return share(curves.right, curves.boxes, audited.probability)


def recall(curves: Curves, audited: Audited) -> Estimate:
    """Return (C + 1, T) the share of objects that are found."""
    return share(curves.right, np.broadcast_to(curves.objects, curves.right.shape), audited.probability)


def best_thresholds(
    audited: Audited, beta: float = 1.0, times: int = BOOTSTRAPS, seed: int = 0
) -> tuple[Estimate, Doubles]:
    """Return the threshold of the best F-measure of each class (all together last), (C + 1,), and that F-measure.

    Of thresholds that are equally good, the middle one. The interval is the bootstrap's, of whole images. NaN where a
    class has no right box.

    Args:
        audited: labels compared with the truth.
        beta: how much more recall counts than precision.
        times: how many bootstraps.
        seed: of the bootstrap.
    """
    curves = count(audited)
    weight = 1 / audited.probability
    best, value = _best(curves, weight[None], beta)
    again, _ = _best(curves, resample(len(audited), times, seed) * weight, beta)
    low, high = percentiles(again, len(audited))
    return Estimate(best[0], low, high, np.full(len(low), float(len(audited)))), value[0]


def _best(curves: Curves, weight: Doubles, beta: float) -> tuple[Doubles, Doubles]:
    """Return (W, C + 1) best thresholds and their F-measures under each of (W, n) weights of images."""
    right, boxes = curves.right @ weight.T, curves.boxes @ weight.T  # (C + 1, T, W)
    objects = curves.objects @ weight.T
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (1 + beta**2) * right / (boxes + beta**2 * objects)
    value = np.nan_to_num(value)
    top = value.max(axis=1)  # (C + 1, W)
    good = value >= top[:, None] - 1e-12
    middle = np.array([[np.median(THRESHOLDS[column]) for column in rows.T] for rows in good])
    return np.where(top > 0, middle, np.nan).T, np.where(top > 0, top, np.nan).T


def prior(audited: Audited) -> tuple[Estimate, Estimate]:
    """Return (C + 1,) the share of each class among the objects, and how many objects an image has; all last."""
    objects = _with_all(audited.objects.T.astype(np.float64))
    whole = np.broadcast_to(objects[-1], objects.shape)
    return share(objects, whole, audited.probability), mean(objects, audited.probability)


def figures(audited: Audited, beta: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """Return all that the audit says, as a JSON object; null where nothing is known.

    Args:
        audited: labels compared with the truth.
        beta: of the F-measure that the best thresholds are chosen by.
        seed: of the bootstrap.

    Returns:
        ``images_audited``, ``images``, ``confidence``, ``thresholds`` (T), and under ``classes`` by name, and under
        ``all`` for all of them together: ``objects`` (found in the audit), ``precision`` and ``recall`` (each
        ``value``, ``low``, ``high`` of T figures), the two once more under ``as_kept`` for the boxes that are pseudo
        labels now, with ``images_to_halve`` the interval, ``best_threshold``, ``objects_per_image`` and
        ``share_of_objects``.
    """
    head = {"images_audited": len(audited), "images": audited.population, "confidence": CONFIDENCE}
    head["thresholds"] = THRESHOLDS.tolist()
    if not len(audited):
        return {**head, "classes": {}, "all": {}}
    curves = count(audited)
    kept = count(_only_kept(audited), np.zeros(1))
    sides = {"precision": precision(curves, audited), "recall": recall(curves, audited)}
    now = {"precision": precision(kept, audited), "recall": recall(kept, audited)}
    more = {name: more_to_halve(side, len(audited), audited.population) for name, side in now.items()}
    best, value = best_thresholds(audited, beta, seed=seed)
    shares, per_image = prior(audited)

    def told(at: int) -> dict[str, Any]:
        return {
            "objects": int(curves.objects[at].sum()),
            **{side: _plain(estimate.at(at)) for side, estimate in sides.items()},
            "as_kept": {
                side: {**_plain(estimate.at(at, 0)), "images_to_halve": _number_or_none(more[side][at, 0])}
                for side, estimate in now.items()
            },
            "best_threshold": {**_plain(best.at(at)), "beta": beta, "f": _number_or_none(value[at])},
            "objects_per_image": _plain(per_image.at(at)),
            "share_of_objects": _plain(shares.at(at)),
        }

    classes = {name: told(at) for at, name in enumerate(audited.vocabulary)}
    return {**head, "classes": classes, "all": told(len(classes))}


def _only_kept(audited: Audited) -> Audited:
    """Return the same with only the boxes that are pseudo labels as things stand."""
    names = ("image", "label", "score", "kept", "right_as_kept")
    columns = {name: getattr(audited, name)[audited.kept] for name in names}
    return dataclasses.replace(audited, right=columns["right_as_kept"], **columns)


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {name: _number_or_none(getattr(estimate, name)) for name in ("value", "low", "high")}


def _number_or_none(value: npt.ArrayLike) -> Any:
    """Return numbers as JSON has them, rounded to what they are worth; null for NaN."""
    if np.ndim(value):
        return [_number_or_none(item) for item in np.asarray(value)]
    number = float(np.asarray(value))
    return None if np.isnan(number) else round(number, 5)
