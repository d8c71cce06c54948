"""The guard: do pseudo labels look like what the same teachers say at home, or have they collapsed?

Compares what was fused on the target with what the same teachers, thresholds and rules make of labelled source images,
for the whole set and class by class. Knows tables and the recipe's figures; must not know a teacher, an image, a run,
nor any label of the target.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from da_kd.detections import BoolArray, DetectionTable, State, Vocabulary
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.merging.merge import Pool
from da_kd.recipe import Guard
from da_kd.stages.fuse.guard_figures import NOTHING, Figures, Side, count_boxes, kolmogorov, variation
from da_kd.stages.fuse.judged import judge as compare
from da_kd.stages.fuse.sample import Sample
from da_kd.store import write_json

FEWEST = 10  # images, or objects to be expected in them; fewer say nothing
MOST_EMPTY = 0.5  # share of images without a kept box, where no source tells what is usual
LEAST_F1 = 0.3  # at home; labels that are worse there cannot be good elsewhere
COLLAPSED = ("lost", "exploded")
FILE = "guard.json"


@dataclass(frozen=True)
class Home:
    """Labelled source images, and the pseudo labels that the same teachers, thresholds and rules make of them."""

    sample: Sample
    labels: DetectionTable

    @property
    def f1(self) -> float:
        """F1 of the kept boxes against the truth, at an IoU of 0.5; 1 where there is neither box nor object."""
        boxes = self.labels.pick_boxes(self.labels.state == State.KEPT)
        xyxy, score, label = boxes.xyxy.astype(np.float64), boxes.score.astype(np.float64), boxes.label.astype(np.int64)
        pool = Pool(xyxy, score, boxes.image_index, label, np.zeros_like(label))
        found = compare(self.sample.truth, boxes.searched, pool)
        sides = len(found.right) + int(found.objects.sum())
        return 2 * int(found.right.sum()) / sides if sides else 1.0


@dataclass(frozen=True)
class Pair:
    """One figure at home and on the target, None where it is undefined."""

    source: float | None
    target: float | None


@dataclass(frozen=True)
class ClassVerdict:
    """What became of one class.

    Attributes:
        name: the class.
        verdict: ``lost``, ``exploded``, ``fine``, or ``unknown`` where it cannot be judged.
        reason: why, in words; empty for what is fine.
        labelled: objects an image in the source's labels, None without a source.
        rate: kept boxes an image.
        score: their mean score.
        sure: the share of the teachers' boxes that is kept.
        agreement: the mean share of the able teachers that saw a kept box.
    """

    name: str
    verdict: Literal["fine", "lost", "exploded", "unknown"]
    reason: str
    labelled: float | None
    rate: Pair
    score: Pair
    sure: Pair
    agreement: Pair


@dataclass(frozen=True)
class Verdict:
    """What the guard found; stored as ``guard.json`` beside the labels.

    Attributes:
        compared_with: the set that stood for home, None without one.
        verdict: of the set as a whole.
        reasons: a sentence for everything that looks broken.
        figures: of the set: ``boxes_per_image``, ``share_kept`` of all the teachers' boxes, the mean ``score`` and
            ``agreement`` of kept ones, and the share of ``empty_images``.
        distances: between home and target, in [0, 1]: ``class_histogram`` (total variation) and ``scores``
            (Kolmogorov-Smirnov); None without a home.
        classes: one verdict a class.
        demoted: the classes that are no longer searched for.
    """

    compared_with: str | None
    verdict: Literal["fine", "broken"]
    reasons: tuple[str, ...]
    figures: Mapping[str, Pair]
    distances: Mapping[str, float | None]
    classes: tuple[ClassVerdict, ...]
    demoted: tuple[str, ...] = ()

    @property
    def collapsed(self) -> tuple[str, ...]:
        """The classes that are lost or exploded."""
        return tuple(item.name for item in self.classes if item.verdict in COLLAPSED)

    def write(self, folder: Path) -> None:
        """Write ``guard.json`` into ``folder``."""
        write_json(folder / FILE, {"schema": 1, **asdict(self)})


def guard(target: Side, vocabulary: Vocabulary, home: Home | None, config: Guard, job: Job) -> Verdict:
    """Judge fused labels and say what looks broken; ``demoted`` names the classes that :func:`demote` is to take.

    Args:
        target: the target's labels, counted as they were fused.
        vocabulary: their classes.
        home: see :func:`judge`.
        config: the recipe's section; ``off`` is the caller's business.
        job: hears a sentence for everything that looks broken.

    Raises:
        DataError: the set as a whole looks broken, and the recipe refuses such a set.
    """
    verdict = judge_counts(target, vocabulary, home, config)
    if verdict.verdict == "broken":
        found = f"The pseudo labels look broken: {'; '.join(verdict.reasons)}."
        if config.mode == "refuse":
            raise DataError(
                f"{found} Adapt the teachers to the target ('adapt: batch_norm'), take others, or lower 'fuse.keep'; "
                "'fuse.guard.mode: warn' goes on with these labels."
            )
        job.warn(found)
    if config.demote:
        verdict = dataclasses.replace(verdict, demoted=verdict.collapsed)
    for item in verdict.classes:
        if item.verdict in COLLAPSED:
            teaches = "it is no longer searched for" if item.name in verdict.demoted else "silence about it will teach"
            job.warn(f"Class '{item.name}' is {item.verdict}: {item.reason}; {teaches}. Review it first.")
    return verdict


def judge(labels: DetectionTable, home: Home | None, config: Guard) -> Verdict:
    """Return what the guard thinks of fused labels, all at hand; see :func:`judge_counts`."""
    return judge_counts(count_boxes(labels), labels.vocabulary, home, config)


def judge_counts(target: Side, vocabulary: Vocabulary, home: Home | None, config: Guard) -> Verdict:
    """Return what the guard thinks of fused labels.

    Args:
        target: the target's, counted.
        vocabulary: their classes.
        home: the same teachers on labelled source images; None, or fewer than ten images, are nothing to compare with.
        config: the figures beyond which labels count as collapsed.
    """
    if home is not None and len(home.labels) < FEWEST:
        home = None
    source, truth = (count_boxes(home.labels), count_boxes(home.sample.truth)) if home else (None, None)
    own, other = target.figures(), source.figures() if source else NOTHING
    classes = tuple(_class(name, i, target, source, truth, config) for i, name in enumerate(vocabulary))
    if target.total < FEWEST:
        reasons = []
    elif truth is None or source is None:
        reasons = _alone(own, target.empty)
    else:
        reasons = _against_home(own, other, float(truth.rate.sum()), config) + _at_home(home)
    figures = {
        "boxes_per_image": Pair(other["rate"], own["rate"]),
        "share_kept": Pair(other["sure"], own["sure"]),
        "score": Pair(other["score"], own["score"]),
        "empty_images": Pair(source.empty if source else None, target.empty),
        "agreement": Pair(other["agreement"], own["agreement"]),
    }
    distances = {
        "class_histogram": variation(source.rate, target.rate) if source else None,
        "scores": kolmogorov(source.scores, target.scores) if source else None,
    }
    name = home.sample.name if home else None
    return Verdict(name, "broken" if reasons else "fine", tuple(reasons), figures, distances, classes)


def demote(labels: DetectionTable, verdict: Verdict) -> tuple[DetectionTable, Verdict]:
    """Return labels that no longer count silence about a collapsed class as background, and the verdict saying so.

    Any part of the labels that the verdict is about will do.

    A lost or exploded class is not searched for on any image, and its kept boxes become uncertain: of an exploded class
    most must be wrong, and a few boxes of a lost one, with nothing that says where it is not, teach a student to see it
    everywhere. What a person protected stays as it is.
    """
    collapsed = np.array([name in verdict.collapsed for name in labels.vocabulary])
    doubtful: BoolArray = collapsed[labels.label] & (labels.state == State.KEPT) & ~labels.protected
    state = np.where(doubtful, State.UNCERTAIN, labels.state).astype(np.int8)
    searched: BoolArray = labels.searched & ~collapsed
    after = dataclasses.replace(labels, searched=searched, state=state)
    return after, dataclasses.replace(verdict, demoted=verdict.collapsed)


def read_verdict(folder: Path) -> dict[str, Any] | None:
    """Return what :meth:`Verdict.write` wrote into a folder, None where the guard was off.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"Expected the guard's verdict in {path}; it cannot be read ({error}); fuse again.") from error
    return tree


def _class(name: str, index: int, target: Side, source: Side | None, truth: Side | None, config: Guard) -> ClassVerdict:
    """Return the verdict about one class."""
    own, other = target.figures(index), source.figures(index) if source else NOTHING
    labelled = float(truth.rate[index]) if truth is not None and truth.kept[index] >= FEWEST else None
    pairs = (Pair(other[key], own[key]) for key in ("rate", "score", "sure", "agreement"))
    return ClassVerdict(name, *_fate(float(target.images[index]), own, other, labelled, config), labelled, *pairs)


def _fate(
    images: float, own: Figures, other: Figures, labelled: float | None, config: Guard
) -> tuple[Literal["fine", "lost", "exploded", "unknown"], str]:
    """Return what became of a class on so many target images, and why."""
    if labelled is None:
        return "unknown", "too few labelled objects of it at home to be judged"
    if not images:
        return "unknown", "no teacher looked for it"
    rate, prior = own["rate"] or 0.0, max(labelled, other["rate"] or 0.0)
    compared = (
        f"{rate:.3g} kept boxes an image; at home {other['rate'] or 0:.3g} where there are {labelled:.3g} objects"
    )
    if rate > config.exploded * prior and rate * images >= FEWEST:
        return "exploded", compared
    if prior * images < FEWEST:
        return "unknown", f"{compared}; too few to be judged"
    if rate < config.lost * prior:
        return "lost", compared
    return "fine", ""


def _against_home(own: Figures, other: Figures, labelled: float, config: Guard) -> list[str]:
    """Return what looks broken in the set as a whole."""
    reasons, rate, home = [], own["rate"] or 0.0, other["rate"] or 0.0
    prior = max(labelled, home)
    if own["sure"] is not None and other["sure"] and own["sure"] < config.fading * other["sure"]:
        reasons.append(
            f"the teachers keep {own['sure']:.1%} of what they see, and {other['sure']:.1%} at home: they guess"
        )
    if rate < config.thin * home:
        reasons.append(f"an image has {rate:.3g} kept boxes, and {home:.3g} at home")
    if rate > config.exploded * prior:
        reasons.append(f"an image has {rate:.3g} kept boxes, and no more than {prior:.3g} at home")
    return reasons


def _at_home(home: Home | None) -> list[str]:
    """Return what is wrong where the truth is known."""
    if home is None or not home.sample.truth.searched.any() or home.f1 >= LEAST_F1:
        return []
    return [f"where the truth is known, at home, their F1 is {home.f1:.2f}: look at thresholds and class maps"]


def _alone(own: Figures, empty: float) -> list[str]:
    """Return what looks broken where there is nothing to compare with."""
    if empty > MOST_EMPTY:
        return [f"{empty:.0%} of the images have no kept box"]
    return []
