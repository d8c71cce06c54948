"""The steps of a recipe: for each, what decides its output and how it is made. Nothing runs here.

Every fingerprint is known before anything runs, since it is made of keys and of the fingerprints of what goes in.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from da_kd.data import ImageSet, nested_fraction
from da_kd.data import fingerprint as hash_images
from da_kd.detections import DetectionTable, read_table
from da_kd.errors import RecipeError, WeightsError
from da_kd.events import Job
from da_kd.hashing import hash_file, hash_json
from da_kd.pipeline.inputs import Inputs
from da_kd.recipe import Architecture, Evaluate, Recipe, Schedule, Teacher
from da_kd.stages import distill, evaluate, finetune, fuse, predict, review, teach
from da_kd.stages.review.journal import digest
from da_kd.store import Output, Store
from da_kd.teachers import Teacher as Model
from da_kd.teachers import adapter
from da_kd.teachers.device import resolve_device
from da_kd.training import Setting, TrainingTask, adapt_batch_norm, train

STAGES = ("teach", "predict", "fuse", "review", "distill", "finetune", "evaluate", "report")

Work = Callable[[Path, Job], None]


@dataclass(frozen=True)
class Step:
    """One step: its name, the stage it belongs to, its output, and how the output is made."""

    name: str
    stage: str
    output: Output
    work: Work


def build_steps(recipe: Recipe, inputs: Inputs, store: Store) -> dict[str, Step]:
    """Return the steps of a recipe in the order they run, by name; *report* is not one, since it is never kept.

    Raises:
        DataError: a set that a step needs is missing.
        WeightsError: a teacher's weights are missing.
    """
    return _Builder(recipe, inputs, store).build()


class _Builder:
    """Collects steps; each method adds those of one stage."""

    def __init__(self, recipe: Recipe, inputs: Inputs, store: Store) -> None:
        self.recipe, self.inputs, self.store = recipe, inputs, store
        self.workspace = store.root.parent
        self.steps: dict[str, Step] = {}
        self.hashes = {name: hash_images(images) for name, images in inputs.sets.items()}
        self.hashes["target"] = _without_labels(inputs.get("target"))

    def build(self) -> dict[str, Step]:
        """Return all steps."""
        for teacher in self.recipe.teachers:
            if teacher.weights is None:
                self._teach(teacher)
            if teacher.adapt == "batch_norm":
                self._adapt(teacher)
        for teacher in self.recipe.teachers:
            self._predict(teacher)
        self._fuse()
        self._review()
        if self.recipe.distill is not None:
            if self.recipe.distill.init == "source":
                self._source_only("distill")
            self._distill()
        if self.recipe.finetune is not None:
            self._finetune()
        if self.recipe.evaluate is not None:
            self._evaluate()
        return self.steps

    def _add(
        self,
        name: str,
        stage: str,
        parts: Mapping[str, Any],
        units: float,
        work: Work,
        kind: str = "",
        version: int = 1,
    ) -> None:
        self.steps[name] = Step(name, stage, Output(kind or stage, dict(parts), version, units), work)

    def _made(self, name: str, file: str = "") -> Path:
        """Return the folder (or a file in it) that a step's output lies in once it is made."""
        return self.store.path(self.steps[name].output) / file

    def _print(self, name: str) -> str:
        return self.steps[name].output.fingerprint

    def _teach(self, teacher: Teacher) -> None:
        schedule = teacher.schedule or self.recipe.teach
        if teacher.architecture is None or schedule is None:
            raise RecipeError([f"teachers.{teacher.name}: training it needs 'architecture' and a schedule"])
        architecture, images = teacher.architecture, self.inputs.get("source")
        place = f"teachers.{teacher.name}.schedule" if teacher.schedule else "teach"
        parts = {
            **_keys(schedule, place),
            **_architecture(architecture, f"teachers.{teacher.name}.architecture"),
            "data.source": self.hashes["source"],
            "seed": self.recipe.seed,
        }

        def work(out: Path, job: Job) -> None:
            teach.run(teacher.name, architecture, schedule, images, self._setting(), out, job)

        self._add(f"teach:{teacher.name}", "teach", parts, _training_units(architecture, schedule, images), work)

    def _adapt(self, teacher: Teacher) -> None:
        path, decided = self._origin(teacher)
        images = self.inputs.get("target")
        parts = {**decided, "data.target": self.hashes["target"], f"teachers.{teacher.name}.adapt": teacher.adapt}

        def work(out: Path, job: Job) -> None:
            adapt_batch_norm(path, images, resolve_device(self.recipe.device), out, job)

        self._add(f"adapt:{teacher.name}", "teach", parts, len(images.table), work, kind="adapt")

    def _origin(self, teacher: Teacher) -> tuple[Path, dict[str, Any]]:
        """Return the weights a teacher begins with, given or trained, and what decides them."""
        step = f"teach:{teacher.name}"
        if teacher.weights is None:
            return self._made(step, "weights.pt"), {step: self._print(step)}
        path = Path(teacher.weights)
        if not path.is_file():
            place = f"teachers.{teacher.name}.weights"
            raise WeightsError(f"{place}: expected a file at {path}; there is none. Put it there.")
        return path, {f"teachers.{teacher.name}.weights": hash_file(path)}

    def _setting(self) -> Setting:
        recipe = self.recipe
        return Setting(recipe.seed, resolve_device(recipe.device), recipe.workers)

    def _teacher(self, teacher: Teacher) -> tuple[Model, dict[str, Any]]:
        """Return a teacher's model and what decides its answers."""
        path, decided = self._origin(teacher)
        step, prefix = f"adapt:{teacher.name}", f"teachers.{teacher.name}"
        if step in self.steps:
            path, decided = self._made(step, "weights.pt"), {step: self._print(step)}
        model = adapter(teacher.kind)(path, teacher.options)
        if teacher.weights is not None and step not in self.steps:
            decided[f"{prefix}.weights"] = model.fingerprint()  # the file, and files that its options name
        options = {
            key: value
            for key, value in teacher.options.items()
            if not os.path.isfile(str(value))  # noqa: PTH113 - unlike pathlib's, it takes a text too long for a path
        }
        return model, {**decided, f"{prefix}.kind": teacher.kind, **_flat(options, f"{prefix}.options")}

    def _predict(self, teacher: Teacher) -> None:
        model, decided = self._teacher(teacher)
        config, images = self.recipe.predict, self.inputs.get("target")
        parts = {
            **decided,
            "predict.floor": config.floor,
            "predict.shard": config.shard,
            "data.target": self.hashes["target"],
        }

        def work(out: Path, job: Job) -> None:
            predict.run(teacher.name, model, config, images, resolve_device(self.recipe.device), out, job)

        self._add(f"predict:{teacher.name}", "predict", parts, len(images.table), work)

    def _fuse(self) -> None:
        recipe = self.recipe
        parts: dict[str, Any] = {**_keys(recipe.fuse, "fuse"), "classes": list(recipe.classes)}
        for teacher in recipe.teachers:
            parts[f"predict:{teacher.name}"] = self._print(f"predict:{teacher.name}")
            parts |= _flat(teacher.classes, f"teachers.{teacher.name}.classes")
            parts[f"teachers.{teacher.name}.weight"] = teacher.weight
            parts |= _flat(teacher.class_weights, f"teachers.{teacher.name}.class_weights")

        def work(out: Path, job: Job) -> None:
            said = {t.name: predict.read_predictions(self._made(f"predict:{t.name}")) for t in recipe.teachers}
            fuse.run(recipe.teachers, said, recipe.fuse, recipe.classes, out, job)

        self._add("fuse", "fuse", parts, len(self.inputs.get("target").table), work, version=2)

    def _review(self) -> None:
        config, target = self.recipe.review, self.inputs.get("target")
        decided = digest(self.workspace, target.table.sha)
        parts: dict[str, Any] = {"review.mode": config.mode, "fuse": self._print("fuse"), "review.decisions": decided}
        if config.mode == "auto":
            parts |= _keys(config.accept, "review.accept")

        def work(out: Path, job: Job) -> None:
            given = self.review_input()
            step = review.auto if config.mode == "auto" else review.finish
            step(config, given, self.workspace, out, job)

        self._add("review", "review", parts, len(target.table), work)

    def review_input(self) -> review.ReviewInput:
        """Return what *review* works on, once *fuse* is made."""
        return _review_input(self.recipe, self.inputs, self.store, self.steps["fuse"])

    def _distill(self) -> None:
        recipe, config, target = self.recipe, self.recipe.distill, self.inputs.get("target")
        if config is None:
            return
        start = self._made("source_only", "weights.pt") if config.init == "source" else None
        parts = {
            **_keys(config, "distill"),
            **_architecture(recipe.student, "student"),
            "review": self._print("review"),
            "seed": recipe.seed,
        }
        if start is not None:
            parts["source_only"] = self._print("source_only")

        def work(out: Path, job: Job) -> None:
            labels = _usable(target, read_table(self._made("review", "labels.parquet")))
            distill.run(recipe.student, config, labels, start, self._setting(), out, job)

        self._add("student", "distill", parts, _training_units(recipe.student, config, target), work)

    def _finetune(self) -> None:
        recipe, config = self.recipe, self.recipe.finetune
        if config is None:
            return
        labelled = nested_fraction(self.inputs.get("target_labelled"), config.fraction)
        parts = {
            **_keys(config, "finetune"),
            **_architecture(recipe.student, "student"),
            "student": self._print("student"),
            "data.target_labelled": hash_images(labelled),
            "seed": recipe.seed,
        }

        def work(out: Path, job: Job) -> None:
            start = self._made("student", "weights.pt")
            finetune.run(recipe.student, config, labelled, start, self._setting(), out, job)

        self._add("finetuned", "finetune", parts, _training_units(recipe.student, config, labelled), work)

    def _source_only(self, stage: str) -> None:
        schedule = self.recipe.distill
        if schedule is not None:
            self._baseline("source_only", stage, schedule, "distill", "source")

    def _baseline(self, name: str, stage: str, schedule: Schedule, place: str, data: str) -> None:
        """Add the training of the student's architecture on labelled images alone."""
        recipe, images = self.recipe, self.inputs.get(data)
        parts = {
            **{key: value for key, value in _keys(schedule, place).items() if key != "distill.init"},
            **_architecture(recipe.student, "student"),
            f"data.{data}": self.hashes[data],
            "seed": recipe.seed,
        }

        def work(out: Path, job: Job) -> None:
            task = TrainingTask(name, recipe.student, None, schedule, images, self._setting())
            result = train(task, out, job)
            job.note(f"'{name}' learned from {result.images} images, {result.boxes} boxes, {result.steps} steps.")

        self._add(name, stage, parts, _training_units(recipe.student, schedule, images), work, kind="baselines")

    def _evaluate(self) -> None:
        recipe, config = self.recipe, self.recipe.evaluate
        if config is None:
            return
        missing = absent_rows(recipe)
        if "source_only" not in missing and "source_only" not in self.steps:
            self._source_only("evaluate")
        schedule = config.oracle_schedule or recipe.distill
        if "oracle" not in missing and schedule is not None:
            place = "evaluate.oracle_schedule" if config.oracle_schedule else "distill"
            self._baseline("oracle", "evaluate", schedule, place, "target_labelled")
        for row in rows(recipe):
            if row not in missing:
                self._score(row, config)

    def _score(self, row: str, config: Evaluate) -> None:
        recipe, test = self.recipe, self.inputs.get("test")
        classes: Mapping[str, str | None] = {}
        if row.startswith("teacher:"):
            teacher = next(t for t in recipe.teachers if f"teacher:{t.name}" == row)
            model, decided = self._teacher(teacher)
            classes = teacher.classes
            decided = {**decided, **_flat(classes, f"teachers.{teacher.name}.classes")}
        else:
            model = adapter("ultralytics")(self._made(row, "weights.pt"), {})
            decided = {row: self._print(row)}
        parts = {
            **decided,
            "classes": list(recipe.classes),
            "evaluate.max_boxes": config.max_boxes,
            "data.test": self.hashes["test"],
        }

        def work(out: Path, job: Job) -> None:
            device = resolve_device(recipe.device)
            evaluate.run(row, model, classes, test, config, device=device, out=out, job=job)

        # Version 2: where a class map joins classes, duplicates go in the joined classes only.
        self._add(f"evaluate:{row}", "evaluate", parts, len(test.table), work, version=2 if classes else 1)


def rows(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the ladder's rows, from the bottom to the top."""
    teachers = (f"teacher:{teacher.name}" for teacher in recipe.teachers)
    return ("source_only", *teachers, "student", "finetuned", "oracle")


def absent_rows(recipe: Recipe) -> dict[str, str]:
    """Return the rows that a recipe cannot have, each with the reason."""
    config, missing = recipe.evaluate, dict[str, str]()
    if config is None:
        return dict.fromkeys(rows(recipe), "the recipe has no 'evaluate' section")
    if not config.source_only:
        missing["source_only"] = "the recipe leaves it out (evaluate.source_only: false)"
    elif recipe.data.source is None:
        missing["source_only"] = "there are no source images (data.source)"
    elif recipe.distill is None:
        missing["source_only"] = "there is no schedule to train it with (distill)"
    if not config.oracle:
        missing["oracle"] = "the recipe leaves it out (evaluate.oracle: false)"
    elif recipe.data.target_labelled is None:
        missing["oracle"] = "there are no labelled target images (data.target_labelled)"
    elif config.oracle_schedule is None and recipe.distill is None:
        missing["oracle"] = "there is no schedule to train it with (evaluate.oracle_schedule or distill)"
    if recipe.distill is None:
        missing["student"] = "the recipe has no 'distill' section"
    if recipe.finetune is None:
        missing["finetuned"] = "the recipe has no 'finetune' section"
    return missing


def _review_input(recipe: Recipe, inputs: Inputs, store: Store, step: Step) -> review.ReviewInput:
    table = read_table(store.path(step.output) / "labels.parquet")
    return review.ReviewInput(inputs.get("target").root, table, recipe.name, step.output.fingerprint)


def review_input(recipe: Recipe, inputs: Inputs, store: Store, steps: Mapping[str, Step]) -> review.ReviewInput:
    """Return what *review* works on, once *fuse* is made."""
    return _review_input(recipe, inputs, store, steps["fuse"])


def _usable(images: ImageSet, labels: DetectionTable) -> ImageSet:
    """Return the readable images with the reviewed labels as their boxes."""
    good = [index for index, reason in enumerate(labels.reason) if not reason]
    return dataclasses.replace(images, table=labels.take(good))


def _without_labels(images: ImageSet) -> str:
    """Return a hash of names and contents alone: a teacher answers in its own classes, whatever the recipe's are."""
    table = images.table
    return hash_json([table.key, table.sha, table.ok.tolist()])


def _flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested settings as one level, by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}.{key}")
        else:
            flat[f"{prefix}.{key}"] = value
    return flat


def _keys(section: BaseModel, prefix: str) -> dict[str, Any]:
    """Return a section of the recipe by dotted key."""
    return _flat(section.model_dump(mode="json"), prefix)


def _architecture(architecture: Architecture, prefix: str) -> dict[str, Any]:
    """Return what decides a model: its keys, and the content of a file that it names."""
    parts = _flat(architecture.model_dump(mode="json", include=set(Architecture.model_fields)), prefix)
    path = Path(architecture.model)
    if path.is_file():
        parts[f"{prefix}.model"] = hash_file(path)
    return parts


def _training_units(architecture: Architecture, schedule: Schedule, images: ImageSet) -> float:
    """Return a training's work in megapixels seen."""
    count = len(images.table)
    per_epoch = math.ceil(count / schedule.batch)
    epochs = schedule.epochs or max(1, round((schedule.steps or 1) / per_epoch))
    return epochs * count * architecture.imgsz**2 / 1e6
