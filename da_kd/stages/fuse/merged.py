"""Many images' boxes, merged and not yet sorted by threshold; and the table of labels that thresholds make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, DetectionTable, State, Vocabulary
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.merging.merge import MergedPool, Panel, Pool, join, merge_pool
from da_kd.recipe import Fuse, Teacher
from da_kd.stages.fuse.classes import ClassMap
from da_kd.stages.fuse.coarse import regions, together
from da_kd.stages.fuse.pool import Curve, pour, pour_coarse, read_by, slices
from da_kd.stages.fuse.thresholds import Cuts, Int8
from da_kd.stages.predict import Predictions

_APART = "The teachers' predictions are of different images; run *predict* for all of them again."


@dataclass(frozen=True)
class Fused:
    """What T teachers together say of I images, in C classes.

    Attributes:
        images: a table of the images; its boxes are of no meaning here.
        teachers: their names.
        vocabulary: the classes.
        read: (I, T) bool, the images each teacher could read.
        searched: (I, C) bool, the classes that somebody looked for in each image.
        boxes: merged boxes, with every score.
        coarse: boxes that may be of one of several classes; ``image`` counts through.
        may: for each of these, (N, C) bool, the classes it may be.
        panel: which classes each teacher has coarse boxes for.
    """

    images: DetectionTable
    teachers: tuple[str, ...]
    vocabulary: Vocabulary
    read: BoolArray
    searched: BoolArray
    boxes: MergedPool
    coarse: Pool
    may: BoolArray
    panel: Panel

    @property
    def lonely(self) -> BoolArray:
        """(M,) bool: the merged boxes that only one of several able teachers saw."""
        lonely: BoolArray = (self.boxes.able > 1) & (self.boxes.saw == 1)
        return lonely


def in_parts(
    predictions: Mapping[str, Predictions], at_once: int, task: str, job: Job
) -> Iterator[dict[str, DetectionTable]]:
    """Yield, by teacher name, what was said of so many images at a time, in order; once at least.

    Args:
        predictions: by teacher name, what it said, over the same images.
        at_once: how many images.
        task: what the progress is of.
        job: where it goes.

    Raises:
        DataError: the teachers were not asked about as many images.
    """
    counts = {len(said) for said in predictions.values()}
    if len(counts) > 1:
        raise DataError(_APART)
    total = counts.pop()
    for begin in range(0, max(total, 1), at_once):
        job.progress(task, begin, total, "images")
        job.check()
        images = slice(begin, min(begin + at_once, total))
        yield {name: said.part(images) for name, said in predictions.items()}
    job.progress(task, total, total, "images")


def merge_all(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    maps: Mapping[str, ClassMap],
    config: Fuse,
    vocabulary: Vocabulary,
    job: Job,
    curves: Mapping[str, Curve] | None = None,
) -> Fused:
    """Merge what the teachers say, slice by slice of the images.

    Args:
        teachers: the recipe's teachers, in order.
        predictions: by teacher name, what it said, over the same images.
        maps: by teacher name, where its classes go.
        config: how to merge.
        vocabulary: the recipe's classes.
        job: where progress goes.
        curves: by teacher name, what its scores become before they are merged; None leaves them as they are.

    Raises:
        DataError: the tables are of different images.
    """
    tables = [predictions[teacher.name] for teacher in teachers]
    first = tables[0]
    if any(table.key != first.key for table in tables):
        raise DataError(_APART)
    ordered = [maps[teacher.name] for teacher in teachers]
    bends = [curves[teacher.name] for teacher in teachers] if curves else []
    weight = np.array(
        [[teacher.class_weights.get(name, teacher.weight) for name in vocabulary] for teacher in teachers]
    )
    knows, read = np.array([item.able for item in ordered], bool), read_by(tables)
    parts: list[MergedPool] = []
    rest: list[tuple[Pool, BoolArray]] = []
    for images in slices(tables):
        job.progress("merging", images.start, len(first), "images")
        job.check()
        panel, boxes = Panel(knows, weight, read[images]), pour(tables, ordered, images, bends)
        merged = merge_pool(panel, boxes, config.method, config.iou, config.repeats)
        parts.append(dataclasses.replace(merged, image=merged.image + images.start))
        coarse, may = pour_coarse(tables, ordered, images)
        rest.append((dataclasses.replace(coarse, image=coarse.image + images.start), may))
    job.progress("merging", len(first), len(first), "images")
    unclear = np.array([item.may_be.any(axis=0) for item in ordered], bool)
    return Fused(
        images=first,
        teachers=tuple(teacher.name for teacher in teachers),
        vocabulary=vocabulary,
        read=read,
        searched=read @ np.array([item.searched for item in ordered], bool),
        boxes=join(parts, len(teachers)),
        coarse=_joined([pool for pool, _ in rest]),
        may=np.concatenate([np.zeros((0, len(vocabulary)), bool), *(may for _, may in rest)]),
        panel=Panel(unclear, weight, read),
    )


def labels_of(fused: Fused, cuts: Cuts, config: Fuse) -> DetectionTable:
    """Return the table of pseudo labels: every box with the state that the thresholds and the lonely rule give it."""
    boxes = fused.boxes
    state = _alone(cuts.states(boxes.score, boxes.label), fused.lonely, config.lonely)
    if len(fused.coarse.score):
        more = regions(fused.coarse, fused.may, fused.panel, boxes, state, config.iou, cuts)
        boxes, state = together(boxes, state, *more)
    first = fused.images
    anybody = np.asarray(fused.read.any(axis=1)).tolist()
    counts: IntArray = np.bincount(boxes.image, minlength=len(first))
    return DetectionTable(
        vocabulary=fused.vocabulary,
        key=first.key,
        sha=first.sha,
        size=first.size,
        reason=tuple("" if good else reason for good, reason in zip(anybody, first.reason, strict=True)),
        searched=fused.searched,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        xyxy=boxes.xyxy,
        score=boxes.score,
        label=boxes.label,
        state=state,
        agreement=boxes.agreement,
        protected=np.zeros(len(boxes.score), bool),
        teachers=fused.teachers,
        teacher_score=boxes.teacher_score,
    )


def _alone(state: Int8, lonely: BoolArray, rule: str) -> Int8:
    """Return the states after the rule for boxes that one of several able teachers saw."""
    if rule == "drop":
        return np.where(lonely, np.int8(State.DROPPED), state)
    if rule == "demote":
        return np.where(lonely & (state == State.KEPT), np.int8(State.UNCERTAIN), state)
    return state


def _joined(pools: Sequence[Pool]) -> Pool:
    """Return pools, the one after the other, as one."""
    nothing = Pool(np.zeros((0, 4)), np.zeros(0), *(np.zeros(0, np.int64) for _ in range(3)))
    names = [field.name for field in dataclasses.fields(Pool)]
    return Pool(*(np.concatenate([getattr(pool, name) for pool in (nothing, *pools)]) for name in names))
