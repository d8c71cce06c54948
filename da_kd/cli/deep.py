"""The thorough half of ``da-kd check``: opens data sets, weights and architectures, and collects what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.cli.words import WORKSPACE
from da_kd.errors import Cancelled, DaKdError, RecipeError
from da_kd.events import Job
from da_kd.recipe import Recipe, Teacher
from da_kd.stages.fuse.classes import ClassMap, check_all_seen, class_map, hints

if TYPE_CHECKING:
    from da_kd.pipeline import Inputs

_SETS = ("source", "source_val", "target", "target_labelled", "target_dev", "test")


def problems_of(recipe: Recipe) -> list[str]:
    """Return a sentence for every mistake that only shows when things are opened."""
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.teachers.device import resolve_devices
    from da_kd.training import training_problems

    with tempfile.TemporaryDirectory(prefix="da_kd-check-") as spare, stoppable() as stopping, shown() as sink:
        job = Job(sink, stopping)
        workspace = WORKSPACE if WORKSPACE.is_dir() else Path(spare)
        problems: list[str] = []
        _tried(problems, lambda: resolve_devices(recipe.device))
        problems += _data(recipe, workspace, job)
        problems += training_problems(recipe)
        return problems + _teachers(recipe, job)


def _tried(problems: list[str], work: Callable[[], object]) -> bool:
    """Do one thing; note what is wrong with it. Return whether nothing is."""
    try:
        work()
    except Cancelled:
        raise
    except RecipeError as error:
        problems += error.problems
    except DaKdError as error:
        problems.append(str(error))
    else:
        return True
    return False


def _data(recipe: Recipe, workspace: Path, job: Job) -> list[str]:
    """Open every set by itself, so that all of them are heard of; then all together, for what they share."""
    from da_kd.pipeline import load_inputs, only_set
    from da_kd.store import Store

    problems: list[str] = []
    store = Store(workspace)
    for name in _SETS:
        if getattr(recipe.data, name) is not None:
            alone = only_set(recipe, name)
            _tried(problems, lambda alone=alone: load_inputs(alone, store, job))  # type: ignore[misc]
    if not problems:
        _tried(problems, lambda: _tell_unreadable(load_inputs(recipe, store, job), job))
    return problems


def _tell_unreadable(inputs: Inputs, job: Job) -> None:
    """Say which sets have images that a run will go on without."""
    for name, images in inputs.sets.items():
        bad = [f"{key}: {reason}" for key, reason in zip(images.table.key, images.table.reason, strict=True) if reason]
        if bad:
            job.warn(f"data.{name}: {len(bad)} of {len(images)} images cannot be read and are left out ({bad[0]}).")


def _teachers(recipe: Recipe, job: Job) -> list[str]:
    """Open the teachers' weights, map their classes, and see that every class has a teacher.

    What may be meant by another word is only told: names are never matched by likeness.
    """
    problems: list[str] = []
    maps: dict[str, ClassMap] = {}
    for teacher in job.track(recipe.teachers, "open teachers", unit="teachers"):
        _tried(problems, lambda teacher=teacher: maps.update(_map(teacher, recipe)))  # type: ignore[misc]
    if len(maps) == len(recipe.teachers) and _tried(problems, lambda: check_all_seen(maps, recipe.classes)):
        for hint in hints(maps):
            job.note(hint)
    return problems


def _map(teacher: Teacher, recipe: Recipe) -> Mapping[str, ClassMap]:
    """Return a teacher's class map; one that is still to be trained learns the recipe's classes."""
    from da_kd.teachers import adapter

    if teacher.weights is None:
        adapter(teacher.kind)(Path("weights.pt"), teacher.options)  # refuses options it does not have
        vocabulary = teacher.learns or recipe.classes
    else:
        model = adapter(teacher.kind)(Path(teacher.weights), teacher.options)
        with model.open("cpu", recipe.predict.floor, 1) as predictor:
            vocabulary = predictor.classes
    return {teacher.name: class_map(teacher.name, vocabulary, recipe.classes, teacher.classes)}
