"""A training task in ultralytics' words: the arguments that its trainer is given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from da_kd.training.architecture import check_features, model_source
from da_kd.training.augment import PRESETS
from da_kd.training.task import TrainingTask

_CACHE_LIMIT = 1 << 30  # bytes of decoded images that are kept in memory while training
_WARM = 100  # steps; AdamW that rises to its rate in fewer never makes up for it in a short training (docs/lab-log.md)


def library_arguments(task: TrainingTask, folder: Path, epochs: int, batch: int) -> dict[str, Any]:
    """Return ultralytics' arguments for a task: the recipe's own, over which stands what the method needs.

    Args:
        task: what is trained.
        folder: where; the architecture is written into it.
        epochs: passes over the images.
        batch: images of an optimiser step.
    """
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
        "warmup_epochs": warmup_epochs(epochs, math.ceil(len(task.lesson.order) / batch)),
        "warmup_bias_lr": 0.0 if adaptive else 0.1,
    }
    return {**defaults, **PRESETS[schedule.augment], **schedule.args, **ours}


def warmup_epochs(epochs: int, per_epoch: int) -> float:
    """Return over how many epochs the learning rate rises: three, but 100 steps at least and a tenth of all at most.

    Args:
        epochs: of the training.
        per_epoch: optimiser steps of each.
    """
    return min(epochs * 0.1, max(3.0, _WARM / per_epoch))
