"""The figures of a run, finished or not, as the report's facts, so that the pages show what the report shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from da_kd.pipeline import Run
from da_kd.pipeline.reporting import gaps_recovered, not_scored
from da_kd.pipeline.steps import is_point
from da_kd.stages.evaluate.differences import paired_differences
from da_kd.stages.evaluate.metrics import Metrics
from da_kd.stages.report import ReportFacts
from da_kd.training.sittings import read_curves
from da_kd.ui.queries.runs import outputs
from da_kd.ui.queries.sets import recipe_of

_FIGURES = {item.name for item in fields(Metrics)}
_NO_TRAININGS = ("evaluate:", "predict:", "adapt:", "edges:", "fuse", "review")


def facts_of(run: Run) -> ReportFacts:
    """Return title, figures and curves of a run; what it does not have yet is absent.

    Raises:
        InputError: there is no such run.
        DataError: its record cannot be read.
    """
    recipe, done = recipe_of(run), outputs(run)
    models = {
        name.removeprefix("evaluate:"): _json(path / "metrics.json") for name, path in done.items() if _scored(name)
    }
    scored = {row: Metrics(**{k: v for k, v in tree.items() if k in _FIGURES}) for row, tree in models.items()}
    details = {row: _json(done[f"evaluate:{row}"] / "detail.json") for row in models}
    drawn = {row: tree["resamples"] for row, tree in details.items() if "resamples" in tree}
    told = {row: figures for row, figures in scored.items() if row in drawn}
    metrics = {
        "models": models,
        "gap_recovered": gaps_recovered(scored),
        "absent": not_scored(recipe, scored),
        "differences": paired_differences(told, drawn),
        "classes": recipe.classes,
        "seed": recipe.seed,
    }
    precision = {row: tree["curves"] for row, tree in details.items() if "curves" in tree}
    return ReportFacts(title=recipe.name, command="", metrics=metrics, curves=curves_of(run, done), precision=precision)


def curves_of(run: Run, done: Mapping[str, Path]) -> dict[str, list[dict[str, float]]]:
    """Return the losses of every training by row, epoch by epoch, those of the one under way as well."""
    shown = {row_of(name): path for name, path in done.items() if not is_point(name)}
    found = {row: list(_json(path / "training.json").get("curves", [])) for row, path in shown.items()}
    found = {name: curve for name, curve in found.items() if curve}
    return {**_under_way(run, set(found)), **found}


def _under_way(run: Run, finished: set[str]) -> dict[str, list[dict[str, float]]]:
    """Return the epochs of every training that has begun and is not finished, over all its sittings."""
    found = {}
    for name, record in run.state().steps.items():
        row = row_of(name)
        if name.startswith(_NO_TRAININGS) or is_point(name) or row in finished:
            continue
        begun = (run.workspace / "store").glob(f"*/{record['fingerprint']}.partial")
        found[row] = [line for folder in begun for line in read_curves(folder)]
    return {row: curve for row, curve in found.items() if curve}


def _scored(step: str) -> bool:
    return step.startswith("evaluate:")


def row_of(step: str) -> str:
    """Return the row of the ladder that a step makes."""
    return step.replace("teach:", "teacher:")


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one where there is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
