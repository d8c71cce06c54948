"""What decides an output, as flat, dotted keys; and how much work a training is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from da_kd.data import ImageSet
from da_kd.detections import State
from da_kd.hashing import hash_file
from da_kd.recipe import Architecture, Schedule
from da_kd.training import doubtful, warmup_epochs


def flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested settings as one level, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}.{key}")
        else:
            found[f"{prefix}.{key}"] = list(value) if isinstance(value, tuple) else value  # as JSON gives it back
    return found


_FEW_EPOCHS = 30  # a tenth of them is no more than three

# Keys that came later: at their default they are left out, so that what was made before them stays what it is.
_LATER = ("validate_on", "patience", "augment", "adapt", "mix", "ema", "source_steps")


def keys_of(section: BaseModel, prefix: str) -> dict[str, Any]:
    """Return a section of the recipe by dotted key."""
    return flat(_dumped(section, set(type(section).model_fields)), prefix)


def _dumped(section: BaseModel, names: set[str]) -> dict[str, Any]:
    """Return keys of a section as a tree."""
    fields = type(section).model_fields
    idle = {name for name in _LATER if name in fields and getattr(section, name) == fields[name].default}
    return section.model_dump(mode="json", include=names - idle)


def architecture_keys(architecture: Architecture, prefix: str) -> dict[str, Any]:
    """Return what decides a model: its keys, and the content of a file that it names."""
    parts = flat(architecture.model_dump(mode="json", include=set(Architecture.model_fields)), prefix)
    path = Path(architecture.model)
    if path.is_file():
        parts[f"{prefix}.model"] = hash_file(path)
    return parts


def schedule_keys(schedule: Schedule, prefix: str) -> dict[str, Any]:
    """Return what decides how long and how fast a model is trained, without a section's own keys beside it."""
    return flat(_dumped(schedule, set(Schedule.model_fields)), prefix)


def ground_truth_version(images: ImageSet) -> int:
    """Return the version of a training on ground truth: since 2, what it leaves open is not learned as background."""
    return 2 if doubtful(images.table) else 1


def weighs_truth(weight: str, truth: Iterable[ImageSet]) -> bool:
    """Return whether boxes count by score and ground truth has scores below 1, which COCO files can give."""
    return weight == "score" and any((each.table.score[each.table.state == State.KEPT] < 1).any() for each in truth)


def training_units(architecture: Architecture, schedule: Schedule, images: ImageSet, more: float = 0) -> float:
    """Return a training's work in megapixels seen; ``more`` images are mixed in for each of the set."""
    count, _, epochs = _length(schedule, images, more)
    return epochs * count * architecture.imgsz**2 / 1e6


def training_steps(schedule: Schedule, images: ImageSet, more: float = 0) -> int:
    """Return the most optimiser steps that a training takes; validation may end it before."""
    _, per_epoch, epochs = _length(schedule, images, more)
    return epochs * per_epoch


def training_version(base: int, schedule: Schedule, images: ImageSet, more: float = 0, *, sure: bool = True) -> int:
    """Return the version of a training of the ultralytics package: three later where its rate rises over more steps.

    Since then it rises over 100 steps at least where epochs are short, and no longer over three of these.

    Args:
        base: the version without that.
        schedule: how long it trains.
        images: the images.
        more: how many are mixed in for each of them.
        sure: epochs are as long as is planned; else nobody knows before the images are read, and it counts as longer.
    """
    if "warmup_epochs" in schedule.args or (schedule.epochs or math.inf) <= _FEW_EPOCHS:
        return base
    _, per_epoch, epochs = _length(schedule, images, more)
    longer = warmup_epochs(epochs, per_epoch) > min(3.0, epochs * 0.1)
    return base + 3 if longer or not sure or schedule.batch == "auto" else base


def _length(schedule: Schedule, images: ImageSet, more: float) -> tuple[int, int, int]:
    """Return images an epoch, steps an epoch, and epochs."""
    count = round(len(images.table) * (1 + more))
    per_epoch = math.ceil(count / schedule.planned_batch)
    return count, per_epoch, schedule.epochs or max(1, round((schedule.steps or 1) / per_epoch))
