"""Which labels of the target rows have used: what a reader must know before calling one label-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from da_kd.data import ImageSet, nested_fraction
from da_kd.pipeline.steps import absent_rows
from da_kd.recipe import Recipe, Schedule, Teacher
from da_kd.stages import fuse
from da_kd.training.object_edges import IMAGES

_MIX = "distill.mix"


def labels_of_trainings(recipe: Recipe, sets: Mapping[str, ImageSet]) -> list[str]:
    """Return a sentence for every use that trainings made of labels beside their own images'.

    Args:
        recipe: says what is mixed in and validated on.
        sets: the image sets, by their key under ``data``.
    """
    return [sentence for _, sentence in _of_trainings(recipe, sets)]


def labels_of_pseudo(recipe: Recipe, fused: Path | None) -> list[str]:
    """Return a sentence for every use of labelled images that made pseudo labels what they are.

    Args:
        recipe: says who reviews.
        fused: the output of *fuse*, None where there is none.
    """
    used = fuse.labels_used(fused) if fused is not None else {}
    told = [
        f"Pseudo labels: {purpose} by the labels of {'the review: its ' if audited else 'data.'}{where}"
        f"{'; these are labels of the target domain, and every row after them has used them' if of_target else ''}."
        for purpose, where in used.items()
        for audited in [where.startswith("audit")]
        for of_target in [audited or where.startswith("target")]
    ]
    if recipe.review.mode == "simulate":
        config = recipe.review.simulate
        told.append(
            f"Review was simulated with the labels of data.target_labelled (budget: {config.budget} boxes, order: "
            f"{config.order}, errors: {config.error:.0%}); these are labels of the target domain, and the rows of "
            "students have used them."
        )
    return told


def labels_of_row(
    row: str, images: int, recipe: Recipe, sets: Mapping[str, ImageSet], fused: Path | None = None
) -> str:
    """Return which labels of the target a row has used, for its model card.

    Args:
        row: the row's name.
        images: how many it was trained on.
        recipe: what it was made by.
        sets: the image sets, by their key under ``data``.
        fused: the output of *fuse*, None where there is none.
    """
    parts = _parts_of(row, recipe)
    told = [sentence for part, sentence in _of_trainings(recipe, sets) if part in parts]
    told += labels_of_pseudo(recipe, fused) if "fuse" in parts else []
    used = " ".join(sentence for sentence in told if "labels of the target domain" in sentence)
    if row in ("finetuned", "oracle"):
        own = f"trained on those of {images} images"
        return f"{own}. {used}" if used else own
    return used or "none to train on; what people decided in review counts as pseudo labels"


def _of_trainings(recipe: Recipe, sets: Mapping[str, ImageSet]) -> list[tuple[str, str]]:
    """Return for every use the part of the recipe that asks for it, and the sentence."""
    told = []
    beside = f"learned from the labels of {len(sets.get('target_labelled', ()))} images of data.target_labelled beside"
    last = "these are labels of the target domain, and every student has used them."
    if recipe.distill is not None and recipe.distill.mix.target_labelled and "target_labelled" in sets:
        told.append((_MIX, f"Distill {beside} the pseudo labels; {last}"))
    for teacher in recipe.teachers:
        if _sees_target(teacher, recipe) and "target_labelled" in sets:
            told.append((_place(teacher), f"Teacher '{teacher.name}' {beside} the source; {last}"))
    for teacher in recipe.teachers:
        if teacher.finetune is not None and "target_labelled" in sets:
            count = len(nested_fraction(sets["target_labelled"], teacher.finetune.fraction))
            what = f"went on with the labels of {count} images of data.target_labelled"
            told.append((_place(teacher), f"Teacher '{teacher.name}' {what}; {last}"))
    for teacher in recipe.teachers:
        if teacher.match_edges == "target_dev" and "target_dev" in sets:
            count = min(len(sets["target_dev"]), IMAGES)
            what = f"ends its boxes as the labels of {count} images of data.target_dev do"
            told.append((_place(teacher), f"Teacher '{teacher.name}' {what}; {last}"))
    for place, schedule in _schedules(recipe).items():
        name = schedule.validate_on
        if name is not None and name in sets:
            domain = "; these are labels of the target domain" if name == "target_dev" else ""
            count = len(sets[name])
            sentence = f"Epochs of '{place}' were chosen by the labels of data.{name} ({count} images){domain}."
            told.append((place, sentence))
    return told


def _parts_of(row: str, recipe: Recipe) -> set[str]:
    """Return the parts of the recipe that a row stands on, as far as they can ask for labels."""
    if row.startswith("teacher:"):
        return _of_teachers(teacher for teacher in recipe.teachers if row == f"teacher:{teacher.name}")
    if row in ("source_only", "warm_start"):
        return {"distill"}  # they have its schedule, and nothing else of it
    if row == "oracle":
        own = recipe.evaluate is not None and recipe.evaluate.oracle_schedule is not None
        return {"evaluate.oracle_schedule" if own else "distill"}
    pseudo = {"fuse", *_of_teachers(recipe.teachers)}
    if row != "finetuned" or recipe.finetune is None:
        return {*pseudo, _MIX, "distill"}
    if recipe.finetune.init == "student":
        return {*pseudo, _MIX, "distill", "finetune"}
    return {*(pseudo if recipe.finetune.mix.pseudo else ()), "distill", "finetune"}


def _of_teachers(teachers: Iterable[Teacher]) -> set[str]:
    """Return the parts of the recipe that say how these teachers are trained."""
    parts = set()
    for teacher in teachers:
        parts |= {_place(teacher), f"{_place(teacher)}.finetune"}
        if teacher.weights is None and teacher.schedule is None:
            parts.add("teach")
    return parts


def _place(teacher: Teacher) -> str:
    return f"teachers.{teacher.name}"


def _sees_target(teacher: Teacher, recipe: Recipe) -> bool:
    """Return whether a teacher is trained, and on labels of the target as well."""
    schedule = teacher.schedule or recipe.teach
    return teacher.weights is None and schedule is not None and schedule.target_labelled > 0


def _schedules(recipe: Recipe) -> dict[str, Schedule]:
    """Return the schedules that something is trained by, by their place in the recipe."""
    given: dict[str, Schedule | None] = {"teach": recipe.teach if "teach" in _of_teachers(recipe.teachers) else None}
    for teacher in recipe.teachers:
        given[_place(teacher)] = teacher.schedule if teacher.weights is None else None
    given |= {f"{_place(teacher)}.finetune": teacher.finetune for teacher in recipe.teachers}
    given |= {"distill": recipe.distill, "finetune": recipe.finetune}
    if recipe.evaluate is not None and "oracle" not in absent_rows(recipe):
        given["evaluate.oracle_schedule"] = recipe.evaluate.oracle_schedule
    return {place: schedule for place, schedule in given.items() if schedule is not None}
