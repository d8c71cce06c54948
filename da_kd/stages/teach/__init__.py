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

__all__ = ["restyle", "run", "with_restyled"]


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
