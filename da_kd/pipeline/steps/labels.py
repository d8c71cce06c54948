"""The steps up to reviewed labels: *teach* (and adapt), *predict*, *fuse*, *review*. Nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from da_kd.data import spread
from da_kd.detections import read_table
from da_kd.errors import RecipeError
from da_kd.events import Job
from da_kd.pipeline.inputs import Inputs
from da_kd.pipeline.steps.builder import Builder, Step, without_labels
from da_kd.pipeline.steps.keys import architecture_keys, flat, keys_of, training_units
from da_kd.recipe import Recipe, Teacher
from da_kd.stages import fuse, predict, review, teach
from da_kd.stages.review.journal import digest
from da_kd.store import Store
from da_kd.teachers.device import resolve_device
from da_kd.training import adapt_batch_norm

SAMPLE = 500  # labelled images a teacher is measured on; more hardly move a rate


def add_teach(builder: Builder, teacher: Teacher) -> None:
    """Add the training of a teacher on the source."""
    schedule = teacher.schedule or builder.recipe.teach
    if teacher.architecture is None or schedule is None:
        raise RecipeError([f"teachers.{teacher.name}: training it needs 'architecture' and a schedule"])
    architecture, images = teacher.architecture, builder.inputs.get("source")
    place = f"teachers.{teacher.name}.schedule" if teacher.schedule else "teach"
    parts = {
        **keys_of(schedule, place),
        **architecture_keys(architecture, f"teachers.{teacher.name}.architecture"),
        "data.source": builder.hashes["source"],
        "seed": builder.recipe.seed,
    }

    def work(out: Path, job: Job) -> None:
        teach.run(teacher.name, architecture, schedule, images, builder.setting(), out, job)

    builder.add(f"teach:{teacher.name}", "teach", parts, training_units(architecture, schedule, images), work)


def add_adapt(builder: Builder, teacher: Teacher) -> None:
    """Add the re-estimation of a teacher's normalisation on the target images."""
    path, decided = builder.origin(teacher)
    images = builder.inputs.get("target")
    parts = {**decided, "data.target": builder.hashes["target"], f"teachers.{teacher.name}.adapt": teacher.adapt}

    def work(out: Path, job: Job) -> None:
        adapt_batch_norm(path, images, resolve_device(builder.recipe.device), out, job)

    builder.add(f"adapt:{teacher.name}", "teach", parts, len(images.table), work, kind="adapt")


def add_predict(builder: Builder, teacher: Teacher) -> None:
    """Add one teacher running over the target images."""
    model, decided = builder.teacher(teacher)
    config, images = builder.recipe.predict, builder.inputs.get("target")
    parts = {
        **decided,
        "predict.floor": config.floor,
        "predict.shard": config.shard,
        "data.target": builder.hashes["target"],
    }

    def work(out: Path, job: Job) -> None:
        predict.run(teacher.name, model, config, images, resolve_device(builder.recipe.device), out, job)

    builder.add(f"predict:{teacher.name}", "predict", parts, len(images.table), work)


def add_samples(builder: Builder) -> None:
    """Add every teacher running over the labelled images that *fuse* wants to measure it on."""
    for name in _samples(builder.recipe):
        for teacher in _measured(builder.recipe):
            _add_sample(builder, name, teacher)


def _measured(recipe: Recipe) -> list[Teacher]:
    """Return the teachers that can be asked about other images; stored predictions are of the target's alone."""
    return [teacher for teacher in recipe.teachers if teacher.kind != "coco_file"]


def _samples(recipe: Recipe) -> tuple[str, ...]:
    """Return which labelled sets *fuse* reads: at home those no teacher learned from, else the source itself."""
    home = "source_val" if recipe.data.source_val is not None else "source"
    wanted = {"source_val": home == "source_val", "source": home == "source" and recipe.data.source is not None}
    wanted["target_dev"] = recipe.data.target_dev is not None
    return tuple(name for name, needed in wanted.items() if needed)


def _add_sample(builder: Builder, name: str, teacher: Teacher) -> None:
    """Add one teacher running over a labelled set; at home it is the teacher before it was adapted."""
    model, decided = builder.teacher(teacher, at_home=name != "target_dev")
    config = builder.recipe.predict.model_copy(update={"max_bad": 1.0})
    images = spread(builder.inputs.get(name), SAMPLE)
    parts = {
        **decided,
        "predict.floor": config.floor,
        "predict.shard": config.shard,
        f"data.{name}": without_labels(images),
    }

    def work(out: Path, job: Job) -> None:
        predict.run(teacher.name, model, config, images, resolve_device(builder.recipe.device), out, job)

    builder.add(f"predict:{teacher.name}:{name}", "predict", parts, len(images.table), work)


def _read_sample(builder: Builder, name: str) -> fuse.Sample:
    """Return what the teachers said of a labelled set, once they have."""
    images = spread(builder.inputs.get(name), SAMPLE)
    steps = {teacher.name: f"predict:{teacher.name}:{name}" for teacher in _measured(builder.recipe)}
    said = {teacher: predict.read_predictions(builder.made(step)) for teacher, step in steps.items()}
    return fuse.Sample(name, images.table, said, held_out=name != "source")


def add_fuse(builder: Builder) -> None:
    """Add what makes pseudo labels of all that was said."""
    recipe, samples = builder.recipe, _samples(builder.recipe)
    parts: dict[str, Any] = {**keys_of(recipe.fuse, "fuse"), "classes": list(recipe.classes)}
    for teacher in recipe.teachers:
        parts[f"predict:{teacher.name}"] = builder.print_of(f"predict:{teacher.name}")
        parts |= flat(teacher.classes, f"teachers.{teacher.name}.classes")
        parts[f"teachers.{teacher.name}.weight"] = teacher.weight
        parts |= flat(teacher.class_weights, f"teachers.{teacher.name}.class_weights")
    for step in builder.steps:
        if step.startswith("predict:") and step.endswith(tuple(f":{name}" for name in samples)):
            parts[step] = builder.print_of(step)
    parts |= {f"data.{name}": builder.hashes[name] for name in samples}

    def work(out: Path, job: Job) -> None:
        said = {t.name: predict.read_predictions(builder.made(f"predict:{t.name}")) for t in recipe.teachers}
        known = {name: _read_sample(builder, name) for name in samples}
        fuse.run(recipe.teachers, said, recipe.fuse, recipe.classes, out, job, known)

    builder.add("fuse", "fuse", parts, len(builder.inputs.get("target").table), work, version=3)


def add_review(builder: Builder) -> None:
    """Add what is decided about the pseudo labels."""
    config, target = builder.recipe.review, builder.inputs.get("target")
    decided = digest(builder.workspace, target.table.sha)
    parts: dict[str, Any] = {"review.mode": config.mode, "fuse": builder.print_of("fuse"), "review.decisions": decided}
    if config.mode == "auto":
        parts |= keys_of(config.accept, "review.accept")

    def work(out: Path, job: Job) -> None:
        given = review_input(builder.recipe, builder.inputs, builder.store, builder.steps)
        step = review.auto if config.mode == "auto" else review.finish
        step(config, given, builder.workspace, out, job)

    builder.add("review", "review", parts, len(target.table), work)


def review_input(recipe: Recipe, inputs: Inputs, store: Store, steps: Mapping[str, Step]) -> review.ReviewInput:
    """Return what *review* works on, once *fuse* is made."""
    output = steps["fuse"].output
    table = read_table(store.path(output) / "labels.parquet")
    return review.ReviewInput(inputs.get("target").root, table, recipe.name, output.fingerprint)
