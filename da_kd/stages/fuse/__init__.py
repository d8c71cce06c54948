"""*fuse*: maps every teacher's classes into the recipe's, merges the teachers, and sorts boxes by threshold.

Takes seconds and never runs a teacher; every score is kept, and a threshold only sets a box's state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray
from da_kd.detections import BoolArray, Detections, DetectionTable, Int32, State, Vocabulary
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.merging.merge import MergedPool, Panel, join, merge_pool
from da_kd.recipe import Fuse, Teacher
from da_kd.stages.fuse.classes import ClassMap, check_all_seen, class_map
from da_kd.stages.fuse.pool import pour, read_by, slices
from da_kd.stages.fuse.sample import Sample

__all__ = ["Sample", "fuse", "run", "states", "thresholds"]

Int8 = npt.NDArray[np.int8]


def run(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    config: Fuse,
    vocabulary: Vocabulary,
    out: Path,
    job: Job,
    samples: Mapping[str, Sample] | None = None,
) -> None:
    """Write ``labels.parquet`` into ``out``: pseudo labels with scores, agreement and states.

    Args:
        teachers: the recipe's teachers, in order.
        predictions: by teacher name, what it said, over the same images.
        config: how to merge and where the thresholds lie.
        vocabulary: the recipe's classes.
        out: the output folder.
        job: where progress goes.
        samples: by name, labelled images that the same teachers were run over.

    Raises:
        DataError: a class map does not fit, no teacher can see a class, or the tables are of different images.
    """
    maps = {t.name: class_map(t.name, predictions[t.name].vocabulary, vocabulary, t.classes) for t in teachers}
    check_all_seen(maps, vocabulary)
    for name, item in maps.items():
        if item.left_out:
            job.note(f"Teacher '{name}': classes that go nowhere: {', '.join(item.left_out[:10])}.")
    table = fuse(teachers, predictions, maps, config, vocabulary, job)
    table.write(out / "labels.parquet")
    counts = {state: int((table.state == state).sum()) for state in State}
    job.note(
        f"{len(table)} images: {counts[State.KEPT]} boxes kept, {counts[State.UNCERTAIN]} uncertain, "
        f"{counts[State.DROPPED]} dropped."
    )


def fuse(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    maps: Mapping[str, ClassMap],
    config: Fuse,
    vocabulary: Vocabulary,
    job: Job,
) -> DetectionTable:
    """Return the fused pseudo labels; see :func:`run`."""
    tables = [predictions[teacher.name] for teacher in teachers]
    first = tables[0]
    if any(table.key != first.key for table in tables):
        raise DataError("The teachers' predictions are of different images; run *predict* for all of them again.")
    ordered = [maps[teacher.name] for teacher in teachers]
    knows, read = np.array([item.able for item in ordered], bool), read_by(tables)
    weight = np.array(
        [[teacher.class_weights.get(name, teacher.weight) for name in vocabulary] for teacher in teachers]
    )
    parts: list[MergedPool] = []
    for images in slices(tables):
        job.progress("merging", images.start, len(first), "images")
        job.check()
        panel, boxes = Panel(knows, weight, read[images]), pour(tables, ordered, images)
        merged = merge_pool(panel, boxes, config.method, config.iou, config.repeats)
        parts.append(dataclasses.replace(merged, image=merged.image + images.start))
    job.progress("merging", len(first), len(first), "images")
    return _table(first, read, read @ knows, parts, config, tuple(teacher.name for teacher in teachers), vocabulary)


def thresholds(given: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Return one threshold per class, the default where a class has none of its own."""
    return {name: given.get(name, given["default"]) for name in vocabulary}


def states(boxes: Detections, config: Fuse) -> Int8:
    """Return the (N,) int8 state of every box: kept at or above ``keep``, dropped below ``drop``, else uncertain."""
    return _states(boxes.score, boxes.label, boxes.vocabulary, config)


def _states(score: FloatArray, label: Int32, vocabulary: Vocabulary, config: Fuse) -> Int8:
    keep = np.array(list(thresholds(config.keep, vocabulary).values()), np.float32)[label]
    drop = np.array(list(thresholds(config.drop, vocabulary).values()), np.float32)[label]
    state = np.where(score >= keep, State.KEPT, np.where(score < drop, State.DROPPED, State.UNCERTAIN))
    return state.astype(np.int8)


def _alone(state: Int8, merged: MergedPool, rule: str) -> Int8:
    """Return the states after the rule for boxes that one of several able teachers saw."""
    lonely = (merged.able > 1) & (merged.saw == 1)
    if rule == "drop":
        return np.where(lonely, np.int8(State.DROPPED), state)
    if rule == "demote":
        return np.where(lonely & (state == State.KEPT), np.int8(State.UNCERTAIN), state)
    return state


def _table(
    first: DetectionTable,
    read: BoolArray,
    searched: BoolArray,
    parts: Sequence[MergedPool],
    config: Fuse,
    names: tuple[str, ...],
    vocabulary: Vocabulary,
) -> DetectionTable:
    """Return the table of all images' merged boxes."""
    anybody = (read.sum(axis=1) > 0).tolist()
    merged = join(parts, len(names))
    state = _states(merged.score, merged.label, vocabulary, config)
    return DetectionTable(
        vocabulary=vocabulary,
        key=first.key,
        sha=first.sha,
        size=first.size,
        reason=tuple("" if good else reason for good, reason in zip(anybody, first.reason, strict=True)),
        searched=searched,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(merged.image, minlength=len(first)))]).astype(np.int64),
        xyxy=merged.xyxy,
        score=merged.score,
        label=merged.label,
        state=_alone(state, merged, config.lonely),
        agreement=merged.agreement,
        protected=np.zeros(len(merged.score), bool),
        teachers=names,
        teacher_score=merged.teacher_score,
    )
