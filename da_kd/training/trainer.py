"""Ultralytics' detection trainer, fed from an image set and watched by a job; its model and checkpoints stay stock.

The loss is the library's too, but where labels leave a doubt (:mod:`da_kd.training.losses`).

A fixed schedule decides, and nothing is validated while it trains, since there may be no labelled image to validate on.
Only where a score is given is it asked after every epoch; the library stops by it. After every epoch the checkpoint is
copied under a temporary name and renamed, so that a kill never leaves a broken one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed as dist
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import RTDETRDetectionModel, yaml_model_load
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import strip_optimizer, unwrap_model

from da_kd.errors import DaKdError, DataError, RecipeError
from da_kd.events import Figures, Job
from da_kd.training.architecture import TRANSFORMER, head_of
from da_kd.training.averaging import decay_of
from da_kd.training.losses import set_criterion
from da_kd.training.memory import warn_smaller
from da_kd.training.refresh import refresh_labels, refreshed
from da_kd.training.signals import Lesson
from da_kd.training.table_data import StretchedDataset, TableDataset
from da_kd.training.task import Score, TrainingTask


class TableTrainer(DetectionTrainer):  # type: ignore[misc]
    """The library's trainer with our images, our progress and no validation.

    Args:
        overrides: the library's training arguments.
        task: what is trained; every image must be usable.
        folder: where ``resume.pt`` and ``curves.jsonl`` are kept.
        job: where progress goes; asked before every batch whether to stop.
    """

    def __init__(self, overrides: dict[str, Any], task: TrainingTask, folder: Path, job: Job) -> None:
        self._lesson, self._job, self._name, self._folder = task.lesson, job, task.name, folder
        self._refresh, self._fixed, self._labelled_after = task.refresh, task.lesson, 0
        self._average, self._score, self._score_now = task.schedule.ema, task.score, 0.0
        self._at_once = int(overrides["batch"])
        self.best_fitness: float | None = None
        super().__init__(overrides=overrides)
        self.args.distill_model = overrides.get("distill_model")  # where it lies now, not when it was interrupted
        self.add_callback("on_train_epoch_start", type(self).before_labels)
        self.add_callback("on_train_epoch_start", type(self).before_epoch)
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
        kind = StretchedDataset if isinstance(unwrap_model(self.model), RTDETRDetectionModel) else TableDataset
        return kind(
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
            # RT-DETR's own trainer differs in this method and in the way images are loaded, and in nothing else.
            kind = RTDETRTrainer if _is_transformer(cfg) else DetectionTrainer
            model = kind.get_model(self, cfg=cfg, weights=weights, verbose=verbose)
        except (AssertionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RecipeError(
                [f"the architecture of '{self._name}' cannot be built ({reason}); choose another 'width' or 'model'"]
            ) from error
        if kind is RTDETRTrainer:
            self.args.amp = False  # as the library advises: its matching fails on numbers that overflow
            _check_queries(model, self.args.imgsz, self._name)
        if weights is not None and not self.resume and RANK in {-1, 0}:
            self._tell_transfer(weights, model)
        return model

    def _tell_transfer(self, weights: Any, model: Any) -> None:
        """Say what of the weights to start from does not fit the model, e.g. where the classes are others."""
        given, own = weights.state_dict(), model.state_dict()
        odd = [name for name, value in own.items() if name not in given or given[name].shape != value.shape]
        if odd:
            self._job.note(
                f"Training '{self._name}' took {len(own) - len(odd)} of {len(own)} tensors from the weights it starts "
                f"from; the others do not fit and begin anew, e.g. {odd[0]} (there {_shape(given.get(odd[0]))}, here "
                f"{_shape(own[odd[0]])}; {len(weights.names)} classes there, {self.data['nc']} here)."
            )

    def resume_training(self, ckpt: Any) -> None:
        """Take an interrupted training up; the library calls this last in its set-up, when all it copies is copied."""
        super().resume_training(ckpt)
        if self._average is not None:
            batches = len(self.train_loader) * self.epochs
            self.ema.decay = decay_of(self._average, batches // self.accumulate)  # it moves on once a step
        if self._refresh is not None or not self._lesson.rows.plain:
            model = unwrap_model(self.model)
            set_criterion(getattr(model, "student_model", model), self.start_epoch)

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Return the epoch's score, which the library stops by and keeps its best checkpoint by; None for no score."""
        if self._score is None:
            return {}, None
        if self.best_fitness is None or self._score_now > self.best_fitness:
            self.best_fitness = self._score_now
        return {"val_AP": self._score_now}, self._score_now

    def final_eval(self) -> None:
        """Score nothing; the last epoch's averaged weights are the result."""

    def plot_training_labels(self) -> None:
        """Plot nothing; the report has its own pictures."""

    def before_epoch(self) -> None:
        """Show the images that are this epoch's turn."""
        if self._lesson.shares and self.train_loader.dataset.show_epoch(self.epoch):
            self.train_loader.reset()  # processes that load images have copies of the set

    def before_labels(self) -> None:
        """Learn from labels made anew, once they are due; all processes of a training read what the first one wrote."""
        due = self._refresh.last_due(self.epoch, self.epochs) if self._refresh is not None else 0
        if self._refresh is None or due == self._labelled_after:
            return
        if RANK in {-1, 0}:
            refresh_labels(self._refresh, self._fixed, due, str(self.device), self._folder, self._job)
        if dist.is_initialized():
            dist.barrier()
        self._lesson, self._labelled_after = refreshed(self._fixed, due, self._folder), due
        self.train_loader.dataset.teach(self._lesson)
        self.train_loader.reset()  # its workers hold copies, and batches made ahead

    def before_batch(self) -> None:
        """Stop when asked to."""
        self._job.check()

    def after_epoch(self) -> None:
        """Keep the epoch's figures, and refuse to go on without numbers."""
        losses = {str(name): float(value) for name, value in self.tloss.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            self._lost(str(losses))
        if RANK not in {-1, 0}:
            return
        averaged = self.ema.ema.state_dict().values()
        if not all(bool(torch.isfinite(value).all()) for value in averaged):  # of the last step, which no loss shows
            self._lost("its weights are no longer finite")
        if self.batch_size < self._at_once:  # the library has halved it in its first epoch
            warn_smaller(self._name, self._at_once, self.batch_size, self._job)
            self._at_once = self.batch_size
        values = {**losses, "lr": float(self.optimizer.param_groups[-1]["lr"])}
        if self._score is not None:
            values["val_AP"] = self._score_now = self._scored(self._score)
        self._append({"epoch": self.epoch + 1, **values})
        self._job.emit(Figures(self._job.stage, task=self._name, step=self.epoch + 1, values=values))
        self._job.progress(self._name, self.epoch + 1, self.epochs, "epochs", self._speed(losses))

    def _lost(self, what: str) -> NoReturn:
        raise DaKdError(
            f"Training '{self._name}' lost its numbers in epoch {self.epoch + 1} ({what}); "
            "lower 'lr' or raise 'batch', then run again: it goes on from the epoch before."
        )

    def after_save(self) -> None:
        """Keep a whole copy of the checkpoint under a name that is never half-written."""
        if self._score is not None and self.fitness == self.best_fitness:
            self._copy(self.best, "best.pt")
        self._copy(self.last, "resume.pt")

    def _copy(self, checkpoint: Path, name: str) -> None:
        temporary = self._folder / f"{name}.tmp"
        shutil.copyfile(checkpoint, temporary)
        os.replace(temporary, self._folder / name)

    def _scored(self, score: Score) -> float:
        """Return the score of the averaged weights, as they would be written now."""
        weights = self.wdir / "scored.pt"
        averaged = deepcopy(self.ema.ema)
        torch.save({"epoch": self.epoch, "model": None, "ema": averaged, "train_args": vars(self.args)}, weights)
        strip_optimizer(weights)
        value = score(weights, str(self.device), self._job)
        if value is None:
            raise DataError(f"Training '{self._name}' expected boxes to validate on; found none in these images.")
        return value

    def _speed(self, losses: dict[str, float]) -> str:
        epochs = self.epoch + 1 - self.start_epoch
        rate = epochs * len(self.train_loader.dataset) / max(time.time() - self.train_time_start, 1e-9)
        score = "" if self._score is None else f", AP {self._score_now:.3f}"
        held = f", {self._get_memory():.1f} GB of GPU memory" if self.device.type == "cuda" else ""
        return f"{rate:.0f} images/s, loss {sum(losses.values()):.2f}{score}{held}"

    def _append(self, record: dict[str, float]) -> None:
        with (self._folder / "curves.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _shape(value: Any) -> str:
    return "none" if value is None else " x ".join(map(str, value.shape)) or "a number"


def _is_transformer(cfg: Any) -> bool:
    """Return whether a model's YAML, or the file it is in, is one of an RT-DETR."""
    return head_of(cfg if isinstance(cfg, dict) else yaml_model_load(cfg)) == TRANSFORMER


def _check_queries(model: Any, imgsz: int, name: str) -> None:
    """Refuse images too small for an RT-DETR, whose queries begin at as many places of its feature maps.

    Raises:
        RecipeError: there are fewer places.
    """
    places, queries = sum((imgsz // stride) ** 2 for stride in (8, 16, 32)), int(model.model[-1].num_queries)
    if places < queries:
        wanted = f"expected an 'imgsz' with {queries} places for queries; {imgsz} has {places}"
        raise RecipeError([f"the architecture of '{name}': {wanted}; raise it"])
