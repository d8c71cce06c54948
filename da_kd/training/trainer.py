"""Ultralytics' detection trainer, fed from an image set and watched by a job; its model and checkpoints stay stock.

The loss is the library's too, but where labels leave a doubt (:mod:`da_kd.training.losses`).

A fixed schedule decides, so nothing is validated while it trains: there may be no labelled image to validate on. After
every epoch the checkpoint is copied under a temporary name and renamed, so that a kill never leaves a broken one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unwrap_model

from da_kd.errors import DaKdError, RecipeError
from da_kd.events import Figures, Job
from da_kd.training.losses import set_criterion
from da_kd.training.signals import Lesson
from da_kd.training.table_data import TableDataset


class TableTrainer(DetectionTrainer):  # type: ignore[misc]
    """The library's trainer with our images, our progress and no validation.

    Args:
        overrides: the library's training arguments.
        lesson: what to train on; every image must be usable.
        job: where progress goes; asked before every batch whether to stop.
        name: what the training is called in progress.
        folder: where ``resume.pt`` and ``curves.jsonl`` are kept.
    """

    def __init__(self, overrides: dict[str, Any], lesson: Lesson, job: Job, name: str, folder: Path) -> None:
        self._lesson, self._job, self._name, self._folder = lesson, job, name, folder
        super().__init__(overrides=overrides)
        self.add_callback("on_train_batch_start", type(self).before_batch)
        self.add_callback("on_train_epoch_end", type(self).after_epoch)
        self.add_callback("on_model_save", type(self).after_save)

    def get_dataset(self) -> dict[str, Any]:
        """Return the library's description of the data; the images themselves come from ``da_kd``."""
        names = dict(enumerate(self._lesson.images.table.vocabulary))
        return {"train": "", "val": "", "names": names, "nc": len(names), "channels": 3, "da_kd": self._lesson}

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> TableDataset:
        """Return the training images; the unused validation loader gets a handful of them."""
        lesson = self._lesson if mode == "train" else Lesson(self._lesson.images.take([0]))
        stride = max(int(unwrap_model(self.model).stride.max()), 32)
        return TableDataset(
            img_path="",
            imgsz=self.args.imgsz,
            batch_size=batch or 1,
            augment=mode == "train",
            hyp=self.args,
            rect=False,
            cache=self.args.cache if mode == "train" else None,
            stride=stride,
            pad=0.0,
            data={**self.data, "da_kd": lesson},
            task="detect",
        )

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the model.

        Raises:
            RecipeError: the architecture cannot be built at this width and depth.
        """
        try:
            return super().get_model(cfg=cfg, weights=weights, verbose=verbose)
        except (AssertionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RecipeError(
                [f"the architecture of '{self._name}' cannot be built ({reason}); choose another 'width' or 'model'"]
            ) from error

    def resume_training(self, ckpt: Any) -> None:
        """Take an interrupted training up; the library calls this last in its set-up, when all it copies is copied."""
        super().resume_training(ckpt)
        if not self._lesson.rows.plain:
            set_criterion(unwrap_model(self.model), self.start_epoch)

    def validate(self) -> tuple[dict[str, float], None]:
        """Validate nothing; see the module."""
        return {}, None

    def final_eval(self) -> None:
        """Score nothing; the last epoch's averaged weights are the result."""

    def plot_training_labels(self) -> None:
        """Plot nothing; the report has its own pictures."""

    def before_batch(self) -> None:
        """Stop when asked to."""
        self._job.check()

    def after_epoch(self) -> None:
        """Keep the epoch's figures, and refuse to go on without numbers."""
        losses = {str(name): float(value) for name, value in self.tloss.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise DaKdError(
                f"Training '{self._name}' lost its numbers in epoch {self.epoch + 1} ({losses}); "
                "lower 'lr' or raise 'batch', then run again: it goes on from the epoch before."
            )
        values = {**losses, "lr": float(self.optimizer.param_groups[-1]["lr"])}
        self._append({"epoch": self.epoch + 1, **values})
        self._job.emit(Figures(self._job.stage, task=self._name, step=self.epoch + 1, values=values))
        self._job.progress(self._name, self.epoch + 1, self.epochs, "epochs", self._speed(losses))

    def after_save(self) -> None:
        """Keep a whole copy of the checkpoint under a name that is never half-written."""
        temporary = self._folder / "resume.pt.tmp"
        shutil.copyfile(self.last, temporary)
        os.replace(temporary, self._folder / "resume.pt")

    def _speed(self, losses: dict[str, float]) -> str:
        epochs = self.epoch + 1 - self.start_epoch
        rate = epochs * len(self.train_loader.dataset) / max(time.time() - self.train_time_start, 1e-9)
        return f"{rate:.0f} images/s, loss {sum(losses.values()):.2f}"

    def _append(self, record: dict[str, float]) -> None:
        with (self._folder / "curves.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
