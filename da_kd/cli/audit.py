"""``da-kd audit``: is the new model better here? Two models on the images that a person audited."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any

import typer

from da_kd.cli.options import RunName
from da_kd.cli.words import figure, run_folder


def audit(
    run: RunName,
    model: Annotated[
        str | None, typer.Option("--model", help="The new one: a row, a teacher, or weights. Default: the student.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="The one that is there, likewise. Default: the first teacher.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="The adapter for a file of weights.")] = "ultralytics",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare two models on the audited images of a run.

    Differences come with 95 % intervals; no labelled test set is needed.
    """
    from da_kd import pipeline
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.events import Job

    place = pipeline.Run(run_folder(run))
    if json:
        told = pipeline.audit_run(place, model, against, kind, Job())
        typer.echo(jsonlib.dumps(told))
        return
    with stoppable() as stopping, shown() as sink:
        told = pipeline.audit_run(place, model, against, kind, Job(sink, stopping))
    _show(told)


def _show(told: Mapping[str, Any]) -> None:
    from da_kd.cli.terminal import new_table, say, show
    from da_kd.stages.review.reviewer import in_words

    first, second = (PurePath(told["models"][side]).name for side in ("first", "second"))
    table = new_table("class", "figure", first, second, "difference", "better", right=(first, second, "difference"))
    for name, figures in {**told["classes"], "all": told["all"]}.items():
        for what, row in figures.items():
            gain = row["difference"]
            words = f"{figure(gain['value'])} ({figure(gain['low'])} to {figure(gain['high'])})"
            better = {"first": first, "second": second}.get(row["better"], row["better"])
            table.add_row(name, what, figure(row["first"]), figure(row["second"]), words, better)
    show(table)
    say(
        f"{told['images_audited']} audited images; intervals of {told['confidence']:.0%}. Each model is taken at its "
        "own best thresholds on these images."
    )
    if words := in_words(told["reviewer"]):
        say(words)
