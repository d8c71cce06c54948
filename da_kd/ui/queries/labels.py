"""Pseudo labels under other thresholds: previews through the stage's own functions, never a teacher, never a file.

What is true of the target may be told here; nothing is decided by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.data import spread
from da_kd.detections import DetectionTable, State
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.pipeline import Run
from da_kd.pipeline.steps.labels import SAMPLE
from da_kd.pipeline.steps.rounds import rounds_of
from da_kd.recipe import Fuse, Teacher
from da_kd.stages import fuse, predict
from da_kd.stages.fuse.calibration import Calibration
from da_kd.stages.fuse.classes import class_map
from da_kd.stages.fuse.guard import Home, Verdict, demote, judge
from da_kd.stages.fuse.merged import Fused, labels_of, merge_all
from da_kd.stages.fuse.sample import Sample
from da_kd.stages.fuse.thresholds import fixed
from da_kd.stages.report import ReportFacts, charts
from da_kd.stages.report.charts import Figure
from da_kd.stages.report.label_quality import check_labels
from da_kd.ui.queries.runs import outputs
from da_kd.ui.queries.sets import inputs_of, memory, predictions_at, recipe_of, table_at

Cuts = Mapping[str, tuple[float, float]]
SHOWN = (State.KEPT, State.UNCERTAIN)
_MOST = 60_000  # boxes of all teachers that a preview merges; more would take longer than a moment
_FEWEST = 100  # images, however many boxes they have; the first of them tell how many that are


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
    return table_at(_place(run) / "labels.parquet")


def _place(run: Run) -> Path:
    place = outputs(run).get("fuse")
    if place is None:
        raise InputError("This run has no pseudo labels yet. Press 'Make the labels' to run teach, predict and fuse.")
    return place


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


@dataclass(frozen=True, eq=False)
class Preview:
    """The pseudo labels that other settings would make.

    Attributes:
        table: of the target images, or of as many as can be merged while a person waits.
        rows: where these images stand in the target set.
        of: how many images the target set has.
        verdict: what the guard would say of them, None where it is off.
    """

    table: DetectionTable
    rows: npt.NDArray[np.int64]
    of: int
    verdict: Verdict | None


def preview(run: Run, cuts: Cuts, merging: Merging) -> Preview:
    """Return the labels as *fuse* would make them, by its own functions: merging, thresholds, lonely boxes, guard.

    Merged boxes are remembered, so that a moved threshold merges nothing. Of a large set images that are evenly spread
    over it stand for all.

    Raises:
        InputError: thresholds cross, or the predictions are gone.
        DataError: the teachers' predictions do not fit together.
    """
    recipe, place, of = recipe_of(run), _place(run), len(fused(run))
    config = with_cuts(recipe.fuse, cuts, merging)
    used = fixed(config, recipe.classes)
    rows, merged = memory.get(("merged", place, merging), lambda: _merged(run, config))
    table, home, verdict = labels_of(merged, used, config), None, None
    if config.guard.mode != "off":
        known = memory.get(("home", place, merging), lambda: _home(run, config))
        home = Home(known[0], labels_of(known[1], used, config)) if known else None
        verdict = judge(table, home, config.guard)
        if config.guard.demote:
            table, verdict = demote(table, verdict)
    return Preview(table, rows, of, verdict)


def _merged(run: Run, config: Fuse) -> tuple[npt.NDArray[np.int64], Fused]:
    """Return which of the target images stand for all, and what the teachers together say of them."""
    done, voices = outputs(run), _voices(run)
    gone = [one.name for one in voices if f"predict:{one.name}" not in done]
    if gone:
        raise InputError(
            f"The predictions of teacher '{gone[0]}' are not there (any more). Press 'Make the labels'; thresholds can "
            "be tried then."
        )
    said = {one.name: predict.StoredPredictions(done[f"predict:{one.name}"]) for one in voices}
    images = len(said[voices[0].name])
    first = min(images, _FEWEST)
    boxes = sum(len(stored.part(slice(0, first)).score) for stored in said.values()) / first  # an image, about
    rows = np.linspace(0, images - 1, min(images, max(first, int(_MOST / max(boxes, 1))))).astype(np.int64)
    return rows, _merge(run, voices, {name: stored.take(rows) for name, stored in said.items()}, config)


def _home(run: Run, config: Fuse) -> tuple[Sample, Fused] | None:
    """Return labelled source images and what the teachers together say of them, None where none was asked."""
    recipe, done = recipe_of(run), outputs(run)
    name = "source" if recipe.data.source_val is None else "source_val"
    voices = [one for one in _voices(run) if f"predict:{one.name}:{name}" in done]
    images = inputs_of(run).sets.get(name)
    if not voices or images is None:
        return None
    said = {one.name: predictions_at(done[f"predict:{one.name}:{name}"]) for one in voices}
    sample = Sample(name, spread(images, SAMPLE).table, said, held_out=name != "source")
    return sample, _merge(run, voices, said, config)


def _voices(run: Run) -> tuple[Teacher, ...]:
    """Return who labels the target in the last round."""
    return rounds_of(recipe_of(run))[-1].voices


def _merge(run: Run, voices: Sequence[Teacher], said: Mapping[str, DetectionTable], config: Fuse) -> Fused:
    """Merge what was said, scores calibrated as the run calibrated them."""
    classes = recipe_of(run).classes
    maps = {one.name: class_map(one.name, said[one.name].vocabulary, classes, one.classes) for one in voices}
    told = _json(_place(run) / "calibration.json").get("teachers", {})
    curves = {name: Calibration.from_json(tree, classes) for name, tree in told.items()}
    return merge_all(voices, said, maps, config, classes, Job(), curves)


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
