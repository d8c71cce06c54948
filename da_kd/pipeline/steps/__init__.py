"""The steps of a recipe: for each, what decides its output and how it is made. Nothing runs here."""

from __future__ import annotations

from da_kd.pipeline.inputs import Inputs
from da_kd.pipeline.steps.builder import TRAINED, Builder, Step, dressed
from da_kd.pipeline.steps.labels import (
    add_adapt,
    add_edges,
    add_fuse,
    add_predict,
    add_review,
    add_samples,
    add_teach,
    add_tune,
    review_input,
)
from da_kd.pipeline.steps.lineage import for_rows, lineage
from da_kd.pipeline.steps.restyling import add_restyle
from da_kd.pipeline.steps.review_value import (
    add_point_reviews,
    add_point_scores,
    add_point_students,
    is_point,
    review_value,
)
from da_kd.pipeline.steps.rounds import first, rounds_of
from da_kd.pipeline.steps.scores import absent_rows, add_evaluate, rows
from da_kd.pipeline.steps.trainings import add_adapted_start, add_distill, add_finetune, add_warm_start
from da_kd.recipe import Recipe
from da_kd.store import Store

__all__ = [
    "STAGES",
    "TRAINED",
    "Step",
    "absent_rows",
    "build_steps",
    "dressed",
    "first",
    "for_rows",
    "is_point",
    "lineage",
    "review_input",
    "review_value",
    "rows",
]

STAGES = ("teach", "predict", "fuse", "review", "distill", "finetune", "evaluate", "report")


def build_steps(recipe: Recipe, inputs: Inputs, store: Store) -> dict[str, Step]:
    """Return the steps of a recipe in the order they run, by name; *report* is not one, since it is never kept.

    Raises:
        DataError: a set that a step needs is missing.
        WeightsError: a teacher's weights are missing.
    """
    builder = Builder(recipe, inputs, store)
    add_restyle(builder)
    for teacher in recipe.teachers:
        if teacher.weights is None:
            add_teach(builder, teacher)
        if teacher.finetune is not None:
            add_tune(builder, teacher, teacher.finetune)
        if teacher.adapt == "batch_norm" or teacher.match_scale:
            add_adapt(builder, teacher)
        if teacher.match_edges:
            add_edges(builder, teacher)
    for this in rounds_of(recipe):
        fresh = this.voices if this.number == 1 else this.voices[-1:]
        for teacher in fresh:
            add_predict(builder, teacher)
        add_samples(builder, fresh)
        add_fuse(builder, this)
        add_review(builder, this)
        add_point_reviews(builder, this)
        if recipe.distill is not None:
            if this.number == 1:
                add_warm_start(builder)
            if recipe.distill.adapt == "batch_norm" and this.number == 1:
                add_adapted_start(builder)
            add_distill(builder, this)
            add_point_students(builder, this)
    if recipe.finetune is not None:
        add_finetune(builder)
    if recipe.evaluate is not None:
        add_evaluate(builder)
        add_point_scores(builder)
    return builder.steps
