"""What is told of the labels a student learned from, where they were made anew on the way; nothing is trained."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.events import Event, Job, Note
from da_kd.recipe import Distill, Student
from da_kd.stages import distill
from da_kd.training import Extra, Refresh, Setting, TrainingResult


def a_set(folder: str, boxes: int) -> ImageSet:
    record = ImageRecord(f"{folder}.png", folder, 10, 10)
    found = Detections(("a",), [[1, 1, 5, 5]] * boxes, [0.5] * boxes, [0] * boxes)
    return ImageSet(Path("/data") / folder, table_of(("a",), [record], {record.key: found}))


@dataclasses.dataclass(frozen=True)
class First:
    """Keeps so many boxes."""

    count: int

    def __call__(self, fixed: DetectionTable, said: DetectionTable, job: Job) -> DetectionTable:
        state = np.where(np.arange(len(fixed.label)) < self.count, State.KEPT, State.DROPPED)
        return dataclasses.replace(fixed, state=state.astype(np.int8))


@pytest.mark.parametrize(
    ("mixed_in", "counts", "told"),
    [
        ([], [], "1 images, 5 pseudo labels, 9 steps"),
        ([], [4, 2], "1 images, 5 pseudo labels at first and 2 in the end, 9 steps"),
        ([], [2, 5], "1 images, 5 pseudo labels, 9 steps"),
        ([3], [2], "2 images, 1 of them source images, 8 boxes at first and 5 in the end, 9 steps"),
    ],
)
def test_both_numbers_are_told_where_labels_were_made_anew(tmp_path, monkeypatch, mixed_in, counts, told) -> None:
    def train(task, folder, job) -> TrainingResult:
        rule = pickle.loads(pickle.dumps(task.refresh.relabel))  # noqa: S301 - as another process has it
        for count in counts:
            rule = dataclasses.replace(rule, rule=First(count))
            rule(pseudo.table, pseudo.table, job)
        images = len(task.images.table)
        return TrainingResult(3, 9, images, len(task.images.table.label), "cpu", 1.0, (), (), None)

    monkeypatch.setattr(distill, "train", train)
    pseudo, events = a_set("p", 5), list[Event]()
    extras = [Extra("source", a_set("s", count), 1.0) for count in mixed_in]
    refresh, setting = Refresh(1, 0.0, 0.02, 4, First(0)), Setting(0, "cpu")
    wanted = (Student(), Distill(epochs=3), pseudo, None, setting, tmp_path, Job(events.append), refresh)
    distill.run(*wanted, extras=extras)
    assert [event.text for event in events if isinstance(event, Note)] == [f"The student learned from {told}."]
    assert list(tmp_path.iterdir()) == []
