"""What the keys of a recipe demand of each other, and which training arguments it refuses.

Knows a recipe's names; must not look at a disk, nor know how a stage works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from da_kd.recipe.torchvision_args import torchvision_arg_problems
from da_kd.recipe.values import TAKEN

if TYPE_CHECKING:
    from da_kd.recipe.data import Images
    from da_kd.recipe.labels import Teacher
    from da_kd.recipe.models import Recipe
    from da_kd.recipe.training import Schedule, Teach

# Training arguments that have a key of their own, or that would break the method, each with the reason.
REFUSED_ARGS = {
    **dict.fromkeys(("epochs", "batch", "optimizer", "freeze", "patience"), "it is a key of the schedule itself"),
    "lr0": "it is the key 'lr' of the schedule itself",
    **dict.fromkeys(("imgsz", "model", "pretrained"), "it is a key of the architecture"),
    **dict.fromkeys(("seed", "device", "workers"), "it is a key of the recipe"),
    **dict.fromkeys(("data", "fraction", "classes", "split"), "the images come from the recipe's data section"),
    "distill_model": "it is the key 'features' of distill",
    "single_cls": "it would train every class as one",
    "time": "it would end rows of a table after different numbers of steps",
    "resume": "da_kd takes interrupted trainings up by itself",
    "val": "a fixed schedule decides, or 'validate_on' says what images do",
    **dict.fromkeys(("project", "name", "save_dir", "exist_ok", "save", "task", "mode"), "da_kd keeps the outputs"),
    **dict.fromkeys(("nbs", "amp", "cache", "plots", "verbose", "deterministic"), "da_kd sets it"),
}


def name_problems(recipe: Recipe) -> list[str]:
    """Return what is wrong with the names of runs, classes and teachers."""
    known, problems = set(recipe.classes), []
    if recipe.name in TAKEN:
        problems.append(f"name: expected none of {', '.join(TAKEN)}, folders beside the runs; found '{recipe.name}'")
    if len(known) != len(recipe.classes):
        problems.append("classes: expected distinct names; found one twice")
    names = [teacher.name for teacher in recipe.teachers]
    if len(set(names)) != len(names):
        problems.append(f"teachers: expected distinct names; found {names}")
    places: list[tuple[str, set[str]]] = [
        ("fuse.keep", set(recipe.fuse.keep) - {"default"}),
        ("fuse.drop", set(recipe.fuse.drop) - {"default"}),
    ]
    places += [(f"teachers.{t.name}.classes", _targets(t.classes)) for t in recipe.teachers]
    places += [(f"teachers.{t.name}.class_weights", set(t.class_weights)) for t in recipe.teachers]
    places += [(f"teachers.{t.name}.learns", set(t.learns or ())) for t in recipe.teachers]
    for key in ("source", "source_val", "target", "target_labelled", "target_dev", "test"):
        images: Images | None = getattr(recipe.data, key)
        if images is not None:
            places.append((f"data.{key}.classes", _targets(images.classes)))
            places.append((f"data.{key}.labelled_classes", set(images.labelled_classes or ())))
    for place, used in places:
        problems += [
            f"{place}: expected one of the recipe's classes {list(recipe.classes)}; found '{name}'"
            for name in sorted(used - known)
        ]
    unlearned = [name for name in recipe.classes if not any(_may_know(t, name) for t in recipe.teachers)]
    if unlearned:
        problems.append(f"teachers: expected one that learns each class; found none for {', '.join(unlearned)}")
    return problems


def _may_know(teacher: Teacher, name: str) -> bool:
    """Return whether a teacher may know a class: what given weights know only shows when they are opened."""
    return teacher.weights is not None or teacher.learns is None or name in teacher.learns


def _targets(classes: Mapping[str, str | tuple[str, ...] | None]) -> set[str]:
    """Return the recipe's classes that a mapping names."""
    return {name for to in classes.values() if to for name in ((to,) if isinstance(to, str) else to)}


def teacher_problems(recipe: Recipe) -> list[str]:
    """Return what a teacher is asked to be that its kind cannot be."""
    problems = []
    for teacher in recipe.teachers:
        place = f"teachers.{teacher.name}"
        if teacher.weights is not None:
            problems += [f"{place}: 'learns' is for training; beside 'weights' use 'classes'"] if teacher.learns else []
            if teacher.seed is not None:
                problems.append(f"{place}: 'seed' is for training; beside 'weights' leave it out")
        elif teacher.kind not in _TRAINED:
            problems.append(f"{place}: teachers of kind '{teacher.kind}' are not trained here; give 'weights'")
        if teacher.learns is not None and len(set(teacher.learns)) != len(teacher.learns):
            problems.append(f"{place}.learns: expected distinct classes; found {list(teacher.learns)}")
        if teacher.views is not None and teacher.kind == "coco_file":
            problems.append(f"{place}.views: stored predictions look at no image; leave 'views' out")
        if teacher.kind == "torchvision" and teacher.architecture is not None:
            problems += _torchvision_problems(teacher, recipe)
    return problems


_TRAINED = ("ultralytics", "torchvision")


def _torchvision_problems(teacher: Teacher, recipe: Recipe) -> list[str]:
    """Return what the training of a torchvision teacher cannot do."""
    place, architecture = f"teachers.{teacher.name}", teacher.architecture
    given = [key for key in ("width", "depth") if getattr(architecture, key) is not None]
    problems = [f"{place}.architecture: torchvision's models have no '{key}'; leave it out" for key in given]
    schedule, where = (teacher.schedule, f"{place}.schedule") if teacher.schedule else (recipe.teach, "teach")
    if schedule is None:
        return problems
    fields = type(schedule).model_fields
    taken = [key for key in ("validate_on", "augment", "ema") if getattr(schedule, key) != fields[key].default]
    problems += [f"{where}.{key}: a torchvision teacher knows no such thing; leave '{key}' out" for key in taken]
    if schedule.batch == "auto":
        problems.append(f"{where}.batch: 'auto' is for ultralytics' models; give a number")
    if schedule.freeze:
        problems.append(f"{where}.freeze: a torchvision teacher is trained from scratch; leave 'freeze' out")
    return problems + torchvision_arg_problems(schedule.args, where)


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
    if recipe.restyle is not None and data.source is None:
        problems.append("restyle: recolours the images of 'data.source'; add it, or leave 'restyle' out")
    problems += [
        f"teachers.{teacher.name}.{key}: compares with source images; add 'data.source', or leave it out"
        for teacher in recipe.teachers
        for key in ("match_scale", "match_edges")
        if getattr(teacher, key) and data.source is None and data.source_val is None
    ]
    problems += [
        f"teachers.{teacher.name}.match_edges: needs 'data.target_dev', a handful of labelled target images; add "
        "it, or write 'true' to end boxes as the source's labels do"
        for teacher in recipe.teachers
        if teacher.match_edges == "target_dev" and data.target_dev is None
    ]
    problems += _model_problems(recipe)
    problems += _floor_problems(recipe)
    problems += _fuse_problems(recipe)
    problems += _round_problems(recipe)
    problems += _schedule_problems(recipe)
    problems += _mix_problems(recipe)
    problems += _feature_problems(recipe)
    if recipe.finetune is not None and recipe.distill is None:
        problems.append("finetune: goes on with the student that 'distill' trains; add a 'distill' section")
    if recipe.finetune is not None and data.target_labelled is None:
        problems.append("finetune: needs 'data.target_labelled'; add it, or leave 'finetune' out")
    if recipe.finetune is not None and recipe.finetune.init == "source" and data.source is None:
        problems.append("finetune.init: 'source' needs 'data.source'; add it, or go on from the 'student'")
    if recipe.distill is not None and recipe.distill.init == "source" and data.source is None:
        problems.append("distill.init: 'source' needs 'data.source'; add it, or start from 'model'")
    problems += _review_problems(recipe)
    if recipe.review.mode == "simulate" and data.target_labelled is None:
        problems.append("review.mode: 'simulate' needs 'data.target_labelled', the labels that the reviewer goes by")
    if evaluate is not None and data.test is None:
        problems.append("evaluate: needs 'data.test', labelled images of the target; add it, or leave 'evaluate' out")
    return problems


def _review_problems(recipe: Recipe) -> list[str]:
    """Return what a review is asked that it cannot tell."""
    review, problems = recipe.review, []
    if review.audit.twice > review.audit.images:
        problems.append(
            f"review.audit.twice: expected at most as many as the {review.audit.images} images of the audit; "
            f"found {review.audit.twice}"
        )
    if review.simulate.budgets and review.mode != "simulate":
        problems.append("review.simulate.budgets: needs 'review.mode: simulate'")
    if review.simulate.budgets and recipe.distill is not None and recipe.distill.patience is not None:
        problems.append("review.simulate.budgets: compares students of equal steps; leave 'distill.patience' out")
    return problems


def _feature_problems(recipe: Recipe) -> list[str]:
    """Return why the student cannot imitate the features of the teacher that is named."""
    wanted = recipe.distill.features if recipe.distill is not None else None
    if wanted is None:
        return []
    kinds = {teacher.name: teacher.kind for teacher in recipe.teachers}
    if wanted not in kinds:
        return [f"distill.features: expected the name of a teacher {list(kinds)}; found '{wanted}'"]
    if kinds[wanted] != "ultralytics":
        return [f"distill.features: needs a teacher of kind 'ultralytics'; '{wanted}' is of kind '{kinds[wanted]}'"]
    return []


def _model_problems(recipe: Recipe) -> list[str]:
    """Return models of ultralytics that are named without a suffix, which says whether weights are given."""
    trained = [teacher for teacher in recipe.teachers if teacher.kind == "ultralytics"]
    named = {f"teachers.{teacher.name}.architecture": teacher.architecture for teacher in trained}
    return [
        f"{place}.model: expected a model YAML or a '.pt' file; found '{given.model}'; did you mean "
        f"'{given.model}.yaml'?"
        for place, given in {**named, "student": recipe.student}.items()
        if given is not None and "." not in given.model.rsplit("/", 1)[-1]
    ]


def _floor_problems(recipe: Recipe) -> list[str]:
    """Return a floor above what is to be kept: the threshold would mean nothing, and no box could be doubtful."""
    floor = recipe.predict.floor
    lowest = min((keep for keep in recipe.fuse.keep.values() if keep), default=floor)  # 0 keeps whatever is said
    if recipe.fuse.thresholds.by != "fixed" or floor <= lowest:
        return []
    return [
        f"predict.floor: expected at most the lowest 'fuse.keep' ({lowest:g}), since boxes below the floor are never "
        f"seen; found {floor:g}; lower it, or raise 'keep'"
    ]


def _fuse_problems(recipe: Recipe) -> list[str]:
    """Return what *fuse* is to measure without the labelled images, or the teachers, to do so."""
    fuse, data = recipe.fuse, recipe.data
    asked = {
        "fuse.calibrate": fuse.calibrate != "none",
        "fuse.thresholds": fuse.thresholds.by == "f_beta",
    }
    stored = [teacher.name for teacher in recipe.teachers if teacher.kind == "coco_file"]
    problems = []
    for key in (key for key, needed in asked.items() if needed):
        if fuse.fit_on == "audit":
            continue
        if all(getattr(data, name) is None for name in fuse.fitting):
            places = " or ".join(f"'data.{name}'" for name in fuse.fitting)
            problems.append(f"{key}: needs labelled images that no teacher learned from; add {places}")
        if stored:
            problems.append(
                f"{key}: needs teachers that can be run over labelled images; the predictions of {', '.join(stored)} "
                f"are stored; leave {key} out"
            )
    if fuse.thresholds.by == "source_distribution" and data.source is None and data.source_val is None:
        problems.append("fuse.thresholds: 'source_distribution' needs 'data.source' or 'data.source_val'; add one")
    return problems


def _schedule_problems(recipe: Recipe) -> list[str]:
    """Return which schedules are to be validated on images that are not there, or leave a device without an image."""
    own: dict[str, Schedule | None] = {}
    for teacher in recipe.teachers:
        own[f"teachers.{teacher.name}.schedule"] = teacher.schedule
        own[f"teachers.{teacher.name}.finetune"] = teacher.finetune
    oracle = recipe.evaluate.oracle_schedule if recipe.evaluate is not None else None
    schedules: dict[str, Schedule | None] = {
        "teach": recipe.teach,
        **own,
        "distill": recipe.distill,
        "finetune": recipe.finetune,
    }
    schedules["evaluate.oracle_schedule"] = oracle
    devices = recipe.device.count(",") + 1
    few = [
        f"{place}.batch: {devices} devices share a step, and {schedule.batch} images are fewer; raise it, or name fewer"
        for place, schedule in schedules.items()
        if schedule is not None and schedule.batch != "auto" and schedule.batch < devices
    ]
    return few + [
        f"{place}.validate_on: needs 'data.{schedule.validate_on}'; add it, or leave 'validate_on' out"
        for place, schedule in schedules.items()
        if schedule is not None and schedule.validate_on and getattr(recipe.data, schedule.validate_on) is None
    ]


def _mix_problems(recipe: Recipe) -> list[str]:
    """Return what teachers and students are to learn from, or begin with, that is not there."""
    distill, finetune, problems = recipe.distill, recipe.finetune, []
    for place, kind, schedule in _teachings(recipe):
        if schedule.target_labelled and recipe.data.target_labelled is None:
            problems.append(
                f"{place}.mix.target_labelled: needs 'data.target_labelled'; add it, or leave it out of the mix"
            )
        if schedule.target_labelled and kind != "ultralytics":
            problems.append(f"{place}.mix: needs teachers of kind 'ultralytics'; '{kind}' learns from the source alone")
    problems += [
        f"teachers.{teacher.name}.finetune: needs 'data.target_labelled'; add it, or leave 'finetune' out"
        for teacher in recipe.teachers
        if teacher.finetune is not None and recipe.data.target_labelled is None
    ]
    wanted = [("distill", name) for name in ("source", "target_labelled") if distill and getattr(distill.mix, name)]
    wanted += [("finetune", "source")] if finetune and finetune.mix.source else []
    for place, name in wanted:
        if getattr(recipe.data, name) is None:
            problems.append(f"{place}.mix.{name}: needs 'data.{name}'; add it, or leave it out of the mix")
    adapts = distill is not None and distill.adapt == "batch_norm" and distill.init == "model"
    if adapts and not recipe.student.model.endswith(".pt"):
        problems.append(
            f"distill.adapt: 'batch_norm' needs trained weights to begin with; '{recipe.student.model}' has none; "
            "use 'init: source', or a '.pt' file as 'student.model'"
        )
    return problems


def _teachings(recipe: Recipe) -> list[tuple[str, str, Teach]]:
    """Return where it stands, the kind of teacher, and how it is trained, of every teacher that is."""
    own = [
        (f"teachers.{teacher.name}.schedule", teacher.kind, teacher.schedule)
        for teacher in recipe.teachers
        if teacher.schedule is not None
    ]
    shared = [teacher.kind for teacher in recipe.teachers if teacher.weights is None and teacher.schedule is None]
    return own + [("teach", kind, recipe.teach) for kind in dict.fromkeys(shared) if recipe.teach is not None]


def _round_problems(recipe: Recipe) -> list[str]:
    """Return what stands in the way of further rounds."""
    if recipe.rounds.count == 1:
        return []
    problems = []
    if recipe.distill is None:
        problems.append("rounds: need a student that labels the target anew; add a 'distill' section")
    if recipe.review.mode == "simulate":
        problems.append("rounds: a simulated review is spent in one round; use 'rounds: 1'")
    taken = [teacher.name for teacher in recipe.teachers if teacher.name.startswith("student-")]
    if taken:
        problems.append(f"teachers.{taken[0]}: names that begin with 'student-' are for the students of earlier rounds")
    return problems
