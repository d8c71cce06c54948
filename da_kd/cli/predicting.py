"""A model on images without labels, and what it found as a file others can read; ``label`` and ``apply`` share it.

Knows teachers and data; must not know recipes beyond the section ``Images``, nor runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from da_kd.errors import DataError, InputError
from da_kd.events import Job
from da_kd.files import expanded, file_in_the_way

if TYPE_CHECKING:
    from da_kd.data import ImageSet
    from da_kd.detections import DetectionTable

_BATCH = 16
_LISTED = 10  # unreadable images that are named
_MARK = ".da_kd"  # an empty file in every YOLO data set that is written here; others are not replaced
_OURS = {_MARK, "data.yaml", "images", "labels"}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        kind: the adapter.
        weights: the model's file, or the folder of one.
        options: settings of the adapter.
        images: a folder, data set or video.
        out: the file (COCO) or folder (YOLO) to write.
        format: how to write it.
        floor: the lowest score that is kept.
        device: where to run.
        force: overwrite what is there.
        pictures: the folder for pictures with the boxes drawn in, or None.
    """

    kind: str
    weights: Path
    options: Mapping[str, Any]
    images: Path
    out: Path
    format: Literal["coco", "yolo"]
    floor: float
    device: str
    force: bool
    pictures: Path | None = None


def predict_into_files(request: Request, job: Job) -> list[str]:
    """Run the model over the images and write what it found; return what there is to say about it.

    Raises:
        DaKdError: the model or the images cannot be used, or something is in the way of the output.
    """
    from da_kd.data import write_coco
    from da_kd.teachers import adapter
    from da_kd.teachers.batches import predict_images
    from da_kd.teachers.device import resolve_device

    _check(request)
    images = _images(request, job)
    _keep_clear(request, images)
    model = adapter(request.kind)(request.weights, request.options)
    with model.open(resolve_device(request.device), request.floor, _BATCH) as predictor:
        table = predict_images(predictor, images, request.weights.stem, _BATCH, job, "predict")
    if not table.ok.any():
        raise DataError(f"None of the {len(table)} images in {request.images} can be read, e.g. {table.reason[0]}.")
    request.out.parent.mkdir(parents=True, exist_ok=True)
    if request.format == "coco":
        write_coco(table, request.out)
    else:
        _write_yolo(table, images.root, request.out.resolve())
    if request.pictures is not None:
        from da_kd.cli.pictures import save_pictures

        save_pictures(table, images, request.pictures, job)
    return _said(request, images, table)


def _check(request: Request) -> None:
    """Refuse before any work what would fail after it."""
    if not request.weights.exists():
        raise InputError(f"Expected a model file at {request.weights}; there is none.")
    if not 0 <= request.floor <= 1:
        raise InputError(f"--floor: expected a score from 0 to 1; found {request.floor}.")
    for option, folder in (("--out", request.out.parent), ("--save-images", request.pictures)):
        if folder is not None and (blocking := file_in_the_way(folder)):
            raise InputError(f"{option}: expected a folder at {blocking}; found a file. Name another place.")
    out = request.out
    if request.format == "coco":
        if out.is_dir():
            raise InputError(f"--out: expected a file for COCO JSON; {out} is a folder. Name a file in it.")
        if out.exists() and not request.force:
            raise InputError(f"{out} is there already. Name another place with --out, or overwrite it with --force.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        ours = out.is_dir() and {_MARK} <= {path.name for path in out.iterdir()} <= _OURS
        if not ours:
            raise InputError(
                f"--out: expected a new folder, or a YOLO data set that da-kd wrote; {out} holds something else. "
                f"Name another."
            )
        if not request.force:
            raise InputError(f"{out} is there already. Name another place with --out, or overwrite it with --force.")


def _images(request: Request, job: Job) -> Any:
    """Return the images; frames of a video are kept beside the output."""
    from da_kd.data import ScanCache, load_images
    from da_kd.recipe import Images

    place = expanded(request.images).absolute()
    frames = request.out.absolute().parent / f"{request.out.stem}_frames"
    return load_images(
        Images(path=str(place)),
        place.parent,
        ("object",),  # nothing is labelled; the model brings its own classes
        labels=False,
        cache=ScanCache(None),
        frames=frames,
        job=job.named("images"),
        name="IMAGES",
    )


def _keep_clear(request: Request, images: ImageSet) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: an image lies in the output's place, or a picture would take an image's.
    """
    from da_kd.cli.pictures import picture_path

    out, read = request.out.resolve(), (expanded(request.images), *images.paths)
    # what is read may be a link: it counts, and so does the file behind it
    places = dict.fromkeys(place for path in read for place in (path.parent.resolve() / path.name, path.resolve()))
    inside = next((place for place in places if place.is_relative_to(out)), None)
    if inside is not None:
        raise InputError(f"--out: expected a place apart from the images; found {inside} there. Name another.")
    if request.pictures is not None:
        pictures = (picture_path(request.pictures, key).resolve() for key in images.table.key)
        over = next((place for place in pictures if place in places), None)
        if over is not None:
            raise InputError(
                f"--save-images: expected a folder apart from the images; a picture would overwrite {over}. "
                f"Name another."
            )


def _write_yolo(table: DetectionTable, root: Path, out: Path) -> None:
    """Write the whole data set under another name, then put it in the place of what ``_check`` found there."""
    from da_kd.data import write_yolo

    new, old = (out.with_name(f".{out.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    try:
        write_yolo(table, root, new)
        (new / _MARK).touch()
        if out.exists():
            out.replace(old)
        new.replace(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _said(request: Request, images: Any, table: Any) -> list[str]:
    """Return the sentences for a person, the place of the output last."""
    bad = [(key, reason) for key, reason in zip(table.key, table.reason, strict=True) if reason]
    lines = []
    if bad:
        lines.append(f"{len(bad)} of {len(table)} images could not be read:")
        lines += [f"  {key}: {reason}" for key, reason in bad[:_LISTED]]
        lines += [f"  ... and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
    good = len(table) - len(bad)
    lines.append(f"{len(table.xyxy)} boxes in {good} images; classes: {', '.join(table.vocabulary)}.")
    if request.format == "coco":
        lines.append(f"Image names count from {images.root}")
    if request.pictures is not None:
        lines.append(f"Pictures: {request.pictures}")
    return [*lines, f"Labels: {request.out}"]
