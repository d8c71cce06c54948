"""Exports a model of a run: finds its weights and what is known of it, and hands both to the exporter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.data import spread
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.exporting import FORMATS, Agreement, Card, check_format, export, write_card
from da_kd.files import whole
from da_kd.hashing import hash_file, hash_json
from da_kd.pipeline.inputs import Inputs, load_inputs
from da_kd.pipeline.runs import Run
from da_kd.pipeline.used import labels_of_row
from da_kd.recipe import Recipe, Teacher, dump_recipe
from da_kd.store import Store, library_versions, write_json
from da_kd.teachers.device import resolve_device
from da_kd.training import read_result

IMAGES = 32  # images that an exported model is compared with its checkpoint on
MODELS = ("finetuned", "student", "oracle", "source_only")


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and by file name how it compares with the checkpoint."""

    folder: Path
    files: Mapping[str, Agreement]


def export_run(
    place: Run, kinds: Sequence[str], row: str | None, folder: Path | None, job: Job, device: str = "auto"
) -> Exported:
    """Write a model of a run in other formats, with its checkpoint, a model card and the recipe beside them.

    Args:
        place: the run.
        kinds: formats, of :data:`da_kd.exporting.FORMATS`.
        row: which model; None takes the fine-tuned student, or the student where nothing was fine-tuned.
        folder: where to; None is ``export`` in the run's folder.
        job: where progress goes.
        device: where to run; that of the recipe may be one of another machine.

    Raises:
        InputError: no such run, model or format, or the model is not trained yet.
        SetupError: a library, or the GPU, that a format needs is not there; nothing is written.
        DaKdError: a format cannot be written, or does not find what the checkpoint finds; those before it stay, and
            the card tells of them.
    """
    recipe, store = place.recipe(), Store(place.workspace)
    row = _row(place, row)
    weights, device = (place.made(row) or place.folder) / "weights.pt", resolve_device(device)
    for kind in kinds:
        check_format(kind, device)
    inputs = load_inputs(recipe, store, job)
    folder = folder or place.folder / "export"
    folder.mkdir(parents=True, exist_ok=True)
    images = spread(inputs.sets.get("test", inputs.get("target")), IMAGES)
    stem, files = f"{recipe.name}-{row}", dict[str, Agreement]()
    job = job.named("export")
    try:
        for kind in kinds:
            name = f"{stem}{FORMATS[kind].suffix}"
            files[name] = export(weights, kind, images, folder / name, device, job)
            if files[name].same:
                job.note(f"{name}: the same as the checkpoint ({files[name]}).")
            else:
                job.warn(f"{name}: {files[name]}.")
    finally:  # what was made before a format that failed has replaced an older file
        with whole(folder / f"{stem}.pt") as temporary:
            temporary.write_bytes(weights.read_bytes())
        with whole(folder / "recipe.yaml") as temporary:
            temporary.write_text(dump_recipe(recipe), encoding="utf-8")
        said = _remember(folder, hash_file(weights), {name: str(agreement) for name, agreement in files.items()})
        told = {name: f"compared with the checkpoint: {words}" for name, words in said.items()}
        told = {f"{stem}.pt": "the checkpoint; any plain `YOLO(...)` of ultralytics loads it", **told}
        write_card(_card(place, recipe, inputs, row, told), folder)
    return Exported(folder, files)


def _remember(folder: Path, checkpoint: str, new: Mapping[str, str]) -> dict[str, str]:
    """Return how every file in the folder that was made of this checkpoint compares with it, and keep that."""
    path, known = folder / "checks.json", dict[str, str]()
    if path.is_file():
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["checkpoint"] == checkpoint:
            known = {name: words for name, words in tree["files"].items() if (folder / name).exists()}
    files = {**known, **new}
    write_json(path, {"checkpoint": checkpoint, "files": files})
    return files


def _row(place: Run, row: str | None) -> str:
    """Return the model that is meant.

    Raises:
        InputError: there is no such model, or it is not trained yet.
    """
    there = [name for name in MODELS if place.made(name) is not None]
    best = next((name for name in MODELS[:2] if name in there), None)
    if row is None and best is not None:
        return best
    if row in there:
        return str(row)
    known = f"it has {', '.join(there)}" if there else "it has none yet; run it first"
    raise InputError(f"Expected a trained {row or 'student'} in the run '{place.name}'; {known}.")


def _card(place: Run, recipe: Recipe, inputs: Inputs, row: str, files: Mapping[str, str]) -> Card:
    """Return what the model card says."""
    trained = read_result(place.made(row) or place.folder)
    scored, test = place.made(f"evaluate:{row}"), inputs.sets.get("test")
    metrics = _figures(scored) if scored else {}
    data = {name: f"{len(images)} images" for name, images in inputs.sets.items()}
    data[f"training of '{row}'"] = f"{trained.images} images, {trained.boxes} boxes, {trained.steps} steps"
    return Card(
        title=f"{recipe.name}: {row}",
        row=row,
        classes=recipe.classes,
        imgsz=recipe.student.imgsz,
        architecture=recipe.student.model,
        data=data,
        teachers=[_teacher(teacher) for teacher in recipe.teachers],
        labels_used=labels_of_row(row, trained.images, recipe, inputs.sets, place.made("fuse")),
        recipe_hash=hash_json(dump_recipe(recipe)),
        metrics=metrics,
        tested_on=f"{len(test)} labelled images of the target" if test else "",
        formats=files,
        versions=library_versions(),
    )


def _teacher(teacher: Teacher) -> str:
    made = f"given as {Path(teacher.weights).name}" if teacher.weights else "trained on the source"
    then = ", then on labelled images of the target" if teacher.finetune is not None else ""
    return f"{teacher.name} ({teacher.kind}), {made}{then}"


def _figures(folder: Path) -> dict[str, float | None]:
    tree: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    per_class = {f"AP of {name}": value for name, value in tree["per_class"].items()}
    return {"AP": tree["AP"], "AP50": tree["AP50"], **per_class}
