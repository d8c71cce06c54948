"""*teach*: trains a teacher on the labelled source images, where the recipe gives it no weights."""

from __future__ import annotations

from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Architecture, Schedule
from da_kd.training import Setting, TrainingTask, train


def run(
    name: str,
    architecture: Architecture,
    schedule: Schedule,
    source: ImageSet,
    setting: Setting,
    out: Path,
    job: Job,
) -> None:
    """Train one teacher on the source and write its ``weights.pt`` into ``out``."""
    task = TrainingTask(name, architecture, None, schedule, source, setting)
    result = train(task, out, job)
    job.note(f"Teacher '{name}' learned from {result.images} images, {result.boxes} boxes, {result.steps} steps.")
