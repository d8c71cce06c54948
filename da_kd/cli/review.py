"""``da-kd review``: opens the FiftyOne App on the pseudo labels of a run, until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from da_kd.cli.options import RunName
from da_kd.cli.words import run_folder
from da_kd.errors import Cancelled, InputError

if TYPE_CHECKING:
    from da_kd.events import Job
    from da_kd.pipeline import Run
    from da_kd.stages.review import ReviewInput


def review(
    run: RunName,
    port: Annotated[int, typer.Option("--port", help="The port of the App.")] = 5151,
    address: Annotated[str, typer.Option("--address", help="This machine's own address; no other is served.")] = (
        "127.0.0.1"
    ),
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
    from da_kd.stages.review import launch_app

    place = pipeline.Run(run_folder(run))
    log_into(place.folder)
    with stoppable() as stopping:
        job = Job(PlainLines().take, stopping, "review")
        given = _given(place, run, job)
        taken = place.recipe().review.mode == "human"
        if not taken:
            job.warn("This run does not take what is decided in the App; for that, run it with review.mode 'human'.")
        try:
            launch_app(given, place.workspace, port, job, address)
        except Cancelled:
            say("The App is closed.")
    if taken:
        say(f"Go on with what you decided: da-kd resume {run}")


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
    if not store.finished(steps["fuse"].output):
        raise InputError(
            f"Expected pseudo labels in run '{place.name}'; they are not made yet. "
            f"'da-kd resume {name} --until fuse' makes them."
        )
    return pipeline.review_input(recipe, inputs, store, steps)
