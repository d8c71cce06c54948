"""Collects the steps of a recipe: what they are called, where their outputs will lie, what a teacher is made of.

Every fingerprint is known before anything runs, since it is made of keys and of the fingerprints of what goes in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.data import ImageSet
from da_kd.data import fingerprint as hash_images
from da_kd.errors import WeightsError
from da_kd.events import Job
from da_kd.hashing import hash_file, hash_json
from da_kd.pipeline.inputs import Inputs
from da_kd.pipeline.steps.keys import flat, keys_of
from da_kd.pipeline.steps.rounds import STUDENT
from da_kd.recipe import Recipe, Teacher
from da_kd.store import Output, Store
from da_kd.teachers import Teacher as Model
from da_kd.teachers import adapter
from da_kd.teachers.device import resolve_devices
from da_kd.teachers.edges import EdgedTeacher
from da_kd.teachers.views import ViewedTeacher
from da_kd.training import Setting

TRAINED = ("adapt", "tune", "teach")  # the steps that may have made a teacher's weights, the last of them first
Work = Callable[[Path, Job], None]


@dataclass(frozen=True)
class Step:
    """One step: its name, the stage it belongs to, its output, how that is made, and its optimiser steps."""

    name: str
    stage: str
    output: Output
    work: Work
    training_steps: int = 0


class Builder:
    """The steps so far, and what the functions that add more of them need.

    Attributes:
        recipe: what is built.
        inputs: its image sets.
        store: where outputs lie.
        steps: by name, in the order they run.
        hashes: of the image sets; ``target`` without its labels, which nobody may read.
    """

    def __init__(self, recipe: Recipe, inputs: Inputs, store: Store) -> None:
        """Begin with no step."""
        self.recipe, self.inputs, self.store = recipe, inputs, store
        self.steps: dict[str, Step] = {}
        self.hashes = {name: hash_images(images) for name, images in inputs.sets.items()}
        self.hashes["target"] = without_labels(inputs.get("target"))

    @property
    def workspace(self) -> Path:
        """The folder that holds the store."""
        return self.store.root.parent

    def add(
        self,
        name: str,
        stage: str,
        parts: Mapping[str, Any],
        units: float,
        work: Work,
        kind: str = "",
        version: int = 1,
        training_steps: int = 0,
    ) -> None:
        """Add a step; ``parts`` decide its output, ``kind`` names the store's folder where the stage's does not."""
        output = Output(kind or stage, dict(parts), version, units)
        self.steps[name] = Step(name, stage, output, work, training_steps)

    def made(self, name: str, file: str = "") -> Path:
        """Return the folder (or a file in it) that a step's output lies in once it is made."""
        return self.store.path(self.steps[name].output) / file

    def print_of(self, name: str) -> str:
        """Return the fingerprint of a step's output."""
        return self.steps[name].output.fingerprint

    def setting(self) -> Setting:
        """Return what all trainings share."""
        devices = resolve_devices(self.recipe.device)
        return Setting(self.recipe.seed, devices[0], self.recipe.workers, devices if len(devices) > 1 else ())

    def origin(self, teacher: Teacher) -> tuple[Path, dict[str, Any]]:
        """Return the weights a teacher begins with, given or trained, and what decides them.

        Raises:
            WeightsError: given weights are missing.
        """
        step = f"teach:{teacher.name}" if teacher.finetune is None else f"tune:{teacher.name}"
        if teacher.weights is None:
            return self.made(step, "weights.pt"), {step: self.print_of(step)}
        path, place = Path(teacher.weights), f"teachers.{teacher.name}.weights"
        if path.is_dir():  # a model of transformers
            return path, {place: adapter(teacher.kind)(path, teacher.options).fingerprint()}
        if not path.is_file():
            raise WeightsError(f"{place}: expected a file at {path}; there is none. Put it there.")
        return path, {place: hash_file(path)}

    def weights(self, teacher: Teacher) -> tuple[Path, dict[str, Any]]:
        """Return the weights a teacher answers with on the target, and what decides them."""
        step = f"adapt:{teacher.name}"
        return (
            (self.made(step, "weights.pt"), {step: self.print_of(step)}) if step in self.steps else self.origin(teacher)
        )

    def teacher(self, teacher: Teacher, *, at_home: bool = False) -> tuple[Model, dict[str, Any]]:
        """Return a teacher's model and what decides its answers; ``at_home``, before it was adapted to the target."""
        if teacher.name.startswith(STUDENT) and teacher.weights in self.steps:
            return adapter("ultralytics")(self.made(teacher.weights, "weights.pt"), {}), {
                "student": self.print_of(teacher.weights)
            }
        path, decided = self.origin(teacher)
        step, prefix = f"adapt:{teacher.name}", f"teachers.{teacher.name}"
        adapted = step in self.steps and not at_home
        if adapted:
            path, decided = self.made(step, "weights.pt"), {step: self.print_of(step)}
        model = adapter(teacher.kind)(path, teacher.options)
        options, files = options_of(teacher)
        if teacher.weights is not None and not adapted:
            decided[f"{prefix}.weights"] = model.fingerprint()  # the file, and files that its options name
        else:
            options |= files
        decided |= {f"{prefix}.kind": teacher.kind, **flat(options, f"{prefix}.options")}
        if teacher.views is not None:
            decided |= keys_of(teacher.views, f"{prefix}.views")
        edges = f"edges:{teacher.name}"
        if edges not in self.steps or at_home:
            return dressed(model, teacher), decided
        return dressed(model, teacher, self.made(edges)), {**decided, edges: self.print_of(edges)}


def options_of(teacher: Teacher) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a teacher's options that are values, and hashes of the contents of those that name files."""
    named = {
        key: str(value)
        for key, value in teacher.options.items()
        if os.path.isfile(str(value))  # noqa: PTH113 - unlike pathlib's, it takes a text too long for a path
    }
    values = {key: value for key, value in teacher.options.items() if key not in named}
    return values, {key: hash_file(Path(path)) for key, path in named.items()}


def dressed(model: Model, teacher: Teacher, edges: Path | None = None) -> Model:
    """Return a teacher's model that looks at its views, and ends its boxes by a step's measured edges."""
    if (views := teacher.views) is not None:
        model = ViewedTeacher(model, views.flip, views.scales, views.merge)
    return model if edges is None else EdgedTeacher(model, edges / "edges.json")


def without_labels(images: ImageSet) -> str:
    """Return a hash of names and contents alone: a teacher answers in its own classes, whatever the recipe's are."""
    table = images.table
    return hash_json([table.key, table.sha, table.ok.tolist()])
