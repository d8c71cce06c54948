"""Scores models of a run on the images that a person audited: is the new one better here, without a test set?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import ImageSet
from da_kd.data.classes import Target
from da_kd.detections import DetectionTable, read_table
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.pipeline.exports import MODELS
from da_kd.pipeline.inputs import load_inputs
from da_kd.pipeline.runs import Run
from da_kd.pipeline.steps import TRAINED, dressed
from da_kd.recipe import Recipe
from da_kd.stages import review
from da_kd.stages.evaluate import FLOOR, translate
from da_kd.stages.review.audit import Audited, best_thresholds, compare_with_truth
from da_kd.stages.review.contest import contest, keep_above
from da_kd.store import Store, write_json
from da_kd.teachers import Teacher as Model
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.teachers.device import resolve_device

_BATCH = 16
_NO_THRESHOLD = 0.5  # where a class has no right box, and so no best threshold


def audit_run(place: Run, model: str | None, against: str | None, kind: str, job: Job) -> dict[str, Any]:
    """Compare two models on the audited images of a run's target; write ``audit.json`` into the run's folder.

    Each is taken at its own best threshold of every class on these images, which flatters both alike.

    Args:
        place: the run.
        model: the new one: a row that the run trained, a teacher of the recipe, or a file of weights; None takes the
            fine-tuned student, or the student where nothing was fine-tuned.
        against: the one that is there, likewise; None takes the recipe's first teacher.
        kind: the adapter for a file of weights.
        job: where progress goes.

    Returns:
        See :func:`da_kd.stages.review.contest.contest`, with the names of the two under ``models``, and how often the
        reviewer errs under ``reviewer`` (see :func:`da_kd.stages.review.reviewer.error_rate`).

    Raises:
        InputError: no image of the audit is done, or there is no such model.
        DaKdError: a model cannot be used.
    """
    recipe, store = place.recipe(), Store(place.workspace)
    target = load_inputs(recipe, store, job).get("target")
    entries = review.read_journal(place.workspace)
    truth, chances = review.truth_of_audit(target.table, entries, job.named("audit"))
    if not chances:
        raise InputError(
            f"Expected audited images for the run '{place.name}'; none is done yet. Set review.audit.images in the "
            "recipe, mark images of the audit done in 'da-kd review', and resume the run."
        )
    images, device, job = ImageSet(target.root, truth), resolve_device(recipe.device), job.named("audit")

    def side(name: str) -> Audited:
        found, classes = _model(place, recipe, name, kind)
        return _on(images, chances, name, found, classes, device, job)

    first, second = against or recipe.teachers[0].name, model or _best(place)
    told = {"models": {"first": first, "second": second}, **contest(side(first), side(second), seed=recipe.seed)}
    told["reviewer"] = review.reviewer_errors(_reviewed(place, target.table), entries, blind=recipe.review.audit.blind)
    write_json(place.folder / "audit.json", told)
    return told


def _reviewed(place: Run, target: DetectionTable) -> DetectionTable:
    """Return the labels that a person reviews, those of the first round, or just the images where there are none."""
    labels = place.made("fuse@1") or place.made("fuse")
    return target if labels is None else read_table(labels / "labels.parquet")


def _best(place: Run) -> str:
    """Return the best student that is trained."""
    for name in MODELS[:2]:
        if place.made(name) is not None:
            return name
    raise InputError(f"Expected a trained student in the run '{place.name}'; it has none yet. Name another --model.")


def _model(place: Run, recipe: Recipe, name: str, kind: str) -> tuple[Model, Mapping[str, Target]]:
    """Return a model by the name of its row, of a teacher, or of a file; and where its classes go."""
    if name in MODELS and (folder := place.made(name)) is not None:
        return adapter("ultralytics")(folder / "weights.pt", {}), {}
    for teacher in recipe.teachers:
        if teacher.name == name:
            trained = next((folder for step in TRAINED if (folder := place.made(f"{step}:{name}"))), None)
            path = trained / "weights.pt" if trained else teacher.weights
            if path is None:
                raise InputError(
                    f"Teacher '{name}' of the run '{place.name}' is not trained yet; "
                    f"'da-kd resume {place.folder} --until teach' trains it."
                )
            edges = place.made(f"edges:{name}")
            return dressed(adapter(teacher.kind)(Path(path), teacher.options), teacher, edges), teacher.classes
    if Path(name).is_file():
        return adapter(kind)(Path(name), {}), {}
    known = [row for row in MODELS if place.made(row) is not None] + [teacher.name for teacher in recipe.teachers]
    raise InputError(f"Expected one of {', '.join(known)}, or a file of weights; found '{name}'.")


def _on(
    images: ImageSet,
    chances: Mapping[str, float],
    name: str,
    model: Model,
    classes: Mapping[str, Target],
    device: str,
    job: Job,
) -> Audited:
    """Return what a model finds in the audited images, compared with the truth, at its own best thresholds."""
    with model.open(device, FLOOR, _BATCH) as predictor:
        said = predict_images(predictor, images, name, _BATCH, job, name)
    table = translate(said, name, classes, images.table.vocabulary)
    # An image that a model cannot answer for counts as one where it finds nothing, as in *evaluate*.
    table = dataclasses.replace(table, reason=("",) * len(table))
    audited = compare_with_truth(table, images.table, chances)
    best, _ = best_thresholds(audited)
    thresholds = np.where(np.isnan(best.value), _NO_THRESHOLD, best.value)[:-1]
    return keep_above(audited, dict(zip(audited.vocabulary, thresholds.tolist(), strict=True)))
