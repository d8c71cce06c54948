"""Trains one detector from a task to a weights file, going on where an interrupted training stopped.

Knows ultralytics through :mod:`da_kd.training.trainer`; must not know which stage asks.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from da_kd.errors import RecipeError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.store import write_json
from da_kd.teachers.batches import out_of_memory
from da_kd.training.arguments import library_arguments
from da_kd.training.ddp import forget_ranks, processes, run_ranks
from da_kd.training.loggers import keep_logs, switch_loggers
from da_kd.training.memory import free_memory, halved, images_per_step
from da_kd.training.refresh import forget_labels
from da_kd.training.signals import check_files, check_labels
from da_kd.training.sittings import Sittings, read_checkpoint, read_curves
from da_kd.training.task import TrainingResult, TrainingTask, read_result


def train(task: TrainingTask, folder: Path, job: Job) -> TrainingResult:
    """Train and write ``weights.pt`` and ``training.json`` into ``folder``.

    ``folder`` may hold an interrupted training of the same task; it goes on from its last whole epoch.

    Raises:
        DataError: there is no image or no box to learn from, every box counts nothing, or images are gone.
        SetupError: not even one image at a time fits into the memory.
        RecipeError: the schedule has an argument that ultralytics does not know.
        WeightsError: the weights to start from are missing or are not a detector's.
        Cancelled: a person stopped it; calling again goes on.
    """
    if (folder / "weights.pt").is_file() and (folder / "training.json").is_file():
        _tidy(folder)  # a kill came after the work and before the tidying up
        return read_result(folder)
    if task.unanswerable:
        job.warn(
            f"Training '{task.name}' starts anew, and no image was searched for {', '.join(task.unanswerable)}: "
            "taught as background. Start from a model that knows it ('init: source'), or mix in images that show it."
        )
    boxes = check_labels(task.name, task.lesson, job)
    check_files(task.name, task.images)
    device, schedule = task.setting.device, task.schedule
    count = processes(task.setting)
    batch = images_per_step(schedule, task.architecture, task.start, task.lesson, device, folder, count)
    epochs, per_epoch = _length(task, batch)
    sittings = Sittings(folder)
    done = sittings.take_up()
    if done < epochs and not (schedule.patience and sittings.waited >= schedule.patience):
        job.progress(task.name, done, epochs, "epochs")
        _run(task, folder, job, epochs, batch)
    best = _write_weights(folder)
    curves = tuple(read_curves(folder))
    if best is not None:
        epochs = int(curves[-1]["epoch"])
        job.note(
            f"Training '{task.name}' took the weights of epoch {best} of {epochs}, the best on {schedule.validate_on}."
        )
    result = TrainingResult(
        epochs=epochs,
        steps=epochs * per_epoch,
        images=len(task.images.table),
        boxes=boxes,
        device=",".join(task.setting.ranks) or task.setting.device,
        seconds=sittings.seconds(),
        resumed_from=sittings.resumed_from,
        curves=curves,
        best_epoch=best,
    )
    write_json(folder / "training.json", asdict(result))
    _tidy(folder)
    return result


def _write_weights(folder: Path) -> int | None:
    """Write a checkpoint without its optimiser as ``weights.pt``, which any plain ``YOLO(...)`` loads.

    Returns:
        The epoch (from 1) of the best checkpoint, where there is one; else it is the last checkpoint.
    """
    settle_ultralytics()
    from ultralytics.utils.torch_utils import strip_optimizer

    temporary, best = folder / "weights.tmp.pt", folder / "best.pt"
    strip_optimizer(best if best.is_file() else folder / "resume.pt", str(temporary))
    os.replace(temporary, folder / "weights.pt")
    return int(read_checkpoint(best)["epoch"]) + 1 if best.is_file() else None


def _length(task: TrainingTask, batch: int) -> tuple[int, int]:
    """Return epochs and optimiser steps per epoch; asked-for steps are rounded to whole epochs, at least one."""
    per_epoch = math.ceil(len(task.lesson.order) / batch)
    if task.schedule.steps is not None:
        return max(1, round(task.schedule.steps / per_epoch)), per_epoch
    return task.schedule.epochs or 1, per_epoch


def _run(task: TrainingTask, folder: Path, job: Job, epochs: int, batch: int) -> None:
    """Train; where a batch does not fit into the memory, go on with fewer images at a time."""
    at_once = batch
    while True:
        try:
            _attempt(task, folder, job, epochs, batch, at_once)
            return
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            at_once = halved(task.name, at_once, job, processes(task.setting))
        free_memory()


def _attempt(task: TrainingTask, folder: Path, job: Job, epochs: int, batch: int, at_once: int) -> None:
    """Train from the last whole epoch to the end, ``at_once`` of the images of a ``batch`` at a time."""
    arguments = library_arguments(task, folder, epochs, batch) | {"batch": at_once}
    if (folder / "resume.pt").is_file():
        job.note(f"Training '{task.name}' goes on from its last whole epoch.")
        arguments |= {"resume": str(folder / "resume.pt"), "model": str(folder / "resume.pt")}
    if processes(task.setting) > 1:
        run_ranks(task, arguments, folder, job)
        return
    settle_ultralytics()
    from da_kd.training.trainer import TableTrainer

    sit(TableTrainer, task, arguments, folder, job)


def sit(kind: Callable[..., Any], task: TrainingTask, arguments: dict[str, Any], folder: Path, job: Job) -> None:
    """Train in this process, with a trainer of one kind and the library's arguments.

    Raises:
        RecipeError: the library does not take an argument.
    """
    switch_loggers()
    try:
        trainer = kind(arguments, task, folder, job)
    except (SyntaxError, TypeError, ValueError) as error:  # an argument the library does not know or cannot use
        first = next((line for line in str(error).splitlines() if line.strip()), "unknown argument")
        raise RecipeError([f"the schedule of '{task.name}': {first.strip()}"]) from error
    try:
        trainer.train()
    except RuntimeError as error:
        if "froze the entire model" not in str(error):
            raise
        raise RecipeError(
            [f"the schedule of '{task.name}': 'freeze: {task.schedule.freeze}' leaves no layer to train; lower it"]
        ) from error


def _tidy(folder: Path) -> None:
    """Remove what only an interrupted training needs."""
    keep_logs(folder / "ultralytics", folder)
    shutil.rmtree(folder / "ultralytics", ignore_errors=True)
    forget_labels(folder)
    forget_ranks(folder)
    for name in ("resume.pt", "resume.pt.tmp", "sittings.json", "curves.jsonl", "architecture.yaml", "best.pt"):
        (folder / name).unlink(missing_ok=True)
