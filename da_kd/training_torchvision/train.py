"""Trains one torchvision detector from scratch to a weights file, going on where an interrupted training stopped.

The schedule is fixed and nothing is validated, as for ultralytics' models: the averaged weights of the last epoch are
the result. An interrupted training gives the same weights as one that was not: every epoch begins from its own seed.
Must not know which stage asks. Only imported where a model trains.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, RandomSampler

from da_kd.detections import State
from da_kd.errors import DaKdError, DataError
from da_kd.events import Figures, Job
from da_kd.store import write_json
from da_kd.teachers.batches import cut, out_of_memory
from da_kd.teachers.torchvision import build_model, check_trainable, least_batch, save_checkpoint
from da_kd.training import TrainingResult, TrainingTask, read_result
from da_kd.training.memory import free_memory, halved
from da_kd.training_torchvision.samples import Samples, collate

_DECAY = 0.998  # of the averaged weights; young averages forget faster
_WARM_UP = 0.1  # share of the steps over which the learning rate rises; then it falls as a cosine
_LAST = 0.01  # share of the learning rate that is left at the end
_CLIP = 10.0  # most length of a gradient
_WEIGHT_DECAY = 5e-4
_PROPOSALS = 500  # per image that the second stage may choose from; with torchvision's own 2000 suppression is slow
_REGIONS = 64  # of them per image that it learns from; with torchvision's own 512 they would be most of the work


@dataclass
class _Course:
    """A training under way; ``at_once`` images, and never fewer than ``least``, go through the model together."""

    model: Any
    average: Any
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    epochs: int
    per_epoch: int
    at_once: int
    least: int
    done: int = 0
    seconds: float = 0.0
    resumed_from: tuple[int, ...] = ()
    curves: tuple[dict[str, float], ...] = ()


def train_torchvision(task: TrainingTask, folder: Path, job: Job) -> TrainingResult:
    """Train and write ``weights.pt`` and ``training.json`` into ``folder``.

    ``folder`` may hold an interrupted training of the same task; it goes on from its last whole epoch.

    Args:
        task: what to train; its architecture's ``model`` is a name of torchvision's, and it starts from nothing.
        folder: where the outputs lie.
        job: told after every epoch, asked before every batch whether to stop.

    Raises:
        InputError: the model cannot be trained at this size, or with so few images a step.
        DataError: there is no image or no box to learn from, or a single image where the model needs two.
        SetupError: not even one image at a time fits into the memory.
        DaKdError: the loss is no longer a number.
        Cancelled: a person stopped it; calling again goes on.
    """
    if (folder / "weights.pt").is_file() and (folder / "training.json").is_file():
        (folder / "resume.pt").unlink(missing_ok=True)  # a kill came after the work and before the tidying up
        return read_result(folder)
    table = task.images.table
    boxes = int((table.state == State.KEPT).sum())
    if not len(table) or not boxes:
        raise DataError(
            f"Training '{task.name}' found {len(table)} images and {boxes} boxes to learn from; it needs both. "
            "Check the data set, and 'learns' where the teacher has it."
        )
    name, imgsz, batch = task.architecture.model, task.architecture.imgsz, task.schedule.planned_batch
    check_trainable(name, imgsz, batch)
    if len(table) < least_batch(name, imgsz):
        raise DataError(
            f"Training '{task.name}' found one image to learn from; the batch normalisation of {name} needs two at "
            f"'imgsz: {imgsz}'. Add images, or choose another 'model'."
        )
    course = _trained(task, folder, job)
    save_checkpoint(folder / "weights.pt", task.architecture.model, table.vocabulary, course.average.module)
    result = TrainingResult(
        epochs=course.epochs,
        steps=course.epochs * course.per_epoch,
        images=len(table),
        boxes=boxes,
        device=task.setting.device,
        seconds=round(course.seconds, 2),
        resumed_from=course.resumed_from,
        curves=course.curves,
    )
    write_json(folder / "training.json", asdict(result))
    (folder / "resume.pt").unlink(missing_ok=True)
    return result


def _trained(task: TrainingTask, folder: Path, job: Job) -> _Course:
    """Train to the end; where a batch does not fit into the memory, go on with fewer images at a time."""
    at_once = min(task.schedule.planned_batch, len(task.images))
    while True:
        try:
            return _attempt(task, folder, job, at_once)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            at_once = halved(task.name, at_once, job)
        free_memory()


def _attempt(task: TrainingTask, folder: Path, job: Job, at_once: int) -> _Course:
    """Train from the last whole epoch to the end."""
    course = _begin(task, at_once)
    _take_up(course, folder, task, job)
    _run(course, task, folder, job)
    return course


def _begin(task: TrainingTask, at_once: int) -> _Course:
    """Return a training before its first step."""
    schedule = task.schedule
    least = least_batch(task.architecture.model, task.architecture.imgsz)
    per_epoch = len(_parts(range(len(task.images)), schedule.planned_batch, least))
    epochs = schedule.epochs or max(1, round((schedule.steps or 1) / per_epoch))
    torch.manual_seed(task.setting.seed)
    architecture = task.architecture
    sizes = (
        None if architecture.model.startswith("ssd") else dict.fromkeys(("min_size", "max_size"), architecture.imgsz)
    )
    model = build_model(architecture.model, len(task.images.vocabulary), sizes)
    if hasattr(model, "roi_heads"):
        model.rpn._post_nms_top_n["training"] = _PROPOSALS
        model.roi_heads.fg_bg_sampler.batch_size_per_image = _REGIONS
    model = model.to(task.setting.device).train()
    average = AveragedModel(model, avg_fn=_averaged, use_buffers=True)
    optimizer = _optimizer(schedule.optimizer, model, schedule.lr)
    total = epochs * per_epoch
    warm = max(1, round(total * _WARM_UP))
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warm, total))
    return _Course(model, average, optimizer, rates, epochs, per_epoch, at_once, least)


def _optimizer(name: str, model: Any, lr: float) -> torch.optim.Optimizer:
    """Return the optimiser; normalisation and biases are not decayed."""
    plain = [value for value in model.parameters() if value.ndim <= 1]
    decayed = [value for value in model.parameters() if value.ndim > 1]
    groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    if name == "SGD":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    kinds: dict[str, Any] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW, "RMSProp": torch.optim.RMSprop}
    made: torch.optim.Optimizer = kinds[name](groups, lr=lr)
    return made


def _rate(step: int, warm: int, total: int) -> float:
    """Return the share of the learning rate at a step."""
    if step < warm:
        return (step + 1) / warm
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))) / 2


def _averaged(average: torch.Tensor, now: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
    """Return the moving average of a weight; of a counter, which is whole, the value itself."""
    if not average.is_floating_point():
        return now
    decay = min(_DECAY, (1 + int(steps)) / (10 + int(steps)))
    return average + (now - average) * (1 - decay)


def _take_up(course: _Course, folder: Path, task: TrainingTask, job: Job) -> None:
    """Load the last whole epoch of an interrupted training."""
    path = folder / "resume.pt"
    if not path.is_file():
        return
    held = torch.load(path, map_location=task.setting.device, weights_only=True)
    for name in ("model", "average", "optimizer", "schedule"):
        getattr(course, name).load_state_dict(held[name])
    course.done, course.seconds, course.curves = held["done"], held["seconds"], tuple(held["curves"])
    course.resumed_from = (*held["resumed_from"], course.done)
    job.note(f"Training '{task.name}' goes on from its last whole epoch.")


def _keep(course: _Course, folder: Path) -> None:
    """Write the whole training under a temporary name, then rename, so that a kill never leaves half of it."""
    held: dict[str, Any] = {
        name: getattr(course, name).state_dict() for name in ("model", "average", "optimizer", "schedule")
    }
    held |= {"done": course.done, "seconds": course.seconds}
    held |= {"resumed_from": list(course.resumed_from), "curves": list(course.curves)}
    temporary = folder / "resume.pt.tmp"
    torch.save(held, temporary)
    os.replace(temporary, folder / "resume.pt")


def _run(course: _Course, task: TrainingTask, folder: Path, job: Job) -> None:
    """Train the epochs that are left."""
    samples = Samples(task.images, task.architecture.imgsz, task.schedule.args, task.setting.seed)
    job.progress(task.name, course.done, course.epochs, "epochs")
    for epoch in range(course.done, course.epochs):
        began = time.monotonic()
        samples.epoch = epoch
        torch.manual_seed(task.setting.seed * 1_000_003 + epoch)  # the order, and the detector's own draws
        loader = DataLoader(
            samples,
            batch_sampler=_shuffled(len(samples), task.schedule.planned_batch, course.least),
            num_workers=task.setting.workers,
            collate_fn=collate,
        )
        losses = _epoch(course, loader, task.setting.device, job)
        if not all(math.isfinite(value) for value in losses.values()):
            raise DaKdError(
                f"Training '{task.name}' lost its numbers in epoch {epoch + 1} ({losses}); "
                "lower 'lr' or raise 'batch', then run again: it goes on from the epoch before."
            )
        took = time.monotonic() - began
        values = {**losses, "lr": float(course.optimizer.param_groups[0]["lr"])}
        course.done, course.seconds = epoch + 1, course.seconds + took
        course.curves = (*course.curves, {"epoch": epoch + 1, **values})
        _keep(course, folder)
        job.emit(Figures(job.stage, task=task.name, step=epoch + 1, values=values))
        speed = f"{len(samples) / max(took, 1e-9):.0f} images/s, loss {sum(losses.values()):.2f}"
        job.progress(task.name, epoch + 1, course.epochs, "epochs", speed)


def _shuffled(count: int, batch: int, least: int) -> Iterator[list[int]]:
    """Yield the places of an epoch's images in batches; the order is torch's own, drawn when the first is asked for."""
    yield from _parts(list(RandomSampler(range(count))), batch, least)


def _parts(places: Sequence[int], most: int, least: int) -> list[list[int]]:
    """Return places in parts of ``most``; a last one of fewer than ``least`` joins the one before."""
    parts = [list(part) for part in cut(places, max(most, least))]
    if len(parts) > 1 and len(parts[-1]) < least:
        parts[-2:] = [parts[-2] + parts[-1]]
    return parts


def _epoch(course: _Course, loader: Any, device: str, job: Job) -> dict[str, float]:
    """Go once over the images; return the mean losses by name."""
    sums: dict[str, float] = {}
    batches = 0
    for images, targets in loader:
        job.check()
        course.optimizer.zero_grad(set_to_none=True)
        batches += 1
        for part in _parts(range(len(images)), course.at_once, course.least):
            losses = course.model(
                [images[place].to(device) for place in part],
                [{key: value.to(device) for key, value in targets[place].items()} for place in part],
            )
            share = len(part) / len(images)
            values = {name: float(value.detach()) * share for name, value in losses.items()}
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            if not math.isfinite(sum(values.values())):
                return {name: value / batches for name, value in sums.items()}
            (sum(losses.values()) * share).backward()
        torch.nn.utils.clip_grad_norm_(course.model.parameters(), _CLIP)
        course.optimizer.step()
        course.schedule.step()
        course.average.update_parameters(course.model)
    return {name: value / batches for name, value in sums.items()}
