"""Which labels of the target trainings have used: what a reader must know before calling a row label-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from da_kd.data import ImageSet, nested_fraction
from da_kd.recipe import Recipe, Schedule, Teacher


def labels_of_trainings(recipe: Recipe, sets: Mapping[str, ImageSet]) -> list[str]:
    """Return a sentence for every use that trainings made of labels beside their own images'.

    Args:
        recipe: says what is mixed in and validated on.
        sets: the image sets, by their key under ``data``.
    """
    told = []
    if recipe.distill is not None and recipe.distill.mix.target_labelled and "target_labelled" in sets:
        told.append(
            f"Distill learned from the labels of {len(sets['target_labelled'])} images of data.target_labelled beside "
            "the pseudo labels; these are labels of the target domain, and every student has used them."
        )
    taught = [teacher.name for teacher in recipe.teachers if _sees_target(teacher, recipe)]
    if taught and "target_labelled" in sets:
        who = f"Teacher{'s' if len(taught) > 1 else ''} {', '.join(repr(name) for name in taught)}"
        told.append(
            f"{who} learned from the labels of {len(sets['target_labelled'])} images of data.target_labelled beside "
            "the source; these are labels of the target domain, and every student has used them."
        )
    for teacher in recipe.teachers:
        if teacher.finetune is not None and "target_labelled" in sets:
            count = len(nested_fraction(sets["target_labelled"], teacher.finetune.fraction))
            told.append(
                f"Teacher '{teacher.name}' went on with the labels of {count} images of data.target_labelled; these "
                "are labels of the target domain, and every student has used them."
            )
    for place, schedule in _schedules(recipe).items():
        name = schedule.validate_on if schedule is not None else None
        if name is not None and name in sets:
            domain = "; these are labels of the target domain" if name == "target_dev" else ""
            count = len(sets[name])
            told.append(f"Epochs of '{place}' were chosen by the labels of data.{name} ({count} images){domain}.")
    return told


def labels_of_row(row: str, images: int, recipe: Recipe, sets: Mapping[str, ImageSet]) -> str:
    """Return which labels of the target a row has used, for its model card.

    Args:
        row: the row's name.
        images: how many it was trained on.
        recipe: what it was made by.
        sets: the image sets, by their key under ``data``.
    """
    if row in ("finetuned", "oracle"):
        own = f"trained on those of {images} images"
        before = row == "finetuned" and recipe.finetune is not None and recipe.finetune.init == "student"
        used = _of_target(labels_of_trainings(recipe, sets)) if before else ""
        return f"{own}. {used}" if used else own
    told = labels_of_trainings(recipe, sets) if row.startswith(("student", "source_only", "teacher:")) else []
    if row.startswith("teacher:"):
        name = repr(row.removeprefix("teacher:"))
        told = [sentence for sentence in told if sentence.startswith("Teacher") and name in sentence]
    if row == "source_only":  # it has the schedule of *distill*, and nothing else of it
        told = [sentence for sentence in told if sentence.startswith("Epochs of 'distill'")]
    return _of_target(told) or "none to train on; what people decided in review counts as pseudo labels"


def _of_target(told: Sequence[str]) -> str:
    """Return the sentences that are about labels of the target."""
    return " ".join(sentence for sentence in told if "labels of the target domain" in sentence)


def _sees_target(teacher: Teacher, recipe: Recipe) -> bool:
    """Return whether a teacher is trained, and on labels of the target as well."""
    schedule = teacher.schedule or recipe.teach
    return teacher.weights is None and schedule is not None and schedule.target_labelled > 0


def _schedules(recipe: Recipe) -> dict[str, Schedule | None]:
    own = {f"teachers.{teacher.name}": teacher.schedule for teacher in recipe.teachers}
    tuned = {f"teachers.{teacher.name}.finetune": teacher.finetune for teacher in recipe.teachers}
    return {"teach": recipe.teach, **own, **tuned, "distill": recipe.distill, "finetune": recipe.finetune}
