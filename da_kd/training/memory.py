"""How many images a step takes where the recipe leaves it open, and what becomes of a batch that does not fit.

A step stays a step: where fewer images fit into the memory at once, their gradients are added up until as many are seen
as the recipe says (the library's ``nbs``). Only what batch normalisation sees at a time is less.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from da_kd.errors import SetupError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.training.architecture import model_source
from da_kd.training.signals import Kind, Lesson
from da_kd.training.sittings import read_checkpoint

if TYPE_CHECKING:
    from da_kd.recipe import Architecture, Schedule


def images_per_step(
    schedule: Schedule,
    architecture: Architecture,
    start: Path | None,
    lesson: Lesson,
    device: str,
    folder: Path,
    count: int = 1,
) -> int:
    """Return the batch of a schedule; ``auto`` is measured on a GPU, unless a training goes on, and 16 elsewhere.

    Args:
        schedule: asks for a number or for ``auto``.
        architecture: the model.
        start: weights that it starts from instead, or None.
        lesson: what is learned; the most boxes of an image decide, too.
        device: where it is learned.
        folder: where an interrupted training lies, if there is one.
        count: of devices that share a step.
    """
    if schedule.batch != "auto" or not device.startswith("cuda"):
        return schedule.planned_batch
    if (folder / "resume.pt").is_file():
        return int(read_checkpoint(folder / "resume.pt")["train_args"]["nbs"])
    return count * _measured(start or model_source(architecture, folder), architecture.imgsz, lesson, device)


def _measured(start: Path, imgsz: int, lesson: Lesson, device: str) -> int:
    """Return what the library finds to fill 60 % of the memory."""
    settle_ultralytics()
    import torch
    from ultralytics import YOLO
    from ultralytics.utils.autobatch import check_train_batch_size

    model = YOLO(str(start), task="detect").model.to(device)
    before = np.concatenate([[0], np.cumsum(lesson.rows.kind == Kind.OBJECT)])
    most = int(np.diff(before[lesson.rows.offsets]).max())
    found = int(
        check_train_batch_size(
            model,
            imgsz,
            amp=torch.bfloat16,
            max_num_obj=4 * most,
            dataset_size=len(lesson.order),  # 4: a mosaic's
        )
    )
    del model
    free_memory()
    return max(1, found)


def halved(name: str, at_once: int, job: Job, devices: int = 1) -> int:
    """Return half of a batch that did not fit, and say so; devices that share a step have as many images each.

    Args:
        name: what the training is called.
        at_once: how many images it was, of all devices together.
        job: where the warning goes.
        devices: how many share a step.

    Raises:
        SetupError: it was one image on each.
    """
    fewer = at_once // 2 // devices * devices
    if not fewer:
        each = " on each device" if devices > 1 else ""
        raise SetupError(
            f"Training '{name}' expected memory for one image at a time{each}; there is too little. Use a smaller "
            "'imgsz', a smaller model, or another 'device'."
        )
    warn_smaller(name, at_once, fewer, job)
    return fewer


def warn_smaller(name: str, at_once: int, fewer: int, job: Job) -> None:
    """Say that fewer images are taken at a time."""
    job.warn(
        f"Training '{name}': {at_once} images at a time do not fit into the memory; it goes on from its last whole "
        f"epoch with {fewer} at a time, and steps of as many images as before."
    )


def free_memory() -> None:
    """Give back what a model that is gone held on a GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
