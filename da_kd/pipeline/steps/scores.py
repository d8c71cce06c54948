"""The rows of the ladder: which a recipe has, which it cannot have and why, and the steps that score them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from da_kd.data.classes import Target
from da_kd.events import Job
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.keys import flat
from da_kd.pipeline.steps.trainings import WARM, add_baseline, add_source_only, starts_apart
from da_kd.recipe import Evaluate, Recipe
from da_kd.stages import evaluate
from da_kd.teachers import adapter
from da_kd.teachers.device import resolve_device


def add_evaluate(builder: Builder) -> None:
    """Add the scoring of every row that the recipe can have."""
    recipe, config = builder.recipe, builder.recipe.evaluate
    if config is None:
        return
    missing = absent_rows(recipe)
    if "source_only" not in missing and "source_only" not in builder.steps:
        add_source_only(builder, "evaluate")
    schedule = config.oracle_schedule or recipe.distill
    if "oracle" not in missing and schedule is not None:
        place = "evaluate.oracle_schedule" if config.oracle_schedule else "distill"
        add_baseline(builder, "oracle", "evaluate", schedule, place, "target_labelled")
    for row in rows(recipe):
        if row not in missing:
            add_score(builder, row, config)


def add_score(builder: Builder, row: str, config: Evaluate, trained: str = "", name: str = "") -> None:
    """Add the scoring of a row, or of what the step ``trained`` makes in its place."""
    recipe, test = builder.recipe, builder.inputs.get("test")
    classes: Mapping[str, Target] = {}
    if row.startswith("teacher:"):
        teacher = next(t for t in recipe.teachers if f"teacher:{t.name}" == row)
        model, decided = builder.teacher(teacher)
        classes = teacher.classes
        decided = {**decided, **flat(classes, f"teachers.{teacher.name}.classes")}
    else:
        model = adapter("ultralytics")(builder.made(trained or row, "weights.pt"), {})
        decided = {row: builder.print_of(trained or row)}
    parts = {
        **decided,
        "classes": list(recipe.classes),
        "evaluate.max_boxes": config.max_boxes,
        "data.test": builder.hashes["test"],
    }

    def work(out: Path, job: Job) -> None:
        device = resolve_device(recipe.device)
        evaluate.run(row, model, classes, test, config, device=device, out=out, job=job)

    # Version 2: where a class map joins classes, duplicates go in the joined classes only. Version 3: with intervals,
    # types of errors, and curves.
    builder.add(name or f"evaluate:{row}", "evaluate", parts, len(test.table), work, version=3)


def rows(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the ladder's rows, from the bottom to the top."""
    teachers = (f"teacher:{teacher.name}" for teacher in recipe.teachers)
    warm = (WARM,) if starts_apart(recipe) else ()
    return ("source_only", *warm, *teachers, *_students(recipe), "finetuned", "oracle")


def _students(recipe: Recipe) -> tuple[str, ...]:
    """Return the rows of the students, round after round; the last is the student."""
    return (*(f"student@{number}" for number in range(1, recipe.rounds.count)), "student")


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
        missing |= dict.fromkeys(_students(recipe), "the recipe has no 'distill' section")
    if recipe.finetune is None:
        missing["finetuned"] = "the recipe has no 'finetune' section"
    return missing
