"""``da-kd run`` and ``da-kd resume``: take a recipe through its stages, and say how it went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.cli.options import Changes, Quiet, RecipeFile, RunFolder, RunName, Until
from da_kd.cli.words import WORKSPACE, run_folder
from da_kd.errors import InputError

if TYPE_CHECKING:
    from da_kd.events import Job
    from da_kd.pipeline import RunResult


def run(
    recipe: RecipeFile,
    run: RunFolder = None,
    changes: Changes = None,
    until: Until = None,
    quiet: Quiet = False,
) -> None:
    """Run a recipe, or go on with it.

    What is there already is reused; an interrupted run goes on where it was.

    Exit codes: 0 done, 1 failed, 2 wrong input, 3 paused for review, 130 stopped.
    """
    from da_kd import pipeline
    from da_kd.recipe import load_recipe

    loaded = load_recipe(recipe, changes or ())
    folder = run_folder(run) if run else WORKSPACE / loaded.name
    _check_stage(until)
    _work(folder, lambda job: pipeline.run(loaded, folder, until=until, job=job), quiet)


def resume(run: RunName, until: Until = None, quiet: Quiet = False) -> None:
    """Go on with a run that was paused or stopped."""
    from da_kd import pipeline

    folder = run_folder(run)
    _check_stage(until)
    pipeline.Run(folder).recipe()  # says at once when there is no such run
    _work(folder, lambda job: pipeline.resume(folder, until=until, job=job), quiet)


def _check_stage(until: str | None) -> None:
    from da_kd.pipeline import STAGES

    if until is not None and until not in STAGES:
        raise InputError(f"--until: expected one of the stages {', '.join(STAGES)}; found '{until}'.")


def _work(folder: Path, work: Callable[[Job], RunResult], quiet: bool) -> None:
    """Do the work with its progress shown, then tell the result."""
    from da_kd.cli.failures import log_into
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.cli.terminal import say
    from da_kd.events import Job

    say(f"Run '{folder.name}' in {folder.resolve()}")
    log_into(folder)
    with stoppable() as stopping, shown(quiet) as sink:
        result = work(Job(sink, stopping))
    _tell(result)


def _tell(result: RunResult) -> None:
    """Print the ladder, and where everything lies; the report is the last line."""
    from da_kd.cli.ladder import show_ladder
    from da_kd.cli.terminal import say

    if result.report is None:
        there = (
            "Nothing to do: every output up to there is there already" if result.did_nothing else "Stopped where asked"
        )
        say(f"{there}; the same command without --until goes on.")
        return
    if result.did_nothing:
        say("Nothing to do: every output of this run is there already.")
    if result.metrics is not None:
        show_ladder(result.metrics)
    best = next((name for name in ("finetuned", "student") if name in result.weights), None)
    if best is not None:
        say(f"Weights of the {'fine-tuned ' if best == 'finetuned' else ''}student: {result.weights[best]}")
    say(f"Report: {result.report}")
