"""Trains one detector from a task to a weights file, going on where an interrupted training stopped.

Knows ultralytics through :mod:`da_kd.training.trainer`; must not know which stage asks.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from da_kd.data import ImageSet
from da_kd.errors import RecipeError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.recipe import Architecture, Schedule
from da_kd.store import write_json
from da_kd.teachers.batches import out_of_memory
from da_kd.training.architecture import check_features, model_source
from da_kd.training.augment import PRESETS
from da_kd.training.ddp import forget_ranks, run_ranks
from da_kd.training.loggers import keep_logs, switch_loggers
from da_kd.training.memory import free_memory, halved, images_per_step
from da_kd.training.mixing import Share
from da_kd.training.refresh import Refresh, forget_labels
from da_kd.training.signals import (
    GROUND_TRUTH,
    Lesson,
    Signals,
    as_background,
    check_files,
    check_labels,
    never_searched,
)
from da_kd.training.sittings import Sittings, read_checkpoint, read_curves

# Weights, device, and whom to ask whether to stop: the AP, a fraction; None where it is undefined.
Score = Callable[[Path, str, Job], float | None]

_CACHE_LIMIT = 1 << 30  # bytes of decoded images that are kept in memory while training


@dataclass(frozen=True)
class Setting:
    """What all trainings of a run share.

    Attributes:
        seed: for weights, order and augmentation.
        device: ``cpu``, ``cuda:0``, ...
        workers: processes that load images.
        ranks: devices that share every training, a process on each; fewer than two leave it to ``device``.
    """

    seed: int
    device: str
    workers: int = 0
    ranks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingTask:
    """What is to be trained.

    Attributes:
        name: what the training is called in progress and messages.
        architecture: the model; its ``model`` may be weights to start from.
        start: weights to start from instead, or None.
        schedule: how long and how fast.
        images: labelled images, every one usable; boxes in state *kept* are learned.
        setting: seed, device and workers.
        signals: how doubtful labels are treated.
        shares: parts of ``images`` of which an epoch shows a certain number; see :mod:`da_kd.training.mixing`.
        refresh: how labels are made anew as the model learns; None leaves them as they are.
        score: what scores the averaged weights after every epoch, on what ``schedule.validate_on`` says; None where a
            fixed schedule decides. Fit for pickling.
        features: weights of a teacher whose features the model imitates beside its labels; None for no such thing.
    """

    name: str
    architecture: Architecture
    start: Path | None
    schedule: Schedule
    images: ImageSet
    setting: Setting
    signals: Signals = GROUND_TRUTH
    shares: tuple[Share, ...] = ()
    refresh: Refresh | None = None
    score: Score | None = None
    features: Path | None = None

    @cached_property
    def lesson(self) -> Lesson:
        """The images, and what their labels teach."""
        images = as_background(self.images, self.unanswerable) if self.unanswerable else self.images
        return Lesson(images, self.signals, self.shares, self.setting.seed)

    @cached_property
    def unanswerable(self) -> tuple[str, ...]:
        """The classes that nobody searched any image for, where the model does not know them from before either.

        An output that nothing ever trains says anything, as surely as it likes: they are learned as background.
        """
        anew = self.start is None and not self.architecture.model.endswith(".pt")
        return never_searched(self.images.table) if anew else ()


@dataclass(frozen=True)
class TrainingResult:
    """What a training did; stored beside its weights.

    Attributes:
        epochs: passes over the images.
        steps: optimiser steps.
        images: images trained on.
        boxes: boxes trained on.
        device: where it ran.
        seconds: wall time, of all sittings together.
        resumed_from: the epochs after which it was interrupted and taken up again.
        curves: one record per epoch: ``epoch``, the losses, ``lr`` and, where epochs are scored, ``val_AP``.
        best_epoch: the epoch whose weights were taken, from 1; None for the last, where epochs are not scored.
    """

    epochs: int
    steps: int
    images: int
    boxes: int
    device: str
    seconds: float
    resumed_from: tuple[int, ...]
    curves: tuple[dict[str, float], ...]
    best_epoch: int | None = None


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
    count = max(1, len(task.setting.ranks))
    batch = images_per_step(schedule, task.architecture, task.start, task.lesson, device, folder, count)
    epochs, per_epoch = _length(task, batch)
    sittings = Sittings(folder)
    done = sittings.take_up()
    if done < epochs and not (schedule.patience and sittings.waited >= schedule.patience):
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


def read_result(folder: Path) -> TrainingResult:
    """Read what :func:`train` wrote."""
    tree = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return TrainingResult(**{**tree, "resumed_from": tuple(tree["resumed_from"]), "curves": tuple(tree["curves"])})


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
            at_once = halved(task.name, at_once, job)
        free_memory()


def _attempt(task: TrainingTask, folder: Path, job: Job, epochs: int, batch: int, at_once: int) -> None:
    """Train from the last whole epoch to the end, ``at_once`` of the images of a ``batch`` at a time."""
    arguments = _arguments(task, folder, epochs, batch) | {"batch": at_once}
    if (folder / "resume.pt").is_file():
        job.note(f"Training '{task.name}' goes on from its last whole epoch.")
        arguments |= {"resume": str(folder / "resume.pt"), "model": str(folder / "resume.pt")}
    job.progress(task.name, 0, epochs, "epochs")
    if len(task.setting.ranks) > 1:
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
        trainer = kind(arguments, task.lesson, job, task.name, folder, task.refresh, task.score)
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


def _arguments(task: TrainingTask, folder: Path, epochs: int, batch: int) -> dict[str, Any]:
    """Return the library's arguments: the recipe's own, over which stands what the method needs."""
    schedule = task.schedule
    adaptive = schedule.optimizer != "SGD"
    start = task.start or model_source(task.architecture, folder)
    if task.features is not None:
        check_features(task.features, start)
    pixels = task.images.table.size.astype(float).prod(axis=1)
    fits = float((3 * pixels.clip(max=task.architecture.imgsz**2)).sum()) < _CACHE_LIMIT
    devices = dict.fromkeys(task.setting.ranks or (task.setting.device,))
    ours = {
        "task": "detect",
        "mode": "train",
        "model": str(start),
        "data": "da_kd",
        "epochs": epochs,
        "distill_model": str(task.features) if task.features else None,
        "nbs": batch,  # one optimiser step a batch; the default of 64 leaves small sets with too few
        "imgsz": task.architecture.imgsz,
        "optimizer": schedule.optimizer,
        "lr0": schedule.lr,
        "freeze": schedule.freeze or None,
        "seed": task.setting.seed,
        "deterministic": True,
        "device": ",".join(device.removeprefix("cuda:") for device in devices),
        "workers": task.setting.workers,
        # The plain switch would download a model to check itself with; bf16 needs no check.
        "amp": "bf16" if task.setting.device.startswith("cuda") else False,
        "cache": "ram" if fits else False,
        "plots": False,
        "val": task.score is not None,
        "patience": schedule.patience or 0,
        "save": True,
        "verbose": False,
        "exist_ok": True,
        "save_dir": str(folder / "ultralytics"),
    }
    defaults = {
        "close_mosaic": round(epochs * 0.2),
        "warmup_epochs": min(3.0, epochs * 0.1),
        "warmup_bias_lr": 0.0 if adaptive else 0.1,
    }
    return {**defaults, **PRESETS[schedule.augment], **schedule.args, **ours}


def _tidy(folder: Path) -> None:
    """Remove what only an interrupted training needs."""
    keep_logs(folder / "ultralytics", folder)
    shutil.rmtree(folder / "ultralytics", ignore_errors=True)
    forget_labels(folder)
    forget_ranks(folder)
    for name in ("resume.pt", "resume.pt.tmp", "sittings.json", "curves.jsonl", "architecture.yaml", "best.pt"):
        (folder / name).unlink(missing_ok=True)
