"""What would end a training, found before anything is trained: models that cannot be built, arguments nobody knows.

Knows the recipe's architectures and schedules; must not know stages, images or what was trained already.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.errors import DaKdError, RecipeError
from da_kd.offline import settle_ultralytics
from da_kd.teachers.torchvision import check_trainable
from da_kd.training.architecture import model_source

if TYPE_CHECKING:
    from da_kd.recipe import Architecture, Recipe, Schedule


def training_problems(recipe: Recipe, *, student: bool = True) -> list[str]:
    """Return a sentence for every architecture and schedule of a recipe that cannot be used.

    Args:
        recipe: the recipe.
        student: look at the student's trainings too, not at the teachers' alone.
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="da_kd-check-") as spare:
        for place, (kind, architecture, schedule) in _architectures(recipe, student).items():
            try:
                if kind == "torchvision":
                    assert schedule is not None  # noqa: S101 - a recipe without one is refused when it is read
                    check_trainable(architecture.model, architecture.imgsz, schedule.planned_batch)
                else:
                    model_source(architecture, Path(spare))
            except RecipeError as error:
                problems += [f"{place}: {problem}" for problem in error.problems]
            except DaKdError as error:
                problems.append(f"{place}: {error}")
    for place, schedule in _schedules(recipe, student).items():
        try:
            check_arguments(schedule, place)
        except RecipeError as error:
            problems += error.problems
    return problems


def check_arguments(schedule: Schedule, place: str) -> None:
    """Refuse further training arguments that ultralytics does not know, or whose values it does not take.

    Args:
        schedule: how to train.
        place: what it is called in messages.

    Raises:
        RecipeError: there is such an argument.
    """
    if not schedule.args:
        return
    settle_ultralytics()
    from ultralytics.cfg import get_cfg

    try:
        get_cfg(overrides=dict(schedule.args))
    except (SyntaxError, TypeError, ValueError) as error:  # an unknown name; a value of a wrong type; one out of range
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "unknown argument")
        raise RecipeError([f"{place}.args: {first} Correct it or take it out."]) from error


def _architectures(recipe: Recipe, student: bool) -> dict[str, tuple[str, Architecture, Schedule | None]]:
    """Return what is to be trained, by place: of which kind it is, the model, and how."""
    wanted: dict[str, tuple[str, Architecture, Schedule | None]] = {}
    if student and (recipe.distill is not None or recipe.evaluate is not None):
        wanted["student"] = ("ultralytics", recipe.student, recipe.distill)
    for teacher in recipe.teachers:
        if teacher.architecture is not None:
            how = teacher.schedule or recipe.teach
            wanted[f"teachers.{teacher.name}.architecture"] = (teacher.kind, teacher.architecture, how)
    return wanted


def _schedules(recipe: Recipe, student: bool) -> dict[str, Schedule]:
    """Return how it is trained, by place."""
    # The arguments of a torchvision training are checked with the recipe; they are not ultralytics'.
    teachers: dict[str, Schedule | None] = {
        f"teachers.{t.name}.schedule": t.schedule for t in recipe.teachers if t.kind != "torchvision"
    }
    teachers |= {f"teachers.{t.name}.finetune": t.finetune for t in recipe.teachers}
    users = {t.kind for t in recipe.teachers if t.architecture is not None and t.schedule is None}
    found: dict[str, Schedule | None] = {"teach": None if users == {"torchvision"} else recipe.teach, **teachers}
    if student:
        oracle = recipe.evaluate.oracle_schedule if recipe.evaluate is not None else None
        found |= {"distill": recipe.distill, "finetune": recipe.finetune, "evaluate.oracle_schedule": oracle}
    return {place: schedule for place, schedule in found.items() if schedule is not None}
