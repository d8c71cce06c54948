"""What *fuse* finds out before it sorts boxes: curves for scores, and thresholds. Knows what labels may be used for it.

Labelled images are used only if no teacher learned from them, and only if the recipe asks; how many is written down.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from da_kd.boxes import FloatArray, IntArray
from da_kd.detections import BoolArray, DetectionTable, State, Vocabulary
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Fuse
from da_kd.stages.fuse.calibration import Calibration, calibrated
from da_kd.stages.fuse.classes import ClassMap
from da_kd.stages.fuse.judged import judge
from da_kd.stages.fuse.merged import Fused
from da_kd.stages.fuse.pool import pour, read_by
from da_kd.stages.fuse.sample import Sample
from da_kd.stages.fuse.thresholds import (
    Cuts,
    Weights,
    by_f_beta,
    by_quantile,
    by_source_distribution,
    computed,
    fixed,
)


def calibrate(
    samples: Mapping[str, Sample], maps: Mapping[str, ClassMap], config: Fuse, job: Job
) -> tuple[dict[str, Calibration], dict[str, Any]]:
    """Return by teacher what its scores become, and what is to be written of it.

    Raises:
        DataError: there are no labelled images to fit on, or a teacher was not run over them.
    """
    if _waits(config.fit_on == "audit", samples, "fuse.calibrate", job):
        return {}, {"method": "none", "labels": None, "teachers": {}}
    sample = _held_out(samples, config, "fuse.calibrate")
    found: dict[str, Calibration] = {}
    for name, mapping in maps.items():
        table = _said(sample, name, "fuse.calibrate")
        searched = read_by([table]) & np.array(mapping.able, bool)
        found[name] = calibrated(judge(sample.truth, searched, pour([table], [mapping], slice(0, len(table)))))
        _tell(name, found[name], mapping, sample, job)
    teachers = {name: item.as_json(maps[name].target) for name, item in found.items()}
    return found, {"method": config.calibrate, "labels": _used(sample), "teachers": teachers}


@dataclass(frozen=True)
class Scores:
    """What the merged boxes of a set score.

    Attributes:
        by_class: for each of C classes the (N,) float32 scores of its boxes that may be kept.
        images: (C,) how many images were searched for each class.
    """

    by_class: tuple[FloatArray, ...]
    images: IntArray


def scores_of(parts: Iterable[Fused], config: Fuse, classes: int) -> Scores:
    """Return what the merged boxes of a set score that comes in parts; of all else nothing is kept."""
    columns, images = [array("f") for _ in range(classes)], np.zeros(classes, np.int64)
    for part in parts:
        boxes = part.boxes.pick(_may_be_kept(part, config))
        for label in np.unique(boxes.label).tolist():
            columns[label].frombytes(boxes.score[boxes.label == label].tobytes())
        images += part.searched.sum(axis=0)
    return Scores(tuple(np.frombuffer(column, np.float32) for column in columns), images)


def choose(
    voices: Sequence[str],
    vocabulary: Vocabulary,
    target: Callable[[], Scores],
    samples: Mapping[str, Sample],
    config: Fuse,
    job: Job,
    again: Callable[[Sample], Fused],
) -> tuple[Cuts, dict[str, Any]]:
    """Return the thresholds, and what is to be written of them.

    Args:
        voices: the teachers' names.
        vocabulary: the recipe's classes.
        target: says what the merged boxes of the target score; asked only where that decides.
        samples: labelled images by name.
        config: how to choose.
        job: hears what was chosen, and for which classes nothing could be.
        again: merges what the teachers said of labelled images, just as was done on the target.

    Raises:
        DataError: there are no labelled images to choose on.
    """
    how = config.thresholds
    sample: Sample | None = None
    by_audit = how.by == "audit" or (how.by == "f_beta" and config.fit_on == "audit")
    if how.by == "fixed" or _waits(by_audit, samples, "fuse.thresholds", job):
        cuts = fixed(config, vocabulary)
    elif how.by == "quantile":
        cuts = computed(by_quantile(target().by_class, how.quantile), config, vocabulary)
    elif how.by == "source_distribution":
        sample = samples.get("source_val", samples.get("source"))
        if sample is None:
            raise DataError("fuse.thresholds: 'source_distribution' needs labelled source images; add 'data.source'.")
        said = target()
        cuts = computed(by_source_distribution(said.by_class, said.images, sample.truth), config, vocabulary)
    else:
        sample = samples["audit"] if by_audit else _held_out(samples, config, "fuse.thresholds")
        for teacher in voices:
            _said(sample, teacher, "fuse.thresholds")
        theirs = again(sample)
        judged = judge(sample.truth, theirs.searched, theirs.boxes.pick(_may_be_kept(theirs, config)))
        cuts = computed(by_f_beta(judged, how.beta, _weights(sample, theirs.searched), how.slack), config, vocabulary)
    _tell_cuts(cuts, vocabulary, how.by, sample, job)
    labels = _used(sample) if sample else None
    return cuts, {"by": how.by, "labels": labels, "classes": cuts.as_json(vocabulary)}


def _may_be_kept(fused: Fused, config: Fuse) -> BoolArray:
    """Return (M,) bool: the merged boxes that no rule keeps from being kept, whatever their score."""
    return ~fused.lonely if config.lonely != "keep" else np.ones(len(fused.boxes.score), bool)


def _waits(by_audit: bool, samples: Mapping[str, Sample], key: str, job: Job) -> bool:
    """Say that there is no audit yet, where one is to be used, and return so."""
    if by_audit and "audit" not in samples:
        job.warn(
            f"{key}: no image of the audit is done yet, so nothing is learned from it now; review with "
            "'review.audit.images' above 0, mark images of the audit done, and resume the run."
        )
        return True
    return False


def _weights(sample: Sample, searched: BoolArray) -> Weights | None:
    """Return how much each labelled image counts; None for all the same."""
    if sample.weight is None:
        return None
    truth = sample.truth
    there = (truth.state == State.KEPT) & (truth.searched & searched)[truth.image_index, truth.label]
    each = np.where(there, sample.weight[truth.image_index], 0.0)
    objects = np.zeros(len(truth.vocabulary))
    np.add.at(objects, truth.label, each)
    return Weights(sample.weight, objects)


def _held_out(samples: Mapping[str, Sample], config: Fuse, key: str) -> Sample:
    """Return the labelled images that may be fitted on."""
    for name in config.fitting:
        if name in samples and samples[name].held_out:
            return samples[name]
    places = " or ".join(f"'data.{name}'" for name in config.fitting)
    raise DataError(f"{key}: needs labelled images that no teacher learned from; add {places}.")


def _said(sample: Sample, teacher: str, key: str) -> DetectionTable:
    """Return what a teacher said of labelled images."""
    if teacher not in sample.said:
        raise DataError(f"{key}: teacher '{teacher}' was not run over data.{sample.name}; leave {key} out.")
    return sample.said[teacher]


def _used(sample: Sample) -> dict[str, Any]:
    """Return whose labels were used, for the record."""
    return {"set": sample.name, "images": len(sample.truth)}


def _tell(name: str, found: Calibration, mapping: ClassMap, sample: Sample, job: Job) -> None:
    """Say how much better scores fit, and which classes had too few boxes for a curve of their own."""
    before, after = found.error
    job.note(
        f"Teacher '{name}': scores calibrated on {_words(sample)}; expected calibration error {before:.3f}, now "
        f"{after:.3f} (each half of the images by what the other half says)."
    )
    parts = list(zip(mapping.target, found.origin, found.right, mapping.able, strict=True))
    told = {
        "shift": "take the slope of all its classes",
        "pooled": "take the curve of all its classes",
        "none": "stay as they are",
    }
    for origin, what in told.items():
        few = [f"{cls} ({right} right)" for cls, kind, right, able in parts if able and kind == origin]
        if few:
            job.warn(f"Teacher '{name}': too little to go by for {', '.join(few)}; these scores {what}.")


def _tell_cuts(cuts: Cuts, vocabulary: Vocabulary, by: str, sample: Sample | None, job: Job) -> None:
    """Say which thresholds are used, and on whose labels they were chosen."""
    if by == "fixed":
        return
    on = f" on the labels of {_words(sample)}" if sample else ""
    shown = ", ".join(f"{name} {keep:.3f}" for name, keep in zip(vocabulary, cuts.keep, strict=True))
    job.note(f"Kept from, by {by}{on}: {shown}.")
    for name, why in cuts.problems.items():
        job.warn(f"Threshold of '{name}': {why}.")


def _words(sample: Sample) -> str:
    """Return what labelled images were used, as words."""
    place = "the review's audit" if sample.name == "audit" else f"data.{sample.name}"
    return f"{place} ({len(sample.truth)} images)"
