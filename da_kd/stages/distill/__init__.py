"""*distill*: the student learns from the reviewed pseudo labels of the target images."""

from __future__ import annotations

from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Distill, Student
from da_kd.training import Setting, Signals, TrainingTask, train


def run(
    student: Student,
    config: Distill,
    labels: ImageSet,
    start: Path | None,
    setting: Setting,
    out: Path,
    job: Job,
) -> None:
    """Train the student and write its ``weights.pt`` into ``out``.

    Args:
        student: the architecture.
        config: the schedule.
        labels: target images with pseudo labels; boxes in state *kept* are learned, the configuration says what the
            uncertain ones are, and what classes are that nobody searched for.
        start: weights to start from, or None for the architecture's own start.
        setting: seed, device and workers.
        out: the output folder.
        job: where progress goes.
    """
    signals = Signals(
        weight=config.weight,
        uncertain=config.uncertain,
        unsearched=config.unsearched,
        oversample=config.oversample,
    )
    task = TrainingTask("student", student, start, config, labels, setting, signals)
    result = train(task, out, job)
    job.note(f"The student learned from {result.images} images, {result.boxes} pseudo labels, {result.steps} steps.")
