"""Trains one detector from a task to a weights file, going on where an interrupted training stopped.

Knows ultralytics through :mod:`da_kd.training.trainer`; must not know which stage asks.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
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
from da_kd.training.architecture import model_source
from da_kd.training.signals import GROUND_TRUTH, Lesson, Signals, check_labels

_CACHE_LIMIT = 1 << 30  # bytes of decoded images that are kept in memory while training


@dataclass(frozen=True)
class Setting:
    """What all trainings of a run share.

    Attributes:
        seed: for weights, order and augmentation.
        device: ``cpu``, ``cuda:0``, ...
        workers: processes that load images.
    """

    seed: int
    device: str
    workers: int = 0


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
    """

    name: str
    architecture: Architecture
    start: Path | None
    schedule: Schedule
    images: ImageSet
    setting: Setting
    signals: Signals = GROUND_TRUTH

    @cached_property
    def lesson(self) -> Lesson:
        """The images, and what their labels teach."""
        return Lesson(self.images, self.signals)


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
        curves: one record per epoch: ``epoch``, the losses and ``lr``.
    """

    epochs: int
    steps: int
    images: int
    boxes: int
    device: str
    seconds: float
    resumed_from: tuple[int, ...]
    curves: tuple[dict[str, float], ...]


def train(task: TrainingTask, folder: Path, job: Job) -> TrainingResult:
    """Train and write ``weights.pt`` and ``training.json`` into ``folder``.

    ``folder`` may hold an interrupted training of the same task; it goes on from its last whole epoch.

    Raises:
        DataError: there is no image or no box to learn from, or every box counts nothing.
        RecipeError: the schedule has an argument that ultralytics does not know.
        WeightsError: the weights to start from are missing or are not a detector's.
        Cancelled: a person stopped it; calling again goes on.
    """
    if (folder / "weights.pt").is_file() and (folder / "training.json").is_file():
        _tidy(folder)  # a kill came after the work and before the tidying up
        return read_result(folder)
    boxes = check_labels(task.name, task.lesson, job)
    epochs, per_epoch = _length(task)
    sittings = _Sittings(folder)
    done = sittings.take_up()
    if done < epochs:
        _run(task, folder, job, epochs, resume=done > 0)
    _write_weights(folder)
    result = TrainingResult(
        epochs=epochs,
        steps=epochs * per_epoch,
        images=len(task.images.table),
        boxes=boxes,
        device=task.setting.device,
        seconds=sittings.seconds(),
        resumed_from=sittings.resumed_from,
        curves=tuple(_read_curves(folder)),
    )
    write_json(folder / "training.json", asdict(result))
    _tidy(folder)
    return result


def read_result(folder: Path) -> TrainingResult:
    """Read what :func:`train` wrote."""
    tree = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return TrainingResult(**{**tree, "resumed_from": tuple(tree["resumed_from"]), "curves": tuple(tree["curves"])})


def _write_weights(folder: Path) -> None:
    """Write the last checkpoint without its optimiser as ``weights.pt``, which any plain ``YOLO(...)`` loads."""
    settle_ultralytics()
    from ultralytics.utils.torch_utils import strip_optimizer

    temporary = folder / "weights.tmp.pt"
    strip_optimizer(folder / "resume.pt", str(temporary))
    os.replace(temporary, folder / "weights.pt")


def _length(task: TrainingTask) -> tuple[int, int]:
    """Return epochs and optimiser steps per epoch; asked-for steps are rounded to whole epochs, at least one."""
    per_epoch = math.ceil(len(task.lesson.order) / task.schedule.batch)
    if task.schedule.steps is not None:
        return max(1, round(task.schedule.steps / per_epoch)), per_epoch
    return task.schedule.epochs or 1, per_epoch


def _run(task: TrainingTask, folder: Path, job: Job, epochs: int, resume: bool) -> None:
    settle_ultralytics()
    from da_kd.training.trainer import TableTrainer

    arguments = _arguments(task, folder, epochs)
    if resume:
        job.note(f"Training '{task.name}' goes on from its last whole epoch.")
        arguments |= {"resume": str(folder / "resume.pt"), "model": str(folder / "resume.pt")}
    job.progress(task.name, 0, epochs, "epochs")
    try:
        trainer = TableTrainer(arguments, task.lesson, job, task.name, folder)
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


def _arguments(task: TrainingTask, folder: Path, epochs: int) -> dict[str, Any]:
    """Return the library's arguments: the recipe's own, over which stands what the method needs."""
    schedule = task.schedule
    adaptive = schedule.optimizer != "SGD"
    start = task.start or model_source(task.architecture, folder)
    pixels = task.images.table.size.astype(float).prod(axis=1)
    fits = float((3 * pixels.clip(max=task.architecture.imgsz**2)).sum()) < _CACHE_LIMIT
    ours = {
        "task": "detect",
        "mode": "train",
        "model": str(start),
        "data": "da_kd",
        "epochs": epochs,
        "batch": schedule.batch,
        "nbs": schedule.batch,  # one optimiser step a batch; the default of 64 leaves small sets with too few
        "imgsz": task.architecture.imgsz,
        "optimizer": schedule.optimizer,
        "lr0": schedule.lr,
        "freeze": schedule.freeze or None,
        "seed": task.setting.seed,
        "deterministic": True,
        "device": task.setting.device.removeprefix("cuda:"),
        "workers": task.setting.workers,
        # The plain switch would download a model to check itself with; bf16 needs no check.
        "amp": "bf16" if task.setting.device.startswith("cuda") else False,
        "cache": "ram" if fits else False,
        "plots": False,
        "val": False,
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
    return {**defaults, **schedule.args, **ours}


class _Sittings:
    """Remembers over interruptions how often and for how long a training ran."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "sittings.json"
        self._began = time.time()
        self._known: list[dict[str, float]] = json.loads(self._file.read_text()) if self._file.exists() else []

    def take_up(self) -> int:
        """Return how many epochs are safely done, and note that a new sitting begins after them."""
        done = self._epochs_saved()
        curves = [record for record in _read_curves(self._folder) if record["epoch"] <= done]
        (self._folder / "curves.jsonl").write_text("".join(json.dumps(record) + "\n" for record in curves))
        if self._known:
            last = self._known[-1]
            saved = self._folder / "resume.pt"
            last["ended"] = saved.stat().st_mtime if saved.exists() else last["began"]
        self._known.append({"after": done, "began": self._began})
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._known))
        os.replace(temporary, self._file)
        return done

    def _epochs_saved(self) -> int:
        if not (self._folder / "resume.pt").exists():
            return 0
        settle_ultralytics()
        from ultralytics.nn.tasks import torch_safe_load

        checkpoint, _ = torch_safe_load(str(self._folder / "resume.pt"))
        return int(checkpoint["epoch"]) + 1

    def seconds(self) -> float:
        """Return the time all sittings took together, up to now."""
        earlier = sum(max(0.0, sitting.get("ended", 0) - sitting["began"]) for sitting in self._known[:-1])
        return round(earlier + time.time() - self._began, 2)

    @property
    def resumed_from(self) -> tuple[int, ...]:
        """The epochs after which the training was taken up again."""
        return tuple(int(sitting["after"]) for sitting in self._known[1:])


def _read_curves(folder: Path) -> list[dict[str, float]]:
    """Return the records written so far; a line that a kill left half-written is left out."""
    path = folder / "curves.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _tidy(folder: Path) -> None:
    """Remove what only an interrupted training needs."""
    shutil.rmtree(folder / "ultralytics", ignore_errors=True)
    for name in ("resume.pt", "resume.pt.tmp", "sittings.json", "curves.jsonl", "architecture.yaml"):
        (folder / name).unlink(missing_ok=True)
