"""The steps up to reviewed labels: *teach* (and adapt), *predict*, *fuse*, *review*. Nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import fingerprint as hash_images
from da_kd.data import nested_fraction, only_classes, spread
from da_kd.detections import Vocabulary, read_table
from da_kd.errors import RecipeError
from da_kd.events import Job
from da_kd.pipeline.inputs import Inputs, learns
from da_kd.pipeline.steps.builder import Builder, Step, options_of, without_labels
from da_kd.pipeline.steps.keys import (
    architecture_keys,
    flat,
    ground_truth_version,
    keys_of,
    training_steps,
    training_units,
    training_version,
)
from da_kd.pipeline.steps.learning import extras_of, extras_parts, scorer_of, scorer_parts
from da_kd.pipeline.steps.restyling import RESTYLED, copies_for, copies_of
from da_kd.pipeline.steps.rounds import Round, first
from da_kd.recipe import Recipe, Simulate, Teacher, TeacherFinetune
from da_kd.stages import fuse, predict, review, teach
from da_kd.stages.review.journal import Entry, digest
from da_kd.store import Store
from da_kd.teachers.device import resolve_device
from da_kd.training import adapt, adapt_batch_norm, match_edges
from da_kd.training.object_edges import IMAGES

SAMPLE = 500  # labelled images a teacher is measured on; more hardly move a rate


def add_teach(builder: Builder, teacher: Teacher) -> None:
    """Add the training of a teacher on the source."""
    schedule = teacher.schedule or builder.recipe.teach
    if teacher.architecture is None or schedule is None:
        raise RecipeError([f"teachers.{teacher.name}: training it needs 'architecture' and a schedule"])
    architecture, images = teacher.architecture, builder.inputs.get("source")
    place, learned = f"teachers.{teacher.name}.schedule" if teacher.schedule else "teach", learns(teacher, images)
    parts = {
        **keys_of(schedule, place),
        **architecture_keys(architecture, f"teachers.{teacher.name}.architecture"),
        "data.source": builder.hashes["source"],
        "seed": builder.recipe.seed if teacher.seed is None else teacher.seed,
    }
    if teacher.kind != "ultralytics":
        parts[f"teachers.{teacher.name}.kind"] = teacher.kind
    if learned != images.vocabulary:
        images = only_classes(images, learned)
        parts |= {"data.source": hash_images(images), f"teachers.{teacher.name}.learns": list(learned)}
    rates = {"target_labelled": schedule.target_labelled}
    restyled = copies_for(builder, teacher.name, images, parts["seed"])
    parts |= {RESTYLED: builder.print_of(restyled)} if restyled else {}
    parts |= {**scorer_parts(builder, schedule, learned), **extras_parts(builder, rates)}
    score, copies = scorer_of(builder, schedule, learned), copies_of(builder)

    def work(out: Path, job: Job) -> None:
        taught = teach.with_restyled(images, builder.made(restyled)) if restyled else images
        setting = replace(builder.setting(), seed=parts["seed"])
        extras = extras_of(builder, rates, learned)
        teach.run(teacher.name, teacher.kind, architecture, schedule, taught, setting, out, job, score, extras=extras)

    more = copies + (1 + copies) * schedule.target_labelled
    units, version = training_units(architecture, schedule, images, more), ground_truth_version(images)
    if teacher.kind == "ultralytics":
        version = training_version(version, schedule, images, more)
    steps = training_steps(schedule, images, more)
    builder.add(f"teach:{teacher.name}", "teach", parts, units, work, version=version, training_steps=steps)


def add_tune(builder: Builder, teacher: Teacher, config: TeacherFinetune) -> None:
    """Add a trained teacher going on with labelled target images."""
    if teacher.architecture is None:
        raise RecipeError([f"teachers.{teacher.name}: 'finetune' needs 'architecture'"])
    architecture, name, begin = teacher.architecture, f"tune:{teacher.name}", f"teach:{teacher.name}"
    learned = learns(teacher, builder.inputs.get("source"))
    labelled = nested_fraction(builder.inputs.get("target_labelled"), config.fraction)
    if learned != labelled.vocabulary:
        labelled = only_classes(labelled, learned)
    seed = builder.recipe.seed if teacher.seed is None else teacher.seed
    parts = {
        **keys_of(config, f"teachers.{teacher.name}.finetune"),
        begin: builder.print_of(begin),
        "data.target_labelled": hash_images(labelled),
        "seed": seed,
        **scorer_parts(builder, config, learned),
    }
    score = scorer_of(builder, config, learned)

    def work(out: Path, job: Job) -> None:
        start, setting = builder.made(begin, "weights.pt"), replace(builder.setting(), seed=seed)
        teach.go_on(teacher.name, architecture, config, labelled, start, setting, out, job, score)

    units, version = training_units(architecture, config, labelled), ground_truth_version(labelled)
    version, steps = training_version(version, config, labelled), training_steps(config, labelled)
    builder.add(name, "teach", parts, units, work, version=version, training_steps=steps)


def add_adapt(builder: Builder, teacher: Teacher) -> None:
    """Add what fits a teacher to the target images: its normalisation, its input size."""
    path, decided = builder.origin(teacher)
    images = builder.inputs.get("target")
    prefix = f"teachers.{teacher.name}"
    parts = {**decided, "data.target": builder.hashes["target"], f"{prefix}.adapt": teacher.adapt}
    if teacher.kind == "torchvision" or teacher.match_scale:
        values, files = options_of(teacher)
        parts |= {f"{prefix}.options.{key}": value for key, value in {**values, **files}.items()}
    home = builder.inputs.get(_home(builder.recipe)) if teacher.match_scale else None
    if home is not None:
        parts |= {f"{prefix}.match_scale": True, f"data.{_home(builder.recipe)}": without_labels(home)}

    def work(out: Path, job: Job) -> None:
        device = resolve_device(builder.recipe.device)
        if teacher.kind == "torchvision":
            from da_kd.training_torchvision import adapt_torchvision

            adapt_torchvision(path, teacher.options, images, device, out, job)
        elif home is not None:
            adapt(
                path, images, home, device, out, job, batch_norm=teacher.adapt == "batch_norm", options=teacher.options
            )
        else:
            adapt_batch_norm(path, images, device, out, job)

    builder.add(f"adapt:{teacher.name}", "teach", parts, len(images.table), work, kind="adapt")


def add_edges(builder: Builder, teacher: Teacher) -> None:
    """Add what tells where a teacher's boxes are to end on the target."""
    at_home, before = builder.teacher(teacher, at_home=True)
    adapted, after = builder.teacher(teacher)
    name, classes = _home(builder.recipe), builder.recipe.classes
    home, target = builder.inputs.get(name), builder.inputs.get("target")
    parts = {
        **before,
        **after,
        **flat(teacher.classes, f"teachers.{teacher.name}.classes"),
        "classes": list(classes),
        f"data.{name}": builder.hashes[name],
        "data.target": builder.hashes["target"],
    }
    drawn = builder.inputs.get("target_dev") if teacher.match_edges == "target_dev" else None
    if drawn is not None:
        parts["data.target_dev"] = builder.hashes["target_dev"]

    def index(words: Vocabulary) -> tuple[int, ...]:
        return fuse.class_map(teacher.name, words, classes, teacher.classes).index

    def work(out: Path, job: Job) -> None:
        device = resolve_device(builder.recipe.device)
        match_edges(at_home, adapted, home, target, index, device, out, job, drawn=drawn)

    units = min(len(home), IMAGES) + min(len(target), IMAGES)
    builder.add(f"edges:{teacher.name}", "teach", parts, units, work, kind="adapt")


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

    name = f"predict:{teacher.name}"

    def work(out: Path, job: Job) -> None:
        earlier = builder.store.alike(builder.steps[name].output, apart=("data.target", "predict.shard"))
        predict.run(teacher.name, model, config, images, builder.recipe.device, out, job, earlier=earlier)

    builder.add(name, "predict", parts, len(images.table), work)
    if builder.store.finished(builder.steps[name].output):
        predict.refuse_unread(builder.made(name), config)  # this recipe may allow for fewer


def add_samples(builder: Builder, teachers: Sequence[Teacher]) -> None:
    """Add teachers running over the labelled images that *fuse* wants to measure them on."""
    for name in _samples(builder.recipe):
        for teacher in _measured(teachers):
            _add_sample(builder, name, teacher)


def _measured(teachers: Sequence[Teacher]) -> list[Teacher]:
    """Return the teachers that can be asked about other images; stored predictions are of the target's alone."""
    return [teacher for teacher in teachers if teacher.kind != "coco_file"]


def _samples(recipe: Recipe) -> tuple[str, ...]:
    """Return which labelled sets *fuse* reads: at home those no teacher learned from, else the source itself."""
    home = _home(recipe)
    wanted = {"source_val": home == "source_val", "source": home == "source" and recipe.data.source is not None}
    wanted["target_dev"] = recipe.data.target_dev is not None and recipe.fuse.fits_on("target_dev")
    return tuple(name for name, needed in wanted.items() if needed)


def _home(recipe: Recipe) -> str:
    """Return which set shows teachers as they are at home."""
    return "source_val" if recipe.data.source_val is not None else "source"


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
        predict.run(teacher.name, model, config, images, builder.recipe.device, out, job)

    builder.add(f"predict:{teacher.name}:{name}", "predict", parts, len(images.table), work)


def _read_sample(builder: Builder, name: str, teachers: Sequence[Teacher]) -> fuse.Sample:
    """Return what teachers said of a labelled set, once they have."""
    images = spread(builder.inputs.get(name), SAMPLE)
    steps = {teacher.name: f"predict:{teacher.name}:{name}" for teacher in _measured(teachers)}
    said = {teacher: predict.read_predictions(builder.made(step)) for teacher, step in steps.items()}
    return fuse.Sample(name, images.table, said, held_out=name != "source")


def add_fuse(builder: Builder, this: Round) -> None:
    """Add what makes pseudo labels of all that was said."""
    recipe, samples = builder.recipe, _samples(builder.recipe)
    parts: dict[str, Any] = {**keys_of(recipe.fuse, "fuse"), "classes": list(recipe.classes)}
    if not recipe.fuse.thresholds.slack:
        parts.pop("fuse.thresholds.slack")  # without it labels are as they were before there was such a key
    for teacher in this.voices:
        parts[f"predict:{teacher.name}"] = builder.print_of(f"predict:{teacher.name}")
        parts |= flat(teacher.classes, f"teachers.{teacher.name}.classes")
        parts[f"teachers.{teacher.name}.weight"] = teacher.weight
        parts |= flat(teacher.class_weights, f"teachers.{teacher.name}.class_weights")
        for step in (f"predict:{teacher.name}:{name}" for name in samples):
            if step in builder.steps:
                parts[step] = builder.print_of(step)
    parts |= {f"data.{name}": builder.hashes[name] for name in samples}
    audit = recipe.fuse.learns_from_audit
    decided = review.read_journal(builder.workspace) if audit else []
    if audit:
        parts["review.audit"] = review.audit_digest(builder.inputs.get("target").table, decided)

    def work(out: Path, job: Job) -> None:
        said = {t.name: predict.StoredPredictions(builder.made(f"predict:{t.name}")) for t in this.voices}
        known = {name: _read_sample(builder, name, this.voices) for name in samples}
        known |= _read_audit(builder, said, decided, job) if audit else {}
        fuse.run(this.voices, said, recipe.fuse, recipe.classes, out, job, known)

    # Version 6: of a class's few boxes, quantiles keep hardly more than was asked.
    version = 6 if recipe.fuse.thresholds.by == "quantile" else 5
    builder.add(this.name("fuse"), "fuse", parts, len(builder.inputs.get("target").table), work, version=version)


def _read_audit(
    builder: Builder, said: Mapping[str, predict.StoredPredictions], decided: Sequence[Entry], job: Job
) -> dict[str, fuse.Sample]:
    """Return the audited images that measure, if there are any, and what the teachers said of them."""
    target = builder.inputs.get("target").table
    truth, chances = review.truth_of_audit(target, decided, job)
    if not chances:
        return {}
    rows = {key: row for row, key in enumerate(target.key)}
    mine = [rows[key] for key in truth.key]
    theirs = {name: table.take(mine) for name, table in said.items()}
    weight = np.array([1 / chances[sha] for sha in truth.sha])
    return {"audit": fuse.Sample("audit", truth, theirs, held_out=True, weight=weight)}


def add_review(builder: Builder, this: Round) -> None:
    """Add what is decided about the pseudo labels."""
    config, target, labels = builder.recipe.review, builder.inputs.get("target"), this.name("fuse")
    # What is decided until the work begins, maybe hours from now, counts from the next run on.
    decided = review.read_journal(builder.workspace)
    parts: dict[str, Any] = {
        "review.mode": config.mode,
        "fuse": builder.print_of(labels),
        "review.decisions": digest(decided, target.table.sha),
    }
    if config.mode == "auto":
        parts |= keys_of(config.accept, "review.accept")
    if config.mode == "human" and config.audit.images:
        parts["review.audit.release"] = config.audit.release
    if config.mode == "simulate":
        add_simulated(builder, this, config.simulate, this.name("review"))
        return

    def work(out: Path, job: Job) -> None:
        given = _planned(builder, labels, decided)
        step = review.auto if config.mode == "auto" else review.finish
        step(config, given, builder.workspace, out, job)

    builder.add(this.name("review"), "review", parts, len(target.table), work)
    if config.mode == "human" and config.audit.images:
        _add_audit(builder, this)


def _add_audit(builder: Builder, this: Round) -> None:
    """Add what the audit says of the fused labels; no student waits for it, so that looking again trains none anew."""
    config, target, labels = builder.recipe.review.audit, builder.inputs.get("target").table, this.name("fuse")
    decided = review.read_journal(builder.workspace)
    parts: dict[str, Any] = {
        "fuse": builder.print_of(labels),
        "review.audit": review.audit_digest(target, decided),
        "review.audit.again": review.second_digest(target, decided),
        **{f"review.audit.{key}": getattr(config, key) for key in ("beta", "blind")},
        "seed": builder.recipe.seed,
    }

    def work(out: Path, job: Job) -> None:
        given = _planned(builder, labels, decided)
        review.measure(given, builder.workspace, out, job)

    builder.add(this.name("audit"), "review", parts, len(target), work, kind="audit")


def add_simulated(builder: Builder, this: Round, config: Simulate, name: str) -> None:
    """Add what a simulated reviewer makes of the pseudo labels."""
    target, labels, seed = builder.inputs.get("target"), this.name("fuse"), builder.recipe.seed
    decided = review.read_journal(builder.workspace)
    parts = {
        "review.mode": "simulate",
        "fuse": builder.print_of(labels),
        "review.decisions": digest(decided, target.table.sha),
        **{f"review.simulate.{key}": getattr(config, key) for key in ("budget", "error", "order")},
        "data.target_labelled": builder.hashes["target_labelled"],
        "seed": seed,
    }
    if config.order == "queue" and (overlap := builder.recipe.fuse.iou) != review.FUSE_IOU:
        parts["fuse.iou"] = overlap  # the queue once took the default whatever was fused with

    def work(out: Path, job: Job) -> None:
        given = _planned(builder, labels, decided)
        truth = builder.inputs.get("target_labelled").table
        review.simulated(config, given, truth, seed, builder.workspace, out, job)

    # Version 2: it says how right its labels are.
    builder.add(name, "review", parts, len(target.table), work, version=2)


def _planned(builder: Builder, labels: str, decided: Sequence[Entry]) -> review.ReviewInput:
    """Return what *review* works on, with the decisions that its fingerprint was made of."""
    given = review_input(builder.recipe, builder.inputs, builder.store, builder.steps, labels)
    return replace(given, decided=decided)


def review_input(
    recipe: Recipe, inputs: Inputs, store: Store, steps: Mapping[str, Step], labels: str = ""
) -> review.ReviewInput:
    """Return what *review* works on, once *fuse* (the step ``labels``; '' means the first round's) is made."""
    output = steps[labels or first(steps, "fuse")].output
    table = read_table(store.path(output) / "labels.parquet")
    return review.ReviewInput(
        *(inputs.get("target").root, table, recipe.name, output.fingerprint),
        audit=recipe.review.audit,
        seed=recipe.seed,
        most=recipe.review.images,
        fuse_iou=recipe.fuse.iou,
    )
