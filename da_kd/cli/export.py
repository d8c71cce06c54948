"""``da-kd export``: a model of a run as files that others can load, each checked against the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from da_kd.cli.options import Device, RunName
from da_kd.cli.words import run_folder


def export(
    run: RunName,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="onnx, torchscript, openvino or engine (TensorRT); may be repeated."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="finetuned, student, oracle or source_only. Default: the best student."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write into. Default: RUN/export.")] = None,
    device: Device = "auto",
) -> None:
    """Write a model of a run in other formats, with a model card.

    A file that does not find what the checkpoint finds in the same images is not kept.
    """
    from da_kd import pipeline
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.cli.terminal import say
    from da_kd.events import Job

    place = pipeline.Run(run_folder(run))
    with stoppable() as stopping, shown() as sink:
        written = pipeline.export_run(place, formats or ["onnx"], model, out, Job(sink, stopping), device)
    say(f"Model card: {written.folder / 'MODEL.md'}")
