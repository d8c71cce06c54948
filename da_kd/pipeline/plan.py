"""What a run would do: which steps run, which are reused, why, and about how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from da_kd.events import Job
from da_kd.pipeline.inputs import Inputs, load_inputs
from da_kd.pipeline.run import WORKSPACE, why_again
from da_kd.pipeline.runs import Run
from da_kd.pipeline.steps import build_steps
from da_kd.recipe import Recipe
from da_kd.store import Store

# Seconds per unit where the workspace has no finished output to go by; two CPU cores and a nano model.
_FIRST_GUESS = {
    "teach": 1.5,
    "distill": 1.5,
    "finetune": 1.5,
    "baselines": 1.5,
    "predict": 0.03,
    "evaluate": 0.06,
    "fuse": 0.002,
    "review": 0.02,
}


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan.

    Attributes:
        name: the step.
        stage: the stage it belongs to.
        reused: its output is there.
        why: which keys make it run again, or that it goes on; '' for a first time.
        seconds: an estimate, 0 where it is reused.
        measured: the estimate comes from this workspace, not from a first guess.
    """

    name: str
    stage: str
    reused: bool
    why: str
    seconds: float
    measured: bool


def plan(recipe: Recipe, folder: Path | None = None, job: Job | None = None) -> tuple[Inputs, list[PlannedStep]]:
    """Return the image sets of a recipe and what a run of it would do; runs nothing but the drawing of rendered sets.

    Raises:
        DaKdError: the data or the weights do not fit the recipe.
    """
    place = Run(folder if folder is not None else WORKSPACE / recipe.name)
    store, before = Store(place.workspace), place.state().steps
    inputs = load_inputs(recipe, store, job or Job())
    planned = []
    for step in build_steps(recipe, inputs, store).values():
        reused = store.finished(step.output)
        rate, measured = expected_rate(step.output.stage, store)
        seconds = rate * step.output.units
        why = "goes on where it was interrupted" if store.begun(step.output) else why_again(step, before)
        planned.append(
            PlannedStep(step.name, step.stage, reused, "" if reused else why, 0.0 if reused else seconds, measured)
        )
    return inputs, planned


def expected_rate(stage: str, store: Store) -> tuple[float, bool]:
    """Return the seconds that a unit of a stage's work is likely to take, and whether this workspace measured it."""
    rate = store.seconds_per_unit(stage)
    return (_FIRST_GUESS.get(stage, 0.0), False) if rate is None else (rate, True)
