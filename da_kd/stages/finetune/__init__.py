"""*finetune*: the student goes on with whatever labelled target images exist. The training stage a second time."""

from __future__ import annotations

from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Finetune, Student
from da_kd.training import Setting, TrainingTask, train


def run(
    student: Student,
    config: Finetune,
    labelled: ImageSet,
    start: Path,
    setting: Setting,
    out: Path,
    job: Job,
) -> None:
    """Train the student on, from ``start``, and write its ``weights.pt`` into ``out``."""
    task = TrainingTask("finetuned", student, start, config, labelled, setting)
    result = train(task, out, job)
    job.note(f"The student went on with {result.images} labelled images, {result.boxes} boxes, {result.steps} steps.")
