"""The steps that train the student and its baselines: *distill*, *finetune*, source-only, oracle. Nothing runs here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from da_kd.data import ImageSet, nested_fraction
from da_kd.data import fingerprint as hash_images
from da_kd.detections import DetectionTable, read_table
from da_kd.events import Job
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.keys import (
    architecture_keys,
    ground_truth_version,
    keys_of,
    schedule_keys,
    training_units,
)
from da_kd.pipeline.steps.rounds import Round
from da_kd.recipe import Schedule
from da_kd.stages import distill, finetune
from da_kd.training import TrainingTask, train


def add_distill(builder: Builder, this: Round) -> None:
    """Add the student of a round, trained on its reviewed pseudo labels."""
    recipe, config, target = builder.recipe, builder.recipe.distill, builder.inputs.get("target")
    if config is None:
        return
    begin, review = _start_of(builder, this), this.name("review")
    start = builder.made(begin, "weights.pt") if begin else None
    parts = {
        **keys_of(config, "distill"),
        **architecture_keys(recipe.student, "student"),
        "review": builder.print_of(review),
        "seed": recipe.seed,
    }
    if begin:
        parts[begin.partition("@")[0]] = builder.print_of(begin)

    def work(out: Path, job: Job) -> None:
        labels = _usable(target, read_table(builder.made(review, "labels.parquet")))
        distill.run(recipe.student, config, labels, start, builder.setting(), out, job)

    builder.add(this.name("student"), "distill", parts, training_units(recipe.student, config, target), work)


def _start_of(builder: Builder, this: Round) -> str:
    """Return the step whose weights the student of a round starts from; '' for the architecture's own."""
    if this.number > 1 and builder.recipe.rounds.init == "previous":
        return this.before("student")
    return "source_only" if builder.recipe.distill is not None and builder.recipe.distill.init == "source" else ""


def add_finetune(builder: Builder) -> None:
    """Add the student going on with labelled target images."""
    recipe, config = builder.recipe, builder.recipe.finetune
    if config is None:
        return
    labelled = nested_fraction(builder.inputs.get("target_labelled"), config.fraction)
    parts = {
        **keys_of(config, "finetune"),
        **architecture_keys(recipe.student, "student"),
        "student": builder.print_of("student"),
        "data.target_labelled": hash_images(labelled),
        "seed": recipe.seed,
    }

    def work(out: Path, job: Job) -> None:
        start = builder.made("student", "weights.pt")
        finetune.run(recipe.student, config, labelled, start, builder.setting(), out, job)

    units, version = training_units(recipe.student, config, labelled), ground_truth_version(labelled)
    builder.add("finetuned", "finetune", parts, units, work, version=version)


def add_source_only(builder: Builder, stage: str) -> None:
    """Add the student's architecture trained on the source alone, with the schedule of *distill*."""
    schedule = builder.recipe.distill
    if schedule is not None:
        add_baseline(builder, "source_only", stage, schedule, "distill", "source")


def add_baseline(builder: Builder, name: str, stage: str, schedule: Schedule, place: str, data: str) -> None:
    """Add the training of the student's architecture on labelled images alone."""
    recipe, images = builder.recipe, builder.inputs.get(data)
    parts = {
        **schedule_keys(schedule, place),
        **architecture_keys(recipe.student, "student"),
        f"data.{data}": builder.hashes[data],
        "seed": recipe.seed,
    }

    def work(out: Path, job: Job) -> None:
        task = TrainingTask(name, recipe.student, None, schedule, images, builder.setting())
        result = train(task, out, job)
        job.note(f"'{name}' learned from {result.images} images, {result.boxes} boxes, {result.steps} steps.")

    units, version = training_units(recipe.student, schedule, images), ground_truth_version(images)
    builder.add(name, stage, parts, units, work, kind="baselines", version=version)


def _usable(images: ImageSet, labels: DetectionTable) -> ImageSet:
    """Return the readable images with the reviewed labels as their boxes."""
    good = [index for index, reason in enumerate(labels.reason) if not reason]
    return dataclasses.replace(images, table=labels.take(good))
