"""All commands of ``da-kd`` in one application, and ``main``. Knows their names; must not know what they do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from da_kd import __version__
from da_kd.cli import check, doctor, evaluate, gc, init, label, plan, review, run, runs
from da_kd.cli.failures import guarded

app = typer.Typer(
    name="da-kd",
    help="Adapt an object detector to a new camera, site or weather: teachers, pseudo labels, a little review, a "
    "compact student, and every model compared.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name, _command in {
    "run": run.run,
    "resume": run.resume,
    "check": check.check,
    "plan": plan.plan,
    "init": init.init,
    "ls": runs.ls,
    "status": runs.status,
    "stop": runs.stop,
    "gc": gc.gc,
    "review": review.review,
    "label": label.label,
    "apply": label.apply,
    "evaluate": evaluate.evaluate,
    "doctor": doctor.doctor,
}.items():
    app.command(_name)(guarded(_command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"da_kd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no check mark gets a question mark
    app()
