"""The part of Compare for a person's own image or video, and, where the operator allows it, own weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from da_kd.detections import Detections
from da_kd.stages.report.pictures import SHOWN_SCORE
from da_kd.ui import markup
from da_kd.ui.access import number, one_of, uploaded_file
from da_kd.ui.frame import Frame, acts
from da_kd.ui.queries import drawing, own

_UPLOADED = "uploaded weights"
_FLOOR = 0.05  # least score a model is asked for


def build(frame: Frame) -> tuple[Callable[..., dict[Any, Any]], list[Any]]:
    """Lay the part out and wire it; return what offers models, those of a run first, and the components it sets."""
    gr.HTML(
        markup.section("Your own image or video", "Both models answer at once; of a video, a frame a second is taken.")
    )
    problem = gr.HTML(elem_id="own-problem")
    allowed = frame.settings.allow_weights
    with gr.Row():
        file = gr.File(label="Image or video", file_types=["image", "video"], elem_id="own-file", height=150)
        with gr.Column(min_width=260):
            left = gr.Dropdown([], label="Left model", allow_custom_value=True, elem_id="own-left")
            right = gr.Dropdown([], label="Right model", allow_custom_value=True, elem_id="own-right")
        with gr.Column(min_width=220):
            weights = gr.File(label="Own weights (.pt or .onnx)", visible=allowed, height=90, elem_id="own-weights")
            score = gr.Slider(_FLOOR, 1, SHOWN_SCORE, step=0.05, label="Boxes from (score, 0 to 1)")
            at = gr.Slider(0, own.MOST_FRAMES, 0, step=1, label="Frame of a video (seconds)")
            show = gr.Button("Show", elem_id="own-show")
    shown = gr.HTML(elem_id="own-panes")

    def names() -> list[str]:
        return [*own.models(frame.settings.workspace), *([_UPLOADED] if allowed else [])]

    def refresh(run: Any, keep: bool = False) -> dict[Any, Any]:
        """Offer all models; choose two of the run, or ``keep`` what is chosen."""
        known = names()
        if not known or keep:
            return {left: gr.Dropdown(choices=known), right: gr.Dropdown(choices=known)}
        mine = [name for name in known if name.startswith(f"{run} / ")] or known
        first, last = mine[0], next((name for name in mine if name.endswith(" / Student")), mine[-1])
        return {left: gr.Dropdown(choices=known, value=first), right: gr.Dropdown(choices=known, value=last)}

    def ask(upload: Any, first: Any, second: Any, given: Any, least: Any, frame_number: Any) -> dict[Any, Any]:
        path = uploaded_file(frame.settings, upload, "Choose an image or a video first.")
        last = int(number(frame_number, 0, own.MOST_FRAMES, "Frame"))
        known, floor = own.models(frame.settings.workspace), number(least, 0, 1, "Score")
        sides = []
        with own.pictures_of(path, frame.settings.cache / "frames", last + 1) as pictures:
            for called in (first, second):
                if called == _UPLOADED or called not in known:
                    one_of(called, names(), "Model")
                    model = own.uploaded_model(uploaded_file(frame.settings, given, "Choose weights first."), allowed)
                else:
                    model = known[called]
                found = own.worker.ask(model, pictures[-1], _FLOOR)
                sides.append((str(called), found.pick(found.score >= floor)))
            return {shown: _panes(pictures[-1], sides)}

    tab_inputs = [file, left, right, weights, score, at]
    acts(
        show,
        "Both models look; the first time they are loaded, which takes some seconds.",
        ask,
        tab_inputs,
        problem,
        [shown],
    )
    return refresh, [left, right]


def _panes(path: Path, sides: Sequence[tuple[str, Detections]]) -> str:
    cells = []
    classes = tuple(dict.fromkeys(name for _, found in sides for name in found.vocabulary))
    for index, (name, found) in enumerate(sides):
        picture = drawing.large(path, found, Detections.empty(found.vocabulary), classes)
        told = drawing.told(found)
        cells.append(
            f"<figure><figcaption>{escape(name)}</figcaption><img src='{drawing.data_uri(picture)}' "
            f'alt="{escape(f"{name}: {told}")}"><p>{escape(told)} {markup.save(name, index)}</p></figure>'
        )
    return f'<div class="sides">{"".join(cells)}</div>'
