"""The steps that train the student and its baselines: *distill*, *finetune*, source-only, oracle. Nothing runs here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from da_kd.data import ImageSet, nested_fraction
from da_kd.data import fingerprint as hash_images
from da_kd.data.classes import names_of
from da_kd.detections import DetectionTable, read_table
from da_kd.events import Job
from da_kd.hashing import hash_file, hash_json
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.keys import (
    architecture_keys,
    ground_truth_version,
    keys_of,
    schedule_keys,
    training_steps,
    training_units,
    training_version,
    weighs_truth,
)
from da_kd.pipeline.steps.learning import extras_of, extras_parts, scorer_of, scorer_parts
from da_kd.pipeline.steps.restyling import copies_of, seen_parts, seen_source
from da_kd.pipeline.steps.rounds import Round
from da_kd.recipe import Distill, Recipe, Schedule
from da_kd.stages import distill, finetune, fuse, predict
from da_kd.stages import review as review_of
from da_kd.stages.fuse.thresholds import Cuts
from da_kd.teachers.device import resolve_device
from da_kd.training import Extra, Refresh, Signals, TrainingTask, adapt_batch_norm, train
from da_kd.training.signals import GROUND_TRUTH

ADAPTED = "adapted_start"  # the step that adapts what the student starts from
WARM = "warm_start"  # the step that trains what it starts from, where that is not the row source_only


def add_distill(builder: Builder, this: Round, review: str = "", name: str = "") -> None:
    """Add the student of a round, trained on its reviewed pseudo labels, or on those of the step ``review``."""
    recipe, config, target = builder.recipe, builder.recipe.distill, builder.inputs.get("target")
    if config is None:
        return
    begin, review = _start_of(builder, this), review or this.name("review")
    start = builder.made(begin, "weights.pt") if begin else None
    parts = {
        **keys_of(config, "distill"),
        **architecture_keys(recipe.student, "student"),
        "review": builder.print_of(review),
        "seed": recipe.seed,
    }
    for key in ("distill.refresh", "distill.features", "distill.source_steps"):
        parts.pop(key, None)  # without it a student is as it was before there was such a key
    features, decided = _features(builder, config)
    parts |= decided
    done: Mapping[str, tuple[str, ...]] = {}
    if config.refresh is not None:
        parts |= {"predict.floor": recipe.predict.floor, "fuse.iou": recipe.fuse.iou}
        done = review_of.completed(review_of.read_journal(builder.workspace), target.table.sha, recipe.classes)
    if done:
        parts["review.completed"] = hash_json(done)
    if begin:
        parts[begin.partition("@")[0]] = builder.print_of(begin)
    rates = {"target_labelled": config.mix.target_labelled, "source": config.mix.source}
    score = scorer_of(builder, config)
    parts |= {**extras_parts(builder, rates), **scorer_parts(builder, config)}
    truth = [builder.inputs.get(name) for name, rate in rates.items() if rate]
    refreshes_coarse = config.refresh is not None and _may_be_several(this)
    # Version 2: all ground truth counts 1, and boxes that may be of one of several classes are not made anew.
    version = 2 if refreshes_coarse or weighs_truth(config.weight, truth) else 1

    def work(out: Path, job: Job) -> None:
        labels = _usable(target, read_table(builder.made(review, "labels.parquet")))
        if refreshes_coarse:
            labels = _coarse_marked(builder, this, labels)
        refresh = _refresh(builder, this, config, done)
        setting = builder.setting()
        distill.run(
            recipe.student,
            config,
            labels,
            start,
            setting,
            out,
            job,
            refresh,
            extras=extras_of(builder, rates),
            score=score,
            features=features,
        )

    mixed_in = sum(rates.values())
    units, steps = training_units(recipe.student, config, target, mixed_in), training_steps(config, target, mixed_in)
    # Images that cannot be read are left out, and so are pseudo labels of those that ground truth is mixed in of.
    sure = bool(target.table.ok.all()) and not rates["target_labelled"]
    version = training_version(version, config, target, mixed_in, sure=sure)
    builder.add(name or this.name("student"), "distill", parts, units, work, version=version, training_steps=steps)


def _features(builder: Builder, config: Distill) -> tuple[Path | None, dict[str, Any]]:
    """Return the weights of the teacher whose features are imitated, if any are, and what decides them."""
    for teacher in builder.recipe.teachers:
        if teacher.name == config.features:
            path, decided = builder.weights(teacher)
            return path, {f"distill.features.{key}": value for key, value in decided.items()}
    return None, {}


def _may_be_several(this: Round) -> bool:
    """Return whether who labels has classes that may be one of several."""
    return any(len(names_of(target)) > 1 for teacher in this.voices for target in teacher.classes.values())


def _coarse_marked(builder: Builder, this: Round, labels: ImageSet) -> ImageSet:
    """Return a round's labels with the boxes marked that may be of one of several classes."""
    classes, maps = builder.recipe.classes, {}
    for teacher in this.voices:
        own = predict.StoredPredictions(builder.made(f"predict:{teacher.name}")).vocabulary
        maps[teacher.name] = fuse.class_map(teacher.name, own, classes, teacher.classes)
    return dataclasses.replace(labels, table=distill.mark_coarse(labels.table, maps, _bar(builder, this)))


def _bar(builder: Builder, this: Round) -> Cuts:
    """Return the thresholds by which a round's labels are made anew; what *review* accepts stays the bar."""
    recipe = builder.recipe
    cuts = fuse.read_cuts(builder.made(this.name("fuse")), recipe.classes)
    return cuts.at_least(recipe.review.accept.score) if recipe.review.mode == "auto" else cuts


def _refresh(builder: Builder, this: Round, config: Distill, done: Mapping[str, tuple[str, ...]]) -> Refresh | None:
    """Return how the labels of a round are made anew as its student learns, if they are."""
    if config.refresh is None:
        return None
    return distill.refresh_of(config, builder.recipe.fuse, _bar(builder, this), builder.recipe.predict, done)


def _start_of(builder: Builder, this: Round) -> str:
    """Return the step whose weights the student of a round starts from; '' for the architecture's own."""
    if this.number > 1 and builder.recipe.rounds.init == "previous":
        return this.before("student")
    return ADAPTED if ADAPTED in builder.steps else _source_weights(builder)


def _source_weights(builder: Builder) -> str:
    """Return the step that trains the source weights which students start from; '' where they start from others."""
    config = builder.recipe.distill
    if config is None or config.init != "source":
        return ""
    return WARM if WARM in builder.steps else "source_only"


def add_warm_start(builder: Builder) -> None:
    """Add the source weights that students start from: *source-only*, or others of their own."""
    config = builder.recipe.distill
    if config is None or config.init != "source":
        return
    if starts_apart(builder.recipe):
        restyled = builder.recipe.restyle is not None
        add_baseline(builder, WARM, "distill", config.on_source, "distill", "source", restyled=restyled)
    else:
        add_source_only(builder, "distill")


def starts_apart(recipe: Recipe) -> bool:
    """Return whether students start from source weights other than *source-only*: restyled, or of another length."""
    config = recipe.distill
    if config is None or config.init != "source":
        return False
    return recipe.restyle is not None or config.source_steps is not None


def add_adapted_start(builder: Builder) -> None:
    """Add the re-estimation, on the target images, of the normalisation that the student starts with."""
    recipe, images = builder.recipe, builder.inputs.get("target")
    parts = {"distill.adapt": "batch_norm", "data.target": builder.hashes["target"]}
    if begin := _source_weights(builder):
        start, parts[begin] = builder.made(begin, "weights.pt"), builder.print_of(begin)
    else:
        start, parts["student.model"] = Path(recipe.student.model), hash_file(Path(recipe.student.model))

    def work(out: Path, job: Job) -> None:
        adapt_batch_norm(start, images, resolve_device(recipe.device), out, job)

    builder.add(ADAPTED, "distill", parts, len(images.table), work, kind="adapt")


def add_finetune(builder: Builder) -> None:
    """Add the student, or what it started from, going on with labelled target images."""
    recipe, config = builder.recipe, builder.recipe.finetune
    if config is None:
        return
    begin = "source_only" if config.init == "source" else "student"
    if begin not in builder.steps:
        add_source_only(builder, "finetune")
    labelled = nested_fraction(builder.inputs.get("target_labelled"), config.fraction)
    parts = {
        **keys_of(config, "finetune"),
        **architecture_keys(recipe.student, "student"),
        begin: builder.print_of(begin),
        "data.target_labelled": hash_images(labelled),
        "seed": recipe.seed,
    }
    parts.pop("finetune.init")  # what it began with says it

    mix, review, score = config.mix, "review", scorer_of(builder, config)
    signals = GROUND_TRUTH
    parts |= {**extras_parts(builder, {"source": mix.source}), **scorer_parts(builder, config)}
    if mix.pseudo and recipe.distill is not None:
        signals = Signals(weight=recipe.distill.weight, uncertain=recipe.distill.uncertain)
        parts |= {"distill.weight": signals.weight, "distill.uncertain": signals.uncertain}
        parts["review"] = builder.print_of(review)

    def work(out: Path, job: Job) -> None:
        more = extras_of(builder, {"source": mix.source})
        if mix.pseudo:
            pseudo = _usable(builder.inputs.get("target"), read_table(builder.made(review, "labels.parquet")))
            more.append(Extra("pseudo", pseudo, mix.pseudo, truth=False))
        start, setting = builder.made(begin, "weights.pt"), builder.setting()
        finetune.run(
            recipe.student, config, labelled, start, setting, out, job, extras=more, signals=signals, score=score
        )

    units = training_units(recipe.student, config, labelled, mix.source + mix.pseudo)
    steps, version = training_steps(config, labelled, mix.source + mix.pseudo), ground_truth_version(labelled)
    if weighs_truth(signals.weight, [labelled, *([builder.inputs.get("source")] if mix.source else ())]):
        version = 3  # all ground truth counts 1
    version = training_version(version, config, labelled, mix.source + mix.pseudo, sure=not mix.pseudo)
    builder.add("finetuned", "finetune", parts, units, work, version=version, training_steps=steps)


def add_source_only(builder: Builder, stage: str) -> None:
    """Add the student's architecture trained on the source alone, with the schedule of *distill*."""
    schedule = builder.recipe.distill
    if schedule is not None:
        add_baseline(builder, "source_only", stage, schedule, "distill", "source")


def add_baseline(
    builder: Builder, name: str, stage: str, schedule: Schedule, place: str, data: str, *, restyled: bool = False
) -> None:
    """Add the training of the student's architecture on labelled images alone, the source's ``restyled`` or not."""
    recipe, images = builder.recipe, builder.inputs.get(data)
    parts = {
        **schedule_keys(schedule, place),
        **architecture_keys(recipe.student, "student"),
        f"data.{data}": builder.hashes[data],
        "seed": recipe.seed,
        **scorer_parts(builder, schedule),
        **(seen_parts(builder) if restyled else {}),
    }
    score, more = scorer_of(builder, schedule), copies_of(builder) if restyled else 0

    def work(out: Path, job: Job) -> None:
        seen = seen_source(builder) if restyled else images
        task = TrainingTask(name, recipe.student, None, schedule, seen, builder.setting(), score=score)
        result = train(task, out, job)
        job.note(f"'{name}' learned from {result.images} images, {result.boxes} boxes, {result.steps} steps.")

    units, version = training_units(recipe.student, schedule, images, more), ground_truth_version(images)
    steps, version = training_steps(schedule, images, more), training_version(version, schedule, images, more)
    builder.add(name, stage, parts, units, work, kind="baselines", version=version, training_steps=steps)


def _usable(images: ImageSet, labels: DetectionTable) -> ImageSet:
    """Return the readable images with the reviewed labels as their boxes."""
    good = [index for index, reason in enumerate(labels.reason) if not reason]
    return dataclasses.replace(images, table=labels.take(good))
