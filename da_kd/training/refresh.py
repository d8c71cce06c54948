"""Labels made anew while a student learns: when they are due, who is asked, and where they are kept.

The student's averaged weights answer for a teacher (the mean teacher: Tarvainen and Valpola, 2017; for detectors across
domains, Adaptive Teacher, 2022, and RT-SFOD, 2026). Must not know how answers become labels: a callable does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from da_kd.detections import DetectionTable, State, read_table, stack
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.training.signals import Lesson

VOICE = "student"  # what the student is called among the teachers of refreshed labels

_STUDENT = "refresh.tmp.pt"

Relabel = Callable[[DetectionTable, DetectionTable, Job], DetectionTable]  # fixed labels, what the student said


@dataclass(frozen=True)
class Refresh:
    """When labels are made anew, and how.

    Attributes:
        every: epochs from one time to the next.
        start: the share of all epochs, in [0, 1], after which it is done first; at least one epoch.
        floor: the lowest score that the student is asked for.
        batch: images a forward pass.
        relabel: makes labels of the fixed ones, those that the training began with, and of what the student said of
            the same images; must be fit for pickling, and leave what is ``protected`` as it is.
    """

    every: int
    start: float
    floor: float
    batch: int
    relabel: Relabel

    def last_due(self, done: int, epochs: int) -> int:
        """Return after which epoch labels were last to be made, when ``done`` of ``epochs`` are over; 0 for never."""
        first = max(1, math.ceil(self.start * epochs - 1e-9))  # 0.55 * 100 is a little more than 55
        return done - (done - first) % self.every if done >= first else 0


def refresh_labels(refresh: Refresh, fixed: Lesson, epoch: int, device: str, folder: Path, job: Job) -> None:
    """Write the labels that follow an epoch into a training's folder, unless they are there; see :func:`refreshed`.

    Args:
        refresh: how.
        fixed: what the training began with; images of shares that were mixed in keep their labels.
        epoch: counted from 1; ``resume.pt`` in the folder holds the student after it.
        device: where the student answers.
        folder: the training's.
        job: told of progress and of the outcome; asked whether to stop.
    """
    path = _path(folder, epoch)
    if path.is_file():
        return
    images = fixed.images.take(range(_own(fixed)))
    settle_ultralytics()
    from ultralytics.utils.torch_utils import strip_optimizer

    student = folder / _STUDENT
    # Where a teacher's features are imitated, the checkpoint holds more than the student.
    strip_optimizer(folder / "resume.pt", str(student))
    with adapter("ultralytics")(student, {}).open(device, refresh.floor, refresh.batch) as predictor:
        said = predict_images(predictor, images, VOICE, refresh.batch, job, f"labels after epoch {epoch}")
    student.unlink()
    labels = refresh.relabel(images.table, said, job)
    earlier = _written(folder)
    before = read_table(earlier[0]) if earlier else images.table
    labels.write(path)
    for done in earlier:
        done.unlink(missing_ok=True)
    kept, past = (int((table.state == State.KEPT).sum()) for table in (labels, before))
    job.note(f"Epoch {epoch}: relabelled {len(labels)} images, {kept:,} boxes kept ({kept - past:+,}).")


def refreshed(fixed: Lesson, epoch: int, folder: Path) -> Lesson:
    """Return a lesson with the labels that :func:`refresh_labels` wrote.

    Raises:
        DataError: they are not there, or cannot be read.
    """
    rest = fixed.images.table.take(range(_own(fixed), len(fixed.images)))
    table = stack([_anonymous(part) for part in (read_table(_path(folder, epoch)), rest)])
    return replace(fixed, images=replace(fixed.images, table=table))


def _anonymous(table: DetectionTable) -> DetectionTable:
    """Return a table without what single teachers said."""
    return replace(table, teachers=(), teacher_score=np.zeros((len(table.xyxy), 0), np.float32))


def _own(lesson: Lesson) -> int:
    """Return the number of images that were not mixed in; they come first."""
    return min((share.first for share in lesson.shares), default=len(lesson.images))


def forget_labels(folder: Path) -> None:
    """Remove refreshed labels, which only a training that goes on needs."""
    for path in (*_written(folder), folder / _STUDENT):
        path.unlink(missing_ok=True)


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"labels-refreshed-{epoch}.parquet"


def _written(folder: Path) -> list[Path]:
    return list(folder.glob("labels-refreshed-*.parquet"))
