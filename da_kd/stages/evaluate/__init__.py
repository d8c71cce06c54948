"""*evaluate*: every model of a run answers on the same labelled target images and is scored the same way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.data.classes import Target
from da_kd.detections import DetectionTable, ImageRecord, Vocabulary, table_of
from da_kd.events import Job
from da_kd.recipe import Evaluate
from da_kd.stages.evaluate.metrics import Evaluation, Metrics, evaluate_tables, undefined
from da_kd.stages.evaluate.scoring import FLOOR, Scorer
from da_kd.stages.fuse.classes import class_map
from da_kd.store import write_json
from da_kd.teachers import Teacher
from da_kd.teachers.batches import predict_images


def run(
    name: str,
    model: Teacher,
    classes: Mapping[str, Target],
    test: ImageSet,
    config: Evaluate,
    *,
    device: str,
    out: Path,
    job: Job,
) -> None:
    """Write what one model finds and how right it is into ``out``.

    That is ``predictions.parquet`` in the classes of ``test``; ``metrics.json`` with the figures; and ``detail.json``
    with precision-recall curves, and AP in every resample of the images.

    Args:
        name: the model's row.
        model: the model.
        classes: its class names mapped to those of ``test``; equal names need no entry.
        test: the labelled images.
        config: how to run and count.
        device: where to run.
        out: the output folder.
        job: where progress goes.
    """
    with model.open(device, FLOOR, config.batch) as predictor:
        said = predict_images(predictor, test, name, config.batch, job, name)
    _tell_unanswered(said, name, job)
    predictions = translate(said, name, classes, test.table.vocabulary)
    predictions.write(out / "predictions.parquet")
    answered = any(not reason for reason in said.reason)
    vocabulary = test.table.vocabulary
    if answered:
        scored = evaluate_tables(test.table, predictions, config.max_boxes)
    else:
        scored = Evaluation(undefined(vocabulary))
    metrics = scored.metrics
    write_json(out / "metrics.json", metrics.as_json())
    write_json(out / "detail.json", scored.detail())
    job.note(f"{name}: AP {_figure(metrics.AP)}, AP50 {_figure(metrics.AP50)}.")


def translate(said: DetectionTable, name: str, classes: Mapping[str, Target], vocabulary: Vocabulary) -> DetectionTable:
    """Return a model's boxes in another vocabulary; classes that go nowhere are left out."""
    mapping = class_map(name, said.vocabulary, vocabulary, classes)
    records = [
        ImageRecord(key, said.sha[i], int(said.size[i, 0]), int(said.size[i, 1]), said.reason[i])
        for i, key in enumerate(said.key)
    ]
    found = {key: mapping.apply(said.at(i)) for i, key in enumerate(said.key) if not said.reason[i]}
    seen = [item for item, able in zip(vocabulary, mapping.able, strict=True) if able]
    return table_of(vocabulary, records, found, searched=seen, teachers=(name,))


def _tell_unanswered(said: DetectionTable, name: str, job: Job) -> None:
    """Say which images a model gave no answer for; stored predictions may be of other images than these."""
    silent = [index for index, reason in enumerate(said.reason) if reason]
    if silent and len(silent) == len(said):
        job.warn(f"{name} gave no answer for any test image, so its figures are undefined: {said.reason[0]}.")
    elif silent:
        job.warn(
            f"{name} gave no answer for {len(silent)} of {len(said)} test images, which count as if it had found "
            f"nothing there, e.g. {said.key[silent[0]]}: {said.reason[silent[0]]}."
        )


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


__all__ = ["FLOOR", "Metrics", "Scorer", "run", "translate"]
