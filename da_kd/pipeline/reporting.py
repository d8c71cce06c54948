"""Gathers the figures of a run from the store, and hands the report its facts."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from da_kd.data import fingerprint as hash_images
from da_kd.detections import DetectionTable, read_table
from da_kd.events import Job, StageDone, StageStarted
from da_kd.hashing import hash_json
from da_kd.pipeline.inputs import Inputs
from da_kd.pipeline.results import RunMetrics, StepOutcome
from da_kd.pipeline.runs import Run
from da_kd.pipeline.steps import STAGES, Step, absent_rows, is_point, review_value, rows
from da_kd.pipeline.used import labels_of_pseudo, labels_of_trainings
from da_kd.recipe import Recipe, dump_recipe
from da_kd.stages import fuse, predict
from da_kd.stages.evaluate import translate
from da_kd.stages.evaluate.differences import paired_differences
from da_kd.stages.evaluate.metrics import Metrics, gap_recovered, score_tables
from da_kd.stages.report import ReportFacts, write_report
from da_kd.stages.teach import with_restyled
from da_kd.store import Store, library_versions, write_json
from da_kd.teachers.edges import like_the_target, usual_shifts
from da_kd.training import read_result

_REPORT_VERSION = 7
_RESTYLED_SHOWN, _COPIES_SHOWN = 3, 3  # source images, and copies of each


def collect_metrics(recipe: Recipe, steps: Mapping[str, Step], store: Store) -> RunMetrics:
    """Return the figures of every row that is scored, and the reasons of those that are not."""
    models: dict[str, Metrics] = {}
    drawn: dict[str, Any] = {}
    for row in rows(recipe):
        step = steps.get(f"evaluate:{row}")
        if step is not None and store.finished(step.output):
            tree = json.loads((store.path(step.output) / "metrics.json").read_text(encoding="utf-8"))
            models[row] = Metrics(**tree)
            drawn[row] = _detail(store.path(step.output))["resamples"]
    gaps, absent = gaps_recovered(models), not_scored(recipe, models)
    value, seconds = review_value(recipe, steps, store), _seconds(steps, store)
    apart = paired_differences(models, drawn)
    return RunMetrics(models, gaps, absent, recipe.classes, recipe.seed, library_versions(), seconds, value, apart)


def gaps_recovered(models: Mapping[str, Metrics]) -> dict[str, float | None]:
    """Return of each student which share of the AP between source-only and oracle it won, where that is known."""
    low, high = models.get("source_only"), models.get("oracle")
    return {row: gap_recovered(low, models.get(row), high) for row in ("student", "finetuned")}


def not_scored(recipe: Recipe, scored: Collection[str]) -> dict[str, str]:
    """Return the rows of a recipe that are not among the scored ones, each with the reason."""
    absent = absent_rows(recipe)
    return {**absent, **{row: "not evaluated yet" for row in rows(recipe) if row not in absent and row not in scored}}


def make_report(
    recipe: Recipe,
    place: Run,
    inputs: Inputs,
    steps: Mapping[str, Step],
    store: Store,
    metrics: RunMetrics,
    job: Job,
) -> tuple[Path, StepOutcome]:
    """Write the run's report, or find that it says all this already."""
    folder, job, began = place.folder / "report", job.named("report"), time.time()
    sets = {name: hash_images(images) for name, images in inputs.sets.items()}  # the page judges by their labels
    audit = _audit(_done(steps, store))
    says = hash_json([_REPORT_VERSION, metrics.as_json(), dump_recipe(recipe), inputs.notes, audit, sets])
    marker, page = folder / ".says", folder / "index.html"
    if page.is_file() and marker.is_file() and marker.read_text(encoding="utf-8") == says:
        job.emit(StageDone("report", name="report", reused=True))
        return page, StepOutcome("report", "report", True, "", folder)
    job.emit(StageStarted("report", name="report"))
    folder.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    page = write_report(_facts(recipe, place, inputs, steps, store, metrics), folder, job)
    seconds = round(time.time() - began, 3)
    write_json(folder / "metrics.json", _with_report_seconds(metrics, seconds))
    marker.write_text(says, encoding="utf-8")
    job.emit(StageDone("report", name="report", seconds=seconds))
    return page, StepOutcome("report", "report", False, "", folder)


def _with_report_seconds(metrics: RunMetrics, seconds: float) -> dict[str, Any]:
    tree = metrics.as_json()
    return {**tree, "seconds": {**tree["seconds"], "report": seconds}}


def _seconds(steps: Mapping[str, Step], store: Store) -> dict[str, float]:
    """Return what each stage took, all its steps together, when they were made."""
    seconds: dict[str, float] = {}
    for step in steps.values():
        if store.finished(step.output):
            spent = float(store.manifest(step.output)["seconds"])
            seconds[step.stage] = round(seconds.get(step.stage, 0.0) + spent, 3)
    return {stage: seconds[stage] for stage in STAGES if stage in seconds}


def _facts(
    recipe: Recipe, place: Run, inputs: Inputs, steps: Mapping[str, Step], store: Store, metrics: RunMetrics
) -> ReportFacts:
    done = _done(steps, store)
    test = inputs.sets.get("test")
    review = done.get("review")
    return ReportFacts(
        title=recipe.name,
        command=f"da-kd run {place.folder / 'recipe.yaml'} --run {place.folder}",
        metrics=metrics.as_json(),
        curves={_row(name): read_result(path).curves for name, path in _trainings(done).items()},
        pseudo=read_table(review / "labels.parquet") if review else None,
        label_truth=inputs.sets["target_labelled"].table if "target_labelled" in inputs.sets else None,
        keep=_thresholds(recipe, done, "keep"),
        drop=_thresholds(recipe, done, "drop"),
        home=_home(recipe, inputs, done),
        guard=fuse.read_verdict(done["fuse"]) if "fuse" in done else None,
        restyled=_restyled(inputs, done),
        truth=test.table if test else None,
        test_root=test.root if test else None,
        predictions=_predictions(done),
        precision=_precision(done),
        skipped=_skipped(recipe, done),
        review=_counts(review),
        audit=_audit(done),
        notes=(
            *inputs.notes,
            *_sittings(done),
            *labels_of_pseudo(recipe, done.get("fuse")),
            *_scales(recipe, done),
            *_edges(recipe, done),
            *labels_of_trainings(recipe, inputs.sets),
        ),
        images=recipe.report.images,
        recipe_yaml=dump_recipe(recipe),
    )


def _home(recipe: Recipe, inputs: Inputs, done: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the teachers' figures at home, before they were adapted, by the predictions that *fuse* had of them."""
    figures: dict[str, dict[str, Any]] = {}
    for teacher in recipe.teachers:
        folder = done.get(f"predict:{teacher.name}:source_val")
        if folder is not None:
            said = translate(predict.read_predictions(folder), teacher.name, teacher.classes, recipe.classes)
            truth = inputs.get("source_val").table
            asked = set(said.key)
            truth = truth.take([index for index, key in enumerate(truth.key) if key in asked])
            known = (said.searched.sum(axis=0) > 0).tolist()
            figures[teacher.name] = score_tables(_only(truth, known), said).as_json()
    return figures


def _restyled(inputs: Inputs, done: Mapping[str, Path]) -> list[tuple[Path, ...]]:
    """Return a few source images, each followed by its first copies in the target's colours."""
    if "restyle" not in done:
        return []
    seen = with_restyled(inputs.get("source"), done["restyle"]).paths
    originals = len(inputs.get("source").usable())
    wanted = np.linspace(0, originals - 1, min(_RESTYLED_SHOWN, originals)).astype(int)
    return [tuple(seen[image::originals][: 1 + _COPIES_SHOWN]) for image in wanted]


def _only(truth: DetectionTable, known: Sequence[bool]) -> DetectionTable:
    """Return ground truth in which only some classes were searched for: others are not scored."""
    return dataclasses.replace(truth, searched=truth.searched & np.array(known, bool))


def _thresholds(recipe: Recipe, done: Mapping[str, Path], side: Literal["keep", "drop"]) -> dict[str, float]:
    """Return the thresholds that the pseudo labels are of, or, where there are none yet, those of the recipe."""
    if "fuse" not in done:
        return fuse.thresholds(getattr(recipe.fuse, side), recipe.classes)
    tree = json.loads((done["fuse"] / "thresholds.json").read_text(encoding="utf-8"))
    return {name: float(given[side]) for name, given in tree["classes"].items()}


def _scales(recipe: Recipe, done: Mapping[str, Path]) -> list[str]:
    """Return a sentence for every teacher whose input size was matched to the target."""
    said = []
    for teacher in recipe.teachers:
        folder = done.get(f"adapt:{teacher.name}")
        if teacher.match_scale and folder is not None and (path := folder / "scale.json").is_file():
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["ratio"] is None:
                why = "too few objects were found to tell their size"
            else:
                why = f"its objects are {tree['ratio']:.2f} times as large as the source's"
            said.append(
                f"Teacher '{teacher.name}' looks at the target at {tree['input_px']} px, trained at "
                f"{tree['trained_px']} px: {why} (match_scale; no label was used)."
            )
    return said


def _edges(recipe: Recipe, done: Mapping[str, Path]) -> list[str]:
    """Return a sentence for every teacher whose boxes were moved to end by the edges as labels do."""
    said = []
    for teacher in recipe.teachers:
        folder = done.get(f"edges:{teacher.name}")
        if folder is not None and (path := folder / "edges.json").is_file():
            shifts = [f"{name} {2 * shift:+.1%}" for name, shift in usual_shifts(path).items()]
            drawn = ", ".join(like_the_target(path))
            whose = f"as data.target_dev shows for {drawn}" if drawn else "no label of the target was used"
            what = f"width and height changed by: {', '.join(shifts)}" if shifts else "none, for want of evidence"
            said.append(
                f"Teacher '{teacher.name}': its boxes on the target were moved by the edges in the pictures; {what} "
                f"(match_edges; {whose})."
            )
    return said


def _trainings(done: Mapping[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in done.items() if (path / "training.json").is_file() and not is_point(name)}


def _row(step: str) -> str:
    return step.replace("teach:", "teacher:")


def _predictions(done: Mapping[str, Path]) -> dict[str, DetectionTable]:
    return {
        name.removeprefix("evaluate:"): read_table(path / "predictions.parquet")
        for name, path in done.items()
        if name.startswith("evaluate:")
    }


def _precision(done: Mapping[str, Path]) -> dict[str, Mapping[str, Any]]:
    """Return the precision-recall curves by row and class."""
    scored = {name.removeprefix("evaluate:"): path for name, path in done.items() if name.startswith("evaluate:")}
    return {row: _detail(path)["curves"] for row, path in scored.items()}


def _detail(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / "detail.json").read_text(encoding="utf-8"))
    return tree


def _skipped(recipe: Recipe, done: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """Return the target images that some teacher could not read, each once."""
    reasons: dict[str, str] = {}
    for teacher in recipe.teachers:
        if folder := done.get(f"predict:{teacher.name}"):
            table = predict.read_predictions(folder)
            reasons |= {key: reason for key, reason in zip(table.key, table.reason, strict=True) if reason}
    return [("target", key, reason) for key, reason in sorted(reasons.items())]


def _counts(folder: Path | None) -> dict[str, int]:
    if folder is None:
        return {}
    tree = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    return {str(key): value for key, value in tree.items() if isinstance(value, int)}


def _done(steps: Mapping[str, Step], store: Store) -> dict[str, Path]:
    return {name: store.path(step.output) for name, step in steps.items() if store.finished(step.output)}


def _audit(done: Mapping[str, Path]) -> dict[str, Any] | None:
    """Return what the audit says, None where there is none."""
    if "audit" not in done:
        return None
    tree: dict[str, Any] = json.loads((done["audit"] / "audit.json").read_text(encoding="utf-8"))
    return tree


def _sittings(done: Mapping[str, Path]) -> list[str]:
    """Return a sentence for every training that was interrupted, since it is not repeatable bit for bit."""
    notes = []
    for name, path in _trainings(done).items():
        if after := read_result(path).resumed_from:
            epochs = ", ".join(str(epoch) for epoch in after)
            notes.append(f"The training of '{_row(name)}' was interrupted and went on after epoch {epochs}.")
    return notes
