"""What the keys of a recipe demand of each other, and which training arguments it refuses.

Knows a recipe's names; must not look at a disk, nor know how a stage works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da_kd.recipe.models import Images, Recipe

# Training arguments that have a key of their own, or that would break the method, each with the reason.
REFUSED_ARGS = {
    **dict.fromkeys(("epochs", "batch", "optimizer", "freeze"), "it is a key of the schedule itself"),
    "lr0": "it is the key 'lr' of the schedule itself",
    **dict.fromkeys(("imgsz", "model", "pretrained"), "it is a key of the architecture"),
    **dict.fromkeys(("seed", "device", "workers"), "it is a key of the recipe"),
    **dict.fromkeys(("data", "fraction", "classes", "split"), "the images come from the recipe's data section"),
    "single_cls": "it would train every class as one",
    "time": "it would end rows of a table after different numbers of steps",
    "resume": "da_kd takes interrupted trainings up by itself",
    **dict.fromkeys(("val", "patience"), "a fixed schedule decides, since there may be no labelled image to stop on"),
    **dict.fromkeys(("project", "name", "save_dir", "exist_ok", "save", "task", "mode"), "da_kd keeps the outputs"),
    **dict.fromkeys(("nbs", "amp", "cache", "plots", "verbose", "deterministic"), "da_kd sets it"),
}


def class_problems(recipe: Recipe) -> list[str]:
    """Return what is wrong with the names of classes and teachers."""
    known, problems = set(recipe.classes), []
    if len(known) != len(recipe.classes):
        problems.append("classes: expected distinct names; found one twice")
    names = [teacher.name for teacher in recipe.teachers]
    if len(set(names)) != len(names):
        problems.append(f"teachers: expected distinct names; found {names}")
    places: list[tuple[str, set[str]]] = [
        ("fuse.keep", set(recipe.fuse.keep) - {"default"}),
        ("fuse.drop", set(recipe.fuse.drop) - {"default"}),
    ]
    places += [(f"teachers.{t.name}.classes", {c for c in t.classes.values() if c}) for t in recipe.teachers]
    places += [(f"teachers.{t.name}.class_weights", set(t.class_weights)) for t in recipe.teachers]
    for key in ("source", "source_val", "target", "target_labelled", "target_dev", "test"):
        images: Images | None = getattr(recipe.data, key)
        if images is not None:
            places.append((f"data.{key}.classes", {c for c in images.classes.values() if c}))
            places.append((f"data.{key}.labelled_classes", set(images.labelled_classes or ())))
    for place, used in places:
        problems += [
            f"{place}: expected one of the recipe's classes {list(recipe.classes)}; found '{name}'"
            for name in sorted(used - known)
        ]
    return problems


def stage_problems(recipe: Recipe) -> list[str]:
    """Return which stages lack what they need."""
    problems = []
    data, evaluate = recipe.data, recipe.evaluate
    untrained = [teacher for teacher in recipe.teachers if teacher.weights is None]
    for teacher in untrained:
        if data.source is None:
            problems.append(f"teachers.{teacher.name}: training it needs 'data.source'; add it, or give 'weights'")
        if teacher.schedule is None and recipe.teach is None:
            problems.append(
                f"teachers.{teacher.name}: training it needs a section 'teach' (steps, batch, ...); add one"
            )
    if recipe.finetune is not None and recipe.distill is None:
        problems.append("finetune: goes on with the student that 'distill' trains; add a 'distill' section")
    if recipe.finetune is not None and data.target_labelled is None:
        problems.append("finetune: needs 'data.target_labelled'; add it, or leave 'finetune' out")
    if recipe.distill is not None and recipe.distill.init == "source" and data.source is None:
        problems.append("distill.init: 'source' needs 'data.source'; add it, or start from 'model'")
    if evaluate is not None and data.test is None:
        problems.append("evaluate: needs 'data.test', labelled images of the target; add it, or leave 'evaluate' out")
    return problems
