"""``da-kd label`` and ``da-kd apply``: a teacher, or the student of a run, on images of yours; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from da_kd.cli.options import Device, Force
from da_kd.cli.words import run_folder
from da_kd.errors import InputError
from da_kd.files import expanded, is_file


class Format(str, Enum):  # noqa: UP042 - what every version of typer reads
    """How labels are written."""

    coco = "coco"
    yolo = "yolo"


ImagesPlace = Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder, a data set or a video.")]
Out = Annotated[Path | None, typer.Option("--out", help="What to write. Default: labels.json, or labels/ for yolo.")]
LabelFormat = Annotated[Format, typer.Option("--format", help="How to write labels.")]
Floor = Annotated[float, typer.Option("--floor", help="Lowest score of a box that is kept.")]
ImageSize = Annotated[int | None, typer.Option("--imgsz", help="Side in pixels that images are scaled to.")]


def label(
    images: ImagesPlace,
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            help="A '.pt' file (loading one can run code: trust its source), or KIND:PATH for another adapter.",
        ),
    ],
    format: LabelFormat = Format.coco,
    out: Out = None,
    floor: Floor = 0.25,
    imgsz: ImageSize = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="A setting of the adapter, e.g. names=coco or 'names=[cat, dog]'; may be repeated.",
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write a teacher's labels for images.

    Classes are the teacher's own. Images that cannot be read are counted and listed.
    """
    kind, _, path = teacher.partition(":") if ":" in teacher else ("ultralytics", "", teacher)
    options = _options(imgsz, option or ())
    _run(kind, expanded(path), options, images, format, out, floor, device, force, None)


def apply(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A '.pt' file (loading one can run code: trust its source), or a run, whose best student is taken.",
        ),
    ],
    images: ImagesPlace,
    format: LabelFormat = Format.coco,
    out: Out = None,
    floor: Floor = 0.25,
    imgsz: ImageSize = None,
    device: Device = "auto",
    save_images: Annotated[
        Path | None, typer.Option("--save-images", metavar="DIR", help="Also write pictures with the boxes drawn in.")
    ] = None,
    force: Force = False,
) -> None:
    """Run a student on new images.

    Writes what it finds. Images that cannot be read are counted and listed.
    """
    options = _options(imgsz)
    _run("ultralytics", _weights(model), options, images, format, out, floor, device, force, save_images)


def _options(imgsz: int | None, given: Sequence[str] = ()) -> dict[str, Any]:
    """Return settings of the adapter, the values of ``KEY=VALUE`` read as YAML.

    Raises:
        InputError: one of them is something else.
    """
    from da_kd.plain_yaml import read_yaml

    options: dict[str, Any] = {} if imgsz is None else {"imgsz": imgsz}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InputError(f"--option: expected KEY=VALUE, e.g. names=coco; found '{text}'.")
        try:
            options[key] = read_yaml(value)
        except ValueError as error:
            raise InputError(f"--option {key}: expected a YAML value, e.g. [cat, dog]; found '{value}'.") from error
    return options


def _run(
    kind: str,
    weights: Path,
    options: dict[str, Any],
    images: Path,
    form: Format,
    out: Path | None,
    floor: float,
    device: str,
    force: bool,
    pictures: Path | None,
) -> None:
    from da_kd.cli.predicting import Request, predict_into_files
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.cli.terminal import say
    from da_kd.events import Job

    place = out or Path("labels.json" if form is Format.coco else "labels")
    request = Request(kind, weights, options, images, place, form.value, floor, device, force, pictures)
    with stoppable() as stopping, shown() as sink:
        lines = predict_into_files(request, Job(sink, stopping))
    for line in lines:
        say(line)


def _weights(model: str) -> Path:
    """Return the weights a person means: the file, or the best student of a run.

    Raises:
        InputError: neither is there.
    """
    path = expanded(model)
    if is_file(path):
        return path
    from da_kd.pipeline import Run

    run = Run(run_folder(model))
    made = [folder for step in ("finetuned", "student") if (folder := run.made(step)) is not None]
    if made:
        return made[0] / "weights.pt"
    there = "which has no student yet; run it first" if run.exists else "and there is no run of that name either"
    raise InputError(f"MODEL: expected a '.pt' file or a run; found no file '{model}', {there}.")
