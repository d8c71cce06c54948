"""The pages, one module each, in one frame. A page is a thin view: what it shows comes from ``queries``."""

from __future__ import annotations

from typing import Any

import gradio as gr

from da_kd.errors import DaKdError
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run, run_named
from da_kd.ui.frame import HIDDEN, Frame, acts
from da_kd.ui.pages import compare, data, evaluate, labels, report, review, start, train
from da_kd.ui.queries.runs import recent_runs, standing
from da_kd.ui.settings import Settings
from da_kd.ui.standing import standing_line

_TICK = 1.0  # seconds between two looks at the disk
_PAGES = (start, data, labels, review, train, evaluate, compare, report)


def build(settings: Settings) -> gr.Blocks:
    """Return all pages."""
    with gr.Blocks(title="da_kd", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as blocks:
        with gr.Row(elem_id="head"):
            gr.HTML("<h1>da_kd</h1><p>a detector for your cameras</p>", elem_id="brand", scale=1, min_width=170)
            run = gr.Dropdown(
                [], label="Run", allow_custom_value=True, scale=2, min_width=200, elem_id="run", interactive=True
            )
            stop = gr.Button("Stop", size="sm", scale=0, min_width=90, elem_id="stop")
        line = gr.HTML(elem_id="standing")
        problem = gr.HTML(elem_id="stopped")
        frame = Frame(settings, run, gr.State("start"), gr.State(""), gr.State(""))
        run.change(None, [run], None, js="(run) => { window.daKdRemember(run); }")  # first, before a reload can come
        with gr.Tabs(elem_id="pages"):
            for number, page in enumerate(_PAGES, 1):
                with gr.Tab(f"{number} {page.TITLE}", id=page.KEY) as tab:
                    page.build(frame, tab)
        _keep_standing(frame, line)
        _wire_stop(frame, stop, problem)
        _wire_start(frame, blocks)
    blocks.queue(default_concurrency_limit=8, max_size=200)
    return blocks


def _keep_standing(frame: Frame, line: gr.HTML) -> None:
    """Look at the disk every second: how the chosen run stands, and whether anything got on."""

    def look(name: Any) -> tuple[str, str, str]:
        listed = ",".join(f"{row.name}:{row.state}" for row in recent_runs(frame.settings.workspace))
        if not name:
            return markup.note("No run is chosen. Start one, or choose one above.") if listed else "", "", listed
        try:
            now = standing(existing_run(frame.settings, name))
        except DaKdError as error:
            return markup.error(str(error)), "", listed
        return standing_line(now), f"{now.name} {now.stamp}", listed

    timer = gr.Timer(_TICK)
    for event in (timer.tick, frame.run.change):
        event(look, [frame.run], [line, frame.stamp, frame.listed], **HIDDEN)


def _wire_stop(frame: Frame, button: gr.Button, problem: gr.HTML) -> None:
    def stop(name: Any) -> str:
        run = frame.chosen(name)
        stopped = processes.stop(run)
        said = f"Run '{run.name}' is stopped. What is finished stays; 'Go on' on page 5 takes it up again."
        shown = markup.command(["stop", frame.settings.called(run.name)])
        return markup.note(said if stopped else f"Nobody works on run '{run.name}'; there is nothing to stop.") + shown

    acts(button, "Stopping...", lambda name: {problem: stop(name)}, [frame.run], problem)
    frame.ends(problem, working=False)


def _wire_start(frame: Frame, blocks: gr.Blocks) -> None:
    """Choose the run that the address names, or the latest; keep the list of runs as it is on the disk."""

    def choices() -> list[str]:
        return [row.name for row in recent_runs(frame.settings.workspace)]

    def opened(request: gr.Request) -> Any:
        names = choices()
        asked = dict(request.query_params).get("run", "")
        try:
            chosen = run_named(frame.settings, asked).name if asked else next(iter(names), None)
        except DaKdError:
            chosen = next(iter(names), None)
        return gr.Dropdown(choices=names, value=chosen)

    blocks.load(opened, None, [frame.run], **HIDDEN)
    frame.listed.change(lambda: gr.Dropdown(choices=choices()), None, [frame.run], **HIDDEN)
