"""*fuse*: maps every teacher's classes into the recipe's, merges the teachers, and sorts boxes by threshold.

Takes seconds and never runs a teacher; every score is kept, and a threshold only sets a box's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, Vocabulary, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Fuse, Teacher
from da_kd.stages.fuse.classes import ClassMap, check_all_seen, class_map
from da_kd.stages.fuse.merge import Merged, Voice, merge

_JOIN = 0.7  # overlap from which two boxes of one teacher are one object after its classes were joined


def run(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    config: Fuse,
    vocabulary: Vocabulary,
    out: Path,
    job: Job,
) -> None:
    """Write ``labels.parquet`` into ``out``: pseudo labels with scores, agreement and states.

    Args:
        teachers: the recipe's teachers, in order.
        predictions: by teacher name, what it said, over the same images.
        config: how to merge and where the thresholds lie.
        vocabulary: the recipe's classes.
        out: the output folder.
        job: where progress goes.

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
    merged: dict[str, Merged] = {}
    searched = np.zeros((len(first), len(vocabulary)), bool)
    for index, key in job.track(list(enumerate(first.key)), "merging", unit="images"):
        voices = [
            Voice(maps[teacher.name].apply(table.at(index), _JOIN), maps[teacher.name].able, teacher.weight)
            for teacher, table in zip(teachers, tables, strict=True)
            if table.searched[index].any()
        ]
        if voices:
            merged[key] = _all_teachers(merge(vocabulary, voices, config.method, config.iou), tables, index)
            searched[index] = np.any([voice.able for voice in voices], axis=0)
    return _table(first, merged, searched, config, vocabulary, tuple(teacher.name for teacher in teachers))


def thresholds(given: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Return one threshold per class, the default where a class has none of its own."""
    return {name: given.get(name, given["default"]) for name in vocabulary}


def states(boxes: Detections, config: Fuse) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """Return the (N,) int8 state of every box: kept at or above ``keep``, dropped below ``drop``, else uncertain."""
    keep = np.array(list(thresholds(config.keep, boxes.vocabulary).values()), np.float32)[boxes.label]
    drop = np.array(list(thresholds(config.drop, boxes.vocabulary).values()), np.float32)[boxes.label]
    state = np.where(boxes.score >= keep, State.KEPT, np.where(boxes.score < drop, State.DROPPED, State.UNCERTAIN))
    return state.astype(np.int8)


def _all_teachers(merged: Merged, tables: Sequence[DetectionTable], index: int) -> Merged:
    """Return the merged boxes with a column for every teacher, also those that could not read the image."""
    spoke = [bool(table.searched[index].any()) for table in tables]
    if all(spoke):
        return merged
    said = np.full((len(merged.boxes), len(tables)), np.nan, np.float32)
    said[:, np.flatnonzero(spoke)] = merged.teacher_score
    return Merged(merged.boxes, merged.agreement, said)


def _table(
    first: DetectionTable,
    merged: Mapping[str, Merged],
    searched: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    config: Fuse,
    vocabulary: Vocabulary,
    names: tuple[str, ...],
) -> DetectionTable:
    """Return the table of all images' merged boxes."""
    import dataclasses

    records = [
        ImageRecord(
            key, first.sha[i], int(first.size[i, 0]), int(first.size[i, 1]), "" if key in merged else first.reason[i]
        )
        for i, key in enumerate(first.key)
    ]
    found = {key: item.boxes for key, item in merged.items()}
    state = {key: states(item.boxes, config) for key, item in merged.items()}
    table = table_of(vocabulary, records, found, state=state)
    parts = list(merged.values())
    empty = np.zeros((0, len(names)), np.float32)
    return dataclasses.replace(
        table,
        searched=searched,
        agreement=np.concatenate([np.zeros(0, np.float32), *(part.agreement for part in parts)]),
        teachers=names,
        teacher_score=np.concatenate([empty, *(part.teacher_score for part in parts)]),
    )
