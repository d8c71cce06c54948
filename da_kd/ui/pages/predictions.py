"""The part of Compare that adds a file of predictions, or lets own weights answer for a run's test images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from da_kd.pipeline import Run
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run, readable_file, uploaded_file
from da_kd.ui.frame import Frame, acts
from da_kd.ui.queries import own, sides
from da_kd.ui.settings import Settings
from da_kd.ui.standing import side_work

_LAUNCH = "compare"  # the record of the process that runs own weights
_FLOOR = "0.05"  # least score of a box that is written down
_KINDS = {".json", *own.WEIGHTS}
_BUSY, _DONE = "The model works on the test images...", "The model is done; choose its file above."
_WORD = "Labels: "  # begins the last line of `da-kd label`


def build(frame: Frame, page: str, offer: Callable[[], dict[Any, Any]], offered: list[Any]) -> None:
    """Lay the part out and wire it.

    Args:
        frame: the frame around the pages.
        page: the key of the page that it is a part of.
        offer: returns the sides there are, for the components that offer them.
        offered: these components.
    """
    allowed = frame.settings.allow_weights
    how = "For the test images of the run chosen at the top: COCO results (.json), or weights (.pt, .onnx) that answer."
    gr.HTML(markup.section("Another model, or stored predictions", how))
    with gr.Row():
        place = gr.Textbox(
            label="Path",
            info="on this machine, from the folder the app was started in",
            elem_id="side-path",
            max_length=1000,
            scale=3,
        )
        upload = gr.File(label="Own weights (.pt or .onnx)", visible=allowed, height=90, elem_id="side-upload")
        add = gr.Button("Add as a side", elem_id="side-add", elem_classes="fit", size="md", scale=1)
    said, under_way = gr.HTML(elem_id="side-said"), gr.HTML(elem_id="side-run")

    def added(name: Any, typed: Any, given: Any) -> dict[Any, Any]:
        run = existing_run(frame.settings, name)
        return {said: _add(frame.settings, run, typed, given), **offer()}

    def look(run: Run) -> tuple[str, Callable[[], dict[Any, Any]]]:
        last = processes.launched(run.folder, _LAUNCH)
        new_sides = offer if last is not None else dict
        stamp = f"{run.name} {last} {last is not None and last.alive}"
        log = processes.log_of(run.folder, _LAUNCH)
        return stamp, lambda: {under_way: side_work(last, log, _BUSY, _DONE, _WORD), **new_sides()}

    acts(add, "Reading the file...", added, [frame.run, place, upload], said, offered)
    frame.follows(page, under_way, look, offered)


def _add(settings: Settings, run: Run, typed: Any, given: Any) -> str:
    """Add a file as a side, or start a model that writes one; return what to say of it."""
    if not typed and given:
        given = uploaded_file(settings, given, "Choose weights first.")
        path = own.uploaded_model(given, settings.allow_weights).weights
    else:
        path = readable_file(settings, typed, _KINDS)
    if path.suffix.lower() == ".json":
        answered = sides.keep_file(path, run)
        return markup.fine(f"Added: {path.name} answers for {answered} test images. Choose it above, left or right.")
    arguments = _answering(settings, run, path)
    processes.start(run.folder, arguments, settings.start, _LAUNCH)
    return markup.note(f"{path.name} runs over the test images; it can be chosen above when it is done.")


def _answering(settings: Settings, run: Run, weights: Path) -> list[str]:
    folder = sides.folder_of(run)
    (run.folder / sides.FILES).mkdir(exist_ok=True)
    out = settings.short(run.folder / sides.FILES / f"{weights.stem}.json")
    asked = [
        "label",
        settings.short(folder),
        "--teacher",
        f"{own.model_at(weights).kind}:{settings.short(weights)}",
        "--out",
        out,
    ]
    return [*asked, "--floor", _FLOOR, "--force"]
