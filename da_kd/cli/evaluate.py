"""``da-kd evaluate``: score a file of predictions against a file of ground truth, both COCO JSON."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from da_kd.cli.words import figure

if TYPE_CHECKING:
    from da_kd.stages.evaluate.metrics import Metrics


def evaluate(
    truth: Annotated[Path, typer.Option("--truth", help="COCO JSON with labels.")],
    predictions: Annotated[Path, typer.Option("--predictions", help="COCO results, or COCO JSON with scores.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    max_boxes: Annotated[int, typer.Option("--max-boxes", min=1, help="Boxes per image and class that count.")] = 100,
) -> None:
    """Score predictions against labels.

    The figures are those of pycocotools, fractions from 0 to 1. Intervals are 95 % over images; types of errors are
    told with the AP50 that each costs (docs/metrics.md).
    """
    from da_kd.stages.evaluate.metrics import evaluate_coco, read_truth_and_predictions

    metrics = evaluate_coco(*read_truth_and_predictions(truth, predictions), max_boxes).metrics
    if json:
        typer.echo(jsonlib.dumps(metrics.as_json()))
    else:
        _show(metrics)


def _show(metrics: Metrics) -> None:
    from da_kd.cli.terminal import new_table, say, show
    from da_kd.stages.evaluate.metrics import FIGURES

    table = new_table("figure", "value", "95 % interval", right=("value", "95 % interval"))
    for name in FIGURES:
        ends = metrics.intervals.get(name)
        table.add_row(name, figure(getattr(metrics, name)), f"{figure(ends[0])} to {figure(ends[1])}" if ends else "")
    for name, value in metrics.per_class.items():
        table.add_row(f"AP of {name}", figure(value), "")
    show(table)
    if metrics.AP is None:
        say("There is nothing to find in the ground truth, so AP is undefined.")
        return
    say()
    table = new_table("errors", "how many", "AP50 lost", right=("how many", "AP50 lost"))
    for name, error in metrics.errors.items():
        table.add_row(name, str(error["count"]), figure(error["AP50"]))
    show(table)
