"""*finetune*: the student goes on with whatever labelled target images exist. The training stage a second time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Finetune, Student
from da_kd.training import Extra, Score, Setting, Signals, TrainingTask, mixed, train
from da_kd.training.signals import GROUND_TRUTH


def run(
    student: Student,
    config: Finetune,
    labelled: ImageSet,
    start: Path,
    setting: Setting,
    out: Path,
    job: Job,
    *,
    extras: Sequence[Extra] = (),
    signals: Signals = GROUND_TRUTH,
    score: Score | None = None,
) -> None:
    """Train the student on, from ``start``, and write its ``weights.pt`` into ``out``.

    Args:
        student: the architecture.
        config: the schedule.
        labelled: target images with ground truth.
        start: the student's weights.
        setting: seed, device and workers.
        out: the output folder.
        job: where progress goes.
        extras: other images to mix in.
        signals: how doubtful labels among these are treated.
        score: what scores the epochs, where the configuration asks for it.
    """
    images, shares = mixed(labelled, extras, truth=True) if extras else (labelled, ())
    task = TrainingTask("finetuned", student, start, config, images, setting, signals, shares, score=score, truth=True)
    result = train(task, out, job)
    more = f", {sum(share.count for share in shares)} of them mixed in" if shares else ""
    kind = "images" if shares else "labelled images"
    job.note(f"The student went on with {result.images} {kind}{more}, {result.boxes} boxes, {result.steps} steps.")
