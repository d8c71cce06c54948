"""What a review is worth: one student for every budget of a simulated reviewer, in both orders. Nothing runs here.

All students have the same schedule, seed and start, and differ in nothing but the labels they learn from. Their steps
are no rows of the ladder: names that begin with ``value:`` tell them from those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from da_kd.pipeline.steps.builder import Builder, Step
from da_kd.pipeline.steps.labels import add_simulated
from da_kd.pipeline.steps.rounds import Round
from da_kd.pipeline.steps.scores import add_score
from da_kd.pipeline.steps.trainings import add_distill
from da_kd.recipe import Recipe, Simulate
from da_kd.store import Store

_PREFIX = "value:"
_ORDERS = ("queue", "random")


def points_of(recipe: Recipe) -> list[Simulate]:
    """Return the reviews that are compared: nothing spent, then every budget in both orders; none where none is asked.

    Where nothing is spent, both orders are the same.
    """
    asked = recipe.review.simulate
    if recipe.review.mode != "simulate" or not asked.budgets:
        return []
    spent = [(budget, order) for budget in sorted(set(asked.budgets)) for order in _ORDERS]
    return [
        asked.model_copy(update={"budget": budget, "order": order, "budgets": ()})
        for budget, order in [(0, _ORDERS[0]), *spent]
    ]


def is_point(step: str) -> bool:
    """Return whether a step belongs to this comparison, and to no row."""
    return step.startswith(_PREFIX)


def add_point_reviews(builder: Builder, this: Round) -> None:
    """Add the simulated reviews."""
    for point in points_of(builder.recipe):
        add_simulated(builder, this, point, _name("review", point))


def add_point_students(builder: Builder, this: Round) -> None:
    """Add a student of every review."""
    for point in points_of(builder.recipe):
        add_distill(builder, this, _name("review", point), _name("student", point))


def add_point_scores(builder: Builder) -> None:
    """Add the scoring of every student; the figures are those that the row of the student would have."""
    config = builder.recipe.evaluate
    for point in points_of(builder.recipe):
        if config is not None and _name("student", point) in builder.steps:
            add_score(builder, "student", config, _name("student", point), _name("score", point))


def review_value(recipe: Recipe, steps: Mapping[str, Step], store: Store) -> tuple[dict[str, Any], ...]:
    """Return the points that are made, each with ``order``, ``budget``, and ``F1`` and ``class_F1`` of the labels.

    ``AP`` and ``AP50`` are those of the student, None where none is scored.
    """
    found = []
    for point in points_of(recipe):
        labels = _read(steps, store, _name("review", point), "review.json")
        scored = _read(steps, store, _name("score", point), "metrics.json")
        if labels:
            head = {"order": point.order, "budget": point.budget}
            figures = {"F1": labels.get("F1"), "class_F1": labels.get("class_F1")}
            found.append({**head, **figures, "AP": scored.get("AP"), "AP50": scored.get("AP50")})
    return tuple(found)


def _name(what: str, point: Simulate) -> str:
    return f"{_PREFIX}{what}:{point.order}:{point.budget}"


def _read(steps: Mapping[str, Step], store: Store, name: str, file: str) -> dict[str, Any]:
    step = steps.get(name)
    if step is None or not store.finished(step.output):
        return {}
    tree: dict[str, Any] = json.loads((store.path(step.output) / file).read_text(encoding="utf-8"))
    return tree
