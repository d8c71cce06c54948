"""Labels made anew while a real student learns: they are learned from, kept over a kill, and changed by nobody else."""

import dataclasses
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, State
from da_kd.events import Event, Figures, Job, Note
from da_kd.recipe import Distill, Fuse, Predict, Student
from da_kd.recipe import Refresh as Wanted
from da_kd.stages import distill
from da_kd.stages.distill.relabel import Relabel
from da_kd.stages.fuse.thresholds import Cuts
from da_kd.training import Refresh, Setting, train

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclasses.dataclass(frozen=True)
class Only:
    """Leaves kept boxes of one class alone, whatever the student says; can be told to fail, or to change nothing."""

    label: int | None

    def __call__(self, fixed: DetectionTable, said: DetectionTable, job: Job) -> DetectionTable:
        assert said.key == fixed.key
        assert said.vocabulary == fixed.vocabulary
        mine = np.ones(len(fixed.label), bool) if self.label is None else fixed.label == self.label
        return dataclasses.replace(fixed, state=np.where(mine, State.KEPT, State.DROPPED).astype(np.int8))


def every_epoch(label: int | None, start: float = 0.0) -> Refresh:
    return Refresh(1, start, 0.02, 4, Only(label))


def test_it_is_due_after_its_share_of_the_schedule_and_then_every_so_many_epochs() -> None:
    rule = Refresh(5, 0.3, 0.02, 4, Only(0))
    assert [rule.last_due(done, 20) for done in (0, 5, 6, 10, 11, 19)] == [0, 0, 6, 6, 11, 16]
    assert [Refresh(2, 0.0, 0.02, 4, Only(0)).last_due(done, 4) for done in range(4)] == [0, 1, 1, 3]


def test_the_next_epochs_learn_from_the_new_labels(task, cells: ImageSet, tmp_path: Path, weights_of) -> None:
    made, told = {}, {}
    for name, refresh in {"same": every_epoch(None, 0.5), "cells": every_epoch(0, 0.5)}.items():
        events: list[Event] = []
        (tmp_path / name).mkdir()
        train(dataclasses.replace(task(epochs=2), refresh=refresh), tmp_path / name, Job(events.append))
        made[name] = weights_of(tmp_path / name / "weights.pt")
        told[name] = [event.text for event in events if isinstance(event, Note)]
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["training.json", "weights.pt"]
    kept, left = len(cells.table.label), int((cells.table.label == 0).sum())
    assert told["same"] == [f"Epoch 1: relabelled 10 images, {kept:,} boxes kept (+0)."]
    assert told["cells"] == [f"Epoch 1: relabelled 10 images, {left:,} boxes kept ({left - kept:+,})."]
    assert made["same"] != made["cells"]


KILLED = """
import os, signal, sys, pickle
from pathlib import Path
from da_kd.events import Job, Figures
from da_kd.training import train
def die(event):
    if isinstance(event, Figures) and event.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Job(die))
"""


def test_a_killed_training_takes_its_labels_up_again(task, tmp_path: Path) -> None:
    rule = Refresh(5, 0.2, 0.02, 4, Relabel(Wanted(), _cuts(), 0.55))
    wanted = dataclasses.replace(task(epochs=4), refresh=rule)
    (tmp_path / "task").write_bytes(pickle.dumps(wanted))
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "task"), str(folder)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    (stored,) = folder.glob("labels-refreshed-*")
    assert stored.name == "labels-refreshed-1.parquet"
    before, seen = stored.stat().st_mtime_ns, []

    def watch(event: Event) -> None:
        if isinstance(event, Note):
            seen.append(event.text)
        if isinstance(event, Figures):
            assert stored.stat().st_mtime_ns == before

    result = train(wanted, folder, Job(watch))
    assert result.resumed_from == (2,)
    assert not [text for text in seen if "relabelled" in text]  # the labels of epoch 1 were there
    assert not list(folder.glob("labels-refreshed-*"))


def _cuts() -> Cuts:
    return Cuts((0.5,) * 3, (0.1,) * 3, (False,) * 3, {})


def test_the_recipes_refresh_reaches_the_student_under_its_guard(cells: ImageSet, tmp_path: Path, weights_of) -> None:
    made, told = [], []
    for name, lost in {"free": 0.0, "guarded": 0.5}.items():
        config = Distill(epochs=2, batch=5, refresh=Wanted(every=1, start=0.0, share=0.99, lost=lost))
        refresh = distill.refresh_of(config, Fuse(), _cuts(), Predict(), {})
        events: list[Event] = []
        (tmp_path / name).mkdir()
        student, setting = Student(width=0.125, imgsz=64), Setting(0, "cpu")
        distill.run(student, config, cells, None, setting, tmp_path / name, Job(events.append), refresh)
        made.append(weights_of(tmp_path / name / "weights.pt"))
        told.append([event.text for event in events if isinstance(event, Note)])
    # A student of one epoch sees next to nothing; what it does not see it would unlearn.
    assert told[0][0] == f"Epoch 1: relabelled 10 images, 0 boxes kept (-{len(cells.table.label)})."
    assert "keeps its fixed labels: the student would leave 0 boxes where they hold" in told[1][0]
    assert made[0] != made[1]
    learned = f"The student learned from 10 images, {len(cells.table.label)} pseudo labels"
    assert [texts[-1] for texts in told] == [f"{learned} (at first; made anew as it learned), 4 steps."] * 2
    assert sorted(path.name for path in (tmp_path / "free").iterdir()) == ["training.json", "weights.pt"]


def test_processes_that_load_images_are_told(task, cells: ImageSet) -> None:
    from ultralytics.cfg import get_cfg
    from ultralytics.data.build import build_dataloader

    from da_kd.training.signals import Lesson
    from da_kd.training.table_data import TableDataset

    data = {"names": dict(enumerate(cells.vocabulary)), "nc": 3, "channels": 3, "da_kd": Lesson(cells)}
    plain = get_cfg(overrides={"mosaic": 0.0})
    dataset = TableDataset(img_path="", imgsz=64, batch_size=5, augment=True, hyp=plain, data=data, task="detect")
    loader = build_dataloader(dataset, batch=5, workers=2, shuffle=False)
    first = sum(len(batch["cls"]) for batch in loader)
    table = Only(0)(cells.table, cells.table, Job())
    dataset.teach(dataclasses.replace(data["da_kd"], images=dataclasses.replace(cells, table=table)))
    loader.reset()
    second = torch_cat([batch["cls"] for batch in loader])
    loader.close()
    assert len(second) < first
    assert set(second.flatten().tolist()) == {0.0}


def torch_cat(parts):
    import torch

    return torch.cat(parts)
