"""*distill*: the student learns from the reviewed pseudo labels of the target images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.recipe import Distill, Fuse, Predict, Student
from da_kd.stages.distill.relabel import Completed, Relabel, mark_coarse
from da_kd.stages.fuse.thresholds import Cuts
from da_kd.training import Extra, Refresh, Score, Setting, Signals, TrainingTask, mixed, train

__all__ = ["mark_coarse", "refresh_of", "run", "signals_of"]


def run(
    student: Student,
    config: Distill,
    labels: ImageSet,
    start: Path | None,
    setting: Setting,
    out: Path,
    job: Job,
    refresh: Refresh | None = None,
    *,
    extras: Sequence[Extra] = (),
    score: Score | None = None,
    features: Path | None = None,
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
        refresh: how labels are made anew as the student learns (see :func:`refresh_of`), if they are.
        extras: labelled images to mix in.
        score: what scores the epochs, where the configuration asks for it.
        features: weights of the teacher whose features are imitated, where the configuration asks for it.
    """
    images, shares = mixed(labels, extras) if extras else (labels, ())
    task = TrainingTask(
        "student",
        student,
        start,
        config,
        images,
        setting,
        signals_of(config),
        shares,
        refresh=refresh,
        score=score,
        features=features,
    )
    result = train(task, out, job)
    told = {"source": "source images", "target_labelled": "labelled target images"}
    more = "".join(f", {share.count} of them {told[share.name]}" for share in shares)
    boxes = f"{result.boxes} {'boxes' if shares else 'pseudo labels'}"
    if refresh is not None and refresh.last_due(result.epochs - 1, result.epochs):
        boxes += " (at first; made anew as it learned)"
    job.note(f"The student learned from {result.images} images{more}, {boxes}, {result.steps} steps.")


def signals_of(config: Distill) -> Signals:
    """Return how a recipe treats doubtful labels."""
    return Signals(
        weight=config.weight,
        uncertain=config.uncertain,
        unsearched=config.unsearched,
        oversample=config.oversample,
    )


def refresh_of(config: Distill, fuse: Fuse, cuts: Cuts, predict: Predict, done: Completed) -> Refresh | None:
    """Return how a student's labels are made anew while it learns, None where the recipe does not ask for it.

    Args:
        config: the schedule.
        fuse: how teachers are merged; fixed labels and student are, by the same overlap.
        cuts: the thresholds that turn scores into states.
        predict: how the student is asked.
        done: what people completed, beyond what the labels tell.
    """
    if config.refresh is None:
        return None
    rule = Relabel(config.refresh, cuts, fuse.iou, done)
    return Refresh(config.refresh.every, config.refresh.start, predict.floor, predict.batch, rule)
