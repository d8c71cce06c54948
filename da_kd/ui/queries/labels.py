"""Pseudo labels under other thresholds: previews through the stage's own functions, never a teacher, never a file.

What is true of the target may be told here; nothing is decided by it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.detections import Detections, DetectionTable, State
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.pipeline import Run
from da_kd.recipe import Fuse, Recipe
from da_kd.stages import fuse
from da_kd.stages.fuse.classes import class_map
from da_kd.stages.report import ReportFacts, charts
from da_kd.stages.report.charts import Figure
from da_kd.stages.report.label_quality import check_labels
from da_kd.ui.queries.runs import outputs
from da_kd.ui.queries.sets import inputs_of, recipe_of, table_at, teachers_said

Cuts = Mapping[str, tuple[float, float]]
SHOWN = (State.KEPT, State.UNCERTAIN)


@dataclass(frozen=True)
class Merging:
    """How boxes are merged in a preview: the method, and the overlap (IoU) from which two are one object."""

    method: str
    iou: float


def fused(run: Run) -> DetectionTable:
    """Return the pseudo labels of a run as *fuse* made them.

    Raises:
        InputError: they are not made yet.
    """
    place = outputs(run).get("fuse")
    if place is None:
        raise InputError("This run has no pseudo labels yet. Press 'Make the labels' to run teach, predict and fuse.")
    return table_at(place / "labels.parquet")


def cuts_of(run: Run) -> dict[str, tuple[float, float]]:
    """Return by class the scores from which boxes are kept, and below which they are dropped."""
    recipe, place = recipe_of(run), outputs(run).get("fuse")
    tree = _json(place / "thresholds.json").get("classes", {}) if place else {}
    keep, drop = (fuse.thresholds(side, recipe.classes) for side in (recipe.fuse.keep, recipe.fuse.drop))
    return {
        name: (float(tree.get(name, {}).get("keep", keep[name])), float(tree.get(name, {}).get("drop", drop[name])))
        for name in recipe.classes
    }


def merging_of(run: Run) -> Merging:
    """Return how the run itself merges."""
    config = recipe_of(run).fuse
    return Merging(config.method, config.iou)


def with_cuts(config: Fuse, cuts: Cuts, merging: Merging | None = None) -> Fuse:
    """Return the section of the recipe with these thresholds, as given ones.

    Raises:
        InputError: a class is dropped from a higher score than it is kept from.
    """
    wrong = [name for name, (keep, drop) in cuts.items() if drop > keep]
    if wrong:
        raise InputError(f"{wrong[0]}: expected 'drop below' to lie under 'keep from'; lower it, or raise the other.")
    update: dict[str, Any] = {
        "keep": {**{name: keep for name, (keep, _) in cuts.items()}, "default": config.keep["default"]},
        "drop": {**{name: drop for name, (_, drop) in cuts.items()}, "default": config.drop["default"]},
    }
    if merging is not None:
        update |= {"method": merging.method, "iou": merging.iou}
    return config.model_copy(update=update)


def restate(table: DetectionTable, config: Fuse) -> DetectionTable:
    """Return labels with the states that other thresholds give their boxes."""
    boxes = Detections(table.vocabulary, table.xyxy, table.score, table.label)
    state = np.asarray(fuse.states(boxes, config), np.int8)
    return dataclasses.replace(table, state=np.where(table.protected, table.state, state))


def preview(run: Run, images: Sequence[int], cuts: Cuts, merging: Merging) -> DetectionTable:
    """Return the pseudo labels of a few images as these settings would make them.

    Where only thresholds differ, the run's own boxes get other states; else the teachers' boxes are merged anew.

    Raises:
        DataError: the teachers' predictions do not fit together.
    """
    recipe = recipe_of(run)
    config = with_cuts(recipe.fuse, cuts, merging)
    if merging == merging_of(run):
        return restate(fused(run).take(images), config)
    return _merged(recipe, {name: table.take(images) for name, table in teachers_said(run).items()}, config)


def _merged(recipe: Recipe, said: Mapping[str, DetectionTable], config: Fuse) -> DetectionTable:
    maps = {t.name: class_map(t.name, said[t.name].vocabulary, recipe.classes, t.classes) for t in recipe.teachers}
    return fuse.fuse(recipe.teachers, said, maps, config, recipe.classes, Job())


def histogram(table: DetectionTable, name: str, cuts: Cuts) -> Figure | None:
    """Return the scores of a class as a chart, with its thresholds."""
    keep, drop = cuts[name]
    facts = ReportFacts("", "", pseudo=table, keep={name: keep}, drop={name: drop})
    return charts.scores(facts, table.vocabulary.index(name))


def counts(table: DetectionTable) -> list[tuple[str, int, int, int]]:
    """Return for each class how many boxes are kept, uncertain and dropped."""
    rows = []
    for label, name in enumerate(table.vocabulary):
        mine = table.state[table.label == label]
        kept, unsure, dropped = (int((mine == state).sum()) for state in (State.KEPT, State.UNCERTAIN, State.DROPPED))
        rows.append((name, kept, unsure, dropped))
    return rows


def agreement(table: DetectionTable) -> list[tuple[str, int, float | None, float | None]]:
    """Return for each teacher how many kept boxes it saw, their share, and of these the share another saw as well."""
    kept = table.state == State.KEPT
    saw = ~np.isnan(table.teacher_score[kept])
    rows = []
    for column, name in enumerate(table.teachers):
        own = saw[:, column]
        others = np.delete(saw, column, axis=1).any(axis=1)
        shared = float((own & others).sum() / own.sum()) if own.any() and len(table.teachers) > 1 else None
        rows.append((name, int(own.sum()), float(own.mean()) if len(own) else None, shared))
    return rows


def quality(run: Run, table: DetectionTable) -> tuple[int, dict[str, list[tuple[float, float | None, float | None]]]]:
    """Return on how many images there is truth, and by class threshold, precision and recall (IoU 0.5)."""
    truth = inputs_of(run).sets.get("target_labelled")
    if truth is None:
        return 0, {}
    checked = check_labels(table, truth.table)
    found = {
        name: [(one.threshold, one.precision, one.recall) for one in qualities]
        for name, qualities in checked.by_class.items()
    }
    return checked.images, found


def verdict(run: Run) -> Mapping[str, Any]:
    """Return what the guard thinks of the labels, empty where it did not look."""
    place = outputs(run).get("fuse")
    return _json(place / "guard.json") if place else {}


def changes(run: Run, cuts: Cuts, merging: Merging) -> list[str]:
    """Return the ``--set`` arguments that make a run use these settings; none where they are its own."""
    recipe, known = recipe_of(run), cuts_of(run)
    found = []
    if {name: tuple(pair) for name, pair in cuts.items()} != known:
        for position, side in enumerate(("keep", "drop")):
            given = getattr(recipe.fuse, side)
            wanted = {"default": given["default"], **{name: round(pair[position], 3) for name, pair in cuts.items()}}
            found.append(f"fuse.{side}={json.dumps(wanted, ensure_ascii=False)}")
        if getattr(getattr(recipe.fuse, "thresholds", None), "by", "fixed") != "fixed":
            found.append("fuse.thresholds={by: fixed}")
    own = merging_of(run)
    found += [f"fuse.method={merging.method}"] if merging.method != own.method else []
    found += [f"fuse.iou={merging.iou:g}"] if merging.iou != own.iou else []
    return [part for change in found for part in ("--set", change)]


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
