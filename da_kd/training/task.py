"""What is to be trained, and what a training says of itself: values only, fit for pickling.

Must not know ultralytics, nor which stage asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.training.mixing import Share
from da_kd.training.refresh import Refresh
from da_kd.training.signals import GROUND_TRUTH, Lesson, Signals, as_background, never_searched

if TYPE_CHECKING:
    from da_kd.recipe import Architecture, Schedule

# Weights, device, and whom to ask whether to stop: the AP, a fraction; None where it is undefined.
Score = Callable[[Path, str, Job], float | None]


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
        truth: the labels of images that are in no share are ground truth.
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
    truth: bool = False

    @cached_property
    def lesson(self) -> Lesson:
        """The images, and what their labels teach."""
        images = as_background(self.images, self.unanswerable) if self.unanswerable else self.images
        return Lesson(images, self.signals, self.shares, self.setting.seed, self.truth)

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


def read_result(folder: Path) -> TrainingResult:
    """Read what :func:`train` wrote."""
    tree = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return TrainingResult(**{**tree, "resumed_from": tuple(tree["resumed_from"]), "curves": tuple(tree["curves"])})
