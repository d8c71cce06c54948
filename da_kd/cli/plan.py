"""``da-kd plan``: what a run would do, why, and about how long it would take."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.cli.options import Changes, RecipeFile, RunFolder
from da_kd.cli.words import WORKSPACE, duration, run_folder, size

if TYPE_CHECKING:
    from da_kd.pipeline import Inputs, PlannedStep


def plan(recipe: RecipeFile, run: RunFolder = None, changes: Changes = None) -> None:
    """Show what a run would do, and for how long.

    Which steps are reused, which run and why. Nothing is trained or predicted.
    """
    from da_kd import pipeline
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.cli.terminal import say
    from da_kd.events import Job
    from da_kd.recipe import load_recipe

    loaded = load_recipe(recipe, changes or ())
    folder = run_folder(run) if run else WORKSPACE / loaded.name
    pipeline.refuse_taken(folder.name)
    with stoppable() as stopping, shown() as sink:
        inputs, steps = pipeline.plan(loaded, folder, Job(sink, stopping))
    say(f"Run '{folder.name}' in {folder.resolve()}")
    _show_sets(inputs)
    _show_steps(steps)
    say(f"Free disk space: {size(shutil.disk_usage(_existing(folder.resolve())).free)}")


def _show_sets(inputs: Inputs) -> None:
    from da_kd.cli.terminal import say

    for name, images in inputs.sets.items():
        boxes = f", {len(images.table.xyxy)} boxes" if len(images.table.xyxy) else ""
        bad = int((~images.table.ok).sum())
        say(f"  data.{name}: {len(images)} images{boxes}{f', {bad} of them unreadable' if bad else ''}")


def _show_steps(steps: list[PlannedStep]) -> None:
    from da_kd.cli.terminal import new_table, say, show

    table = new_table("step", "does", "estimate", "basis", "why", right=("estimate",))
    for step in steps:
        does = "reused" if step.reused else "runs"
        basis = "" if step.reused else "measured" if step.measured else "first guess"
        estimate = "" if step.reused else duration(step.seconds)
        table.add_row(step.name, does, estimate, basis, step.why, style="dim" if step.reused else None)
    show(table)
    waiting = [step for step in steps if not step.reused]
    if not waiting:
        say("Nothing to do: every output of this run is there already.")
        return
    guessed = any(not step.measured for step in waiting)
    about = duration(sum(step.seconds for step in waiting))
    say(f"{len(waiting)} of {len(steps)} steps run, about {about}{' (partly a first guess)' if guessed else ''}.")


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    return path if path.exists() else _existing(path.parent)
