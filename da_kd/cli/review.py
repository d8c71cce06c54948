"""``da-kd review``: opens the FiftyOne App on the pseudo labels of a run, until Ctrl-C."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from da_kd.cli.options import RunName
from da_kd.cli.words import run_folder
from da_kd.errors import Cancelled, DaKdError, InputError, SetupError

if TYPE_CHECKING:
    from da_kd.events import Job
    from da_kd.pipeline import Run
    from da_kd.stages.review import ReviewInput


def review(
    run: RunName,
    port: Annotated[int, typer.Option("--port", help="The port of the App.")] = 5151,
    address: Annotated[str, typer.Option("--address", help="The address the App listens on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Allow another --address: the App has no login and serves any file."),
    ] = False,
    images: Annotated[
        int | None,
        typer.Option("--images", min=0, help="How many images may wait at once, or --write lets out; 0 for all."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", help="Write the labels for another program instead: FILE.json (COCO) or a folder (YOLO)."
        ),
    ] = None,
    take: Annotated[
        Path | None,
        typer.Option("--take", help="Take labels that were reviewed elsewhere instead, from a COCO file."),
    ] = None,
) -> None:
    """Review the pseudo labels of a run in FiftyOne.

    Every edit is stored at once. Ctrl-C closes the App; 'da-kd resume' goes on.
    """
    from da_kd import pipeline
    from da_kd.cli.failures import log_into
    from da_kd.cli.progress import PlainLines
    from da_kd.cli.stopping import stoppable
    from da_kd.cli.terminal import say
    from da_kd.events import Job
    from da_kd.stages.review import launch_app, take_back

    place = pipeline.Run(run_folder(run))
    log_into(place.folder)
    with stoppable() as stopping:
        job = Job(PlainLines().take, stopping, "review")
        given = _given(place, run, job)
        if images is not None:
            given = dataclasses.replace(given, most=images or None)
        taken = place.recipe().review.mode == "human"
        if write is not None or take is not None:
            _elsewhere(given, place, write, take, images or None, job)
            return
        if not taken:
            job.warn("This run does not take what is decided in the App; for that, run it with review.mode 'human'.")
        try:
            launch_app(given, place.workspace, port, job, address, allow_remote=allow_remote)
        except Cancelled:
            say("The App is closed.")
        except SetupError:
            if taken:  # what was clicked before the App ended by itself is not lost
                with contextlib.suppress(DaKdError):
                    take_back(given, place.workspace, Job(PlainLines().take, stage="review"))
            raise
    if taken:
        take_back(given, place.workspace, Job(PlainLines().take, stage="review"))
        say(f"Go on with what you decided: da-kd resume {run}")


def _elsewhere(
    given: ReviewInput, place: Run, write: Path | None, take: Path | None, most: int | None, job: Job
) -> None:
    """Let the labels out to another program, or take back what became of them there."""
    from da_kd.cli.terminal import say
    from da_kd.stages.review.elsewhere import take_coco, write_labels

    if take is not None:
        say(f"{take_coco(given, take, place.workspace, job)} new decision(s) from {take}.")
    if write is not None:
        say(f"{write_labels(given, place.workspace, write, job, most)} boxes in {write}.")


def _given(place: Run, name: str, job: Job) -> ReviewInput:
    """Return the pseudo labels of a run.

    Raises:
        InputError: there is no such run, or it has none yet.
    """
    from da_kd import pipeline
    from da_kd.store import Store

    recipe, store = place.recipe(), Store(place.workspace)
    inputs = pipeline.load_inputs(recipe, store, job)
    steps = pipeline.build_steps(recipe, inputs, store)
    if not store.finished(steps[pipeline.first(steps, "fuse")].output):
        raise InputError(
            f"Expected pseudo labels in run '{place.name}'; they are not made yet. "
            f"'da-kd resume {name} --until fuse' makes them."
        )
    return pipeline.review_input(recipe, inputs, store, steps)
