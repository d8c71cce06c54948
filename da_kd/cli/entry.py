"""All commands of ``da-kd`` in one application, and ``main``. Knows their names; must not know what they do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from da_kd import __version__
from da_kd.cli import browser
from da_kd.cli.audit import audit
from da_kd.cli.bench import bench
from da_kd.cli.check import check
from da_kd.cli.doctor import doctor
from da_kd.cli.evaluate import evaluate
from da_kd.cli.export import export
from da_kd.cli.failures import guarded
from da_kd.cli.gc import gc
from da_kd.cli.init import init
from da_kd.cli.label import apply, label
from da_kd.cli.plan import plan
from da_kd.cli.review import review
from da_kd.cli.run import resume, run
from da_kd.cli.runs import ls, status, stop

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

_COMMANDS = (
    run,
    resume,
    check,
    plan,
    init,
    ls,
    status,
    stop,
    gc,
    review,
    label,
    apply,
    audit,
    evaluate,
    bench,
    export,
    doctor,
    browser.app,
)

for _command in _COMMANDS:
    app.command(_command.__name__)(guarded(_command))


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
