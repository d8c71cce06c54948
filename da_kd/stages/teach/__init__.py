"""*teach*: trains a teacher on the labelled source images, where the recipe gives it no weights.

restyle.py       shows these images in the target's colours, too
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Architecture, Schedule
from da_kd.stages.teach.restyle import restyle, with_restyled
from da_kd.training import Extra, Score, Setting, TrainingTask, mixed, train

__all__ = ["go_on", "restyle", "run", "with_restyled"]


def run(
    name: str,
    kind: str,
    architecture: Architecture,
    schedule: Schedule,
    source: ImageSet,
    setting: Setting,
    out: Path,
    job: Job,
    score: Score | None = None,
    *,
    extras: Sequence[Extra] = (),
) -> None:
    """Train one teacher on the source and write its ``weights.pt`` into ``out``.

    Args:
        name: the teacher's.
        kind: ``ultralytics`` or ``torchvision``.
        architecture: what is trained.
        schedule: how long and how fast.
        source: labelled images; their vocabulary becomes the teacher's.
        setting: what all trainings share.
        out: the output folder.
        job: where progress goes.
        score: what scores the epochs, where the schedule asks for it.
        extras: labelled images of the target to mix in.
    """
    images, shares = mixed(source, extras, truth=True) if extras else (source, ())
    task = TrainingTask(name, architecture, None, schedule, images, setting, shares=shares, score=score)
    if kind == "torchvision":
        from da_kd.training_torchvision import train_torchvision

        result = train_torchvision(task, out, job)
    else:
        result = train(task, out, job)
    more = "".join(f", {share.count} of them labelled target images" for share in shares)
    job.note(f"Teacher '{name}' learned from {result.images} images{more}, {result.boxes} boxes, {result.steps} steps.")


def go_on(
    name: str,
    architecture: Architecture,
    schedule: Schedule,
    labelled: ImageSet,
    start: Path,
    setting: Setting,
    out: Path,
    job: Job,
    score: Score | None = None,
) -> None:
    """Train a teacher on, from ``start``, on labelled images of the target, and write its ``weights.pt`` into ``out``.

    Args:
        name: the teacher's.
        architecture: what it is.
        schedule: how long and how fast.
        labelled: target images with ground truth; their vocabulary is the teacher's.
        start: its weights.
        setting: what all trainings share.
        out: the output folder.
        job: where progress goes.
        score: what scores the epochs, where the schedule asks for it.
    """
    result = train(TrainingTask(name, architecture, start, schedule, labelled, setting, score=score), out, job)
    with_ = f"{result.images} labelled target images, {result.boxes} boxes"
    job.note(f"Teacher '{name}' went on with {with_}, {result.steps} steps.")
