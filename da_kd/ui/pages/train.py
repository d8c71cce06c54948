"""Page 5, Train: how the run gets on, with live curves; stop and go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from da_kd.errors import InputError
from da_kd.pipeline import STAGES, Run
from da_kd.stages.report import charts, words
from da_kd.stages.report.facts import in_order, name_of
from da_kd.stages.report.figures import as_plotly, colour_of
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run, one_of
from da_kd.ui.frame import HIDDEN, Frame, acts
from da_kd.ui.queries.facts import curves_of, row_of
from da_kd.ui.queries.runs import Standing, Task, outputs, standing
from da_kd.ui.standing import amount, stages
from da_kd.words import duration, rate, size

KEY, TITLE = "train", "Train"
_ALL = "report"
_PLOTS = 6
_IMAGES = " images/s"
_LOSSES = {"box": "--line-1", "class": "--line-2", "distribution focal loss (DFL)": "--line-3"}


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    gr.HTML(markup.title("Train", "Distilling the student from pseudo labels, and fine-tuning it where labels are."))
    problem, lost = gr.HTML(), gr.HTML()  # the page cannot be filled; cannot be followed any more
    live = gr.HTML(elem_id="live")
    with gr.Row():
        until = gr.Dropdown(list(STAGES), value=_ALL, label="Go on until", elem_id="until", scale=2, min_width=200)
        resume = gr.Button("Go on", variant="primary", elem_id="resume", elem_classes="fit", size="md", scale=1)
        stop = gr.Button("Stop", elem_id="stop-training", elem_classes="fit", size="md", scale=1)
    line, said, stopped = gr.HTML(), gr.HTML(elem_id="resumed"), gr.HTML(elem_id="ended")
    gr.HTML(markup.section("Losses by epoch", "Of every training; losses have no unit."))
    gr.HTML(markup.legend({name: colour_of(line) for name, line in _LOSSES.items()}))
    plots = []
    with gr.Row(elem_classes="twos"):
        for _ in range(_PLOTS):
            plots.append(gr.Plot(visible=False, min_width=340))
    none = gr.HTML()
    log = gr.HTML()

    def fill(name: Any) -> dict[Any, Any]:
        run = frame.chosen(name)
        return shown(run, standing(run))

    def shown(run: Run, now: Standing) -> dict[Any, Any]:
        return {live: _live(now), log: markup.log(processes.log_of(run.folder), "Log of the run"), **_curves(run)}

    def _curves(run: Run) -> dict[Any, Any]:
        found, below = _drawn(run)
        drawn: dict[Any, Any] = {none: below}
        for index, plot in enumerate(plots):
            chart, title = found[index] if index < len(found) else (None, "")
            drawn[plot] = gr.Plot(as_plotly(chart), label=title, visible=chart is not None)
        return drawn

    def look(run: Run) -> tuple[str, Callable[[], dict[Any, Any]]]:
        now = standing(run)
        task = now.task and (now.task.task, now.task.done)
        stamp = f"{now.name} {now.stamp} {task} {now.waiting} {len(now.warnings)}"
        return stamp, lambda: shown(run, now)

    outputs_ = [live, *plots, none, log]
    frame.fills(tab, KEY, problem, fill, outputs_)
    frame.follows(KEY, lost, look, outputs_)
    acts(resume, "Starting...", lambda name, last: {said: _go_on(frame, name, last)}, [frame.run, until], said)
    acts(stop, "Stopping...", lambda name: {stopped: _end(frame, name)}, [frame.run], stopped)
    frame.ends(said, working=True)
    frame.ends(stopped, working=False)
    for change in (until.change, frame.run.change):
        change(lambda name, last: _lines(frame, name, last), [frame.run, until], [line], **HIDDEN)


def _drawn(run: Run) -> tuple[list[tuple[charts.Figure | None, str]], str]:
    """Return the curves there is room for with their titles, first of what is under way, and what stands below them."""
    done = outputs(run) if run.exists else {}
    found, finished = curves_of(run, done) if run.exists else {}, set(map(row_of, done))
    rows = sorted(in_order(found), key=lambda row: row in finished)
    drawn = [(charts.curve(found[row]), f"{name_of(row)}, {len(found[row])} epochs") for row in rows[:_PLOTS]]
    if not rows:
        return [], markup.empty("Nothing is trained yet.", "Curves appear with the first epoch.")
    more = ", ".join(map(name_of, rows[_PLOTS:]))
    return drawn, markup.note(f"Not drawn here, but in the report: {more}." if more else "")


def _go_on(frame: Frame, name: Any, last: Any) -> str:
    run = existing_run(frame.settings, name)
    arguments = _arguments(frame.settings.called(run.name), one_of(last, STAGES, "Go on until"))
    if processes.working(run):
        raise InputError("This run is being worked on already; there is nothing to take up.")
    processes.start(run.folder, arguments, frame.settings.start)
    return markup.fine("The run goes on.")


def _end(frame: Frame, name: Any) -> str:
    if not processes.stop(existing_run(frame.settings, name)):
        return markup.note("Nobody works on this run; there is nothing to stop.")
    return markup.note("Stopped. Finished outputs and epochs stay; 'Go on' takes it up from there.")


def _lines(frame: Frame, name: Any, last: Any) -> str:
    called = frame.settings.called(str(name))
    return (
        markup.command(_arguments(called, str(last)), "Go on") + markup.command(["stop", called], "Stop")
        if name
        else ""
    )


def _arguments(run: str, last: str) -> list[str]:
    return ["resume", run, *([] if last == _ALL else ["--until", last])]


def _live(now: Standing) -> str:
    """Return stages, figures of the task under way, and warnings."""
    task = now.task
    tiles = [("State", now.state, now.stage)]
    if task is not None:
        of = f" of {task.total}" if task.total is not None else ""
        tiles.append(("Done", f"{task.done}{of}", f"{task.unit} of {task.task}".strip()))
        tiles.append(("Speed", *_speed(task)))
        tiles.append(("Time left", duration(task.left) if task.left is not None else words.UNDEFINED, "for this task"))
    if now.pid:
        held = f"process {now.pid}"
        tiles.append(("Device", now.device or "none", held))
        tiles.append(("Memory", size(now.memory) if now.memory else words.UNDEFINED, "of the process, resident"))
    warnings = "".join(markup.note(text) for text in now.warnings)
    waits = markup.note(f"{now.waiting} The run goes on by itself when it is free.") if now.waiting else ""
    return stages(now) + markup.tiles(tiles) + waits + warnings


def _speed(task: Task) -> tuple[str, str]:
    """Return how fast a task is, images a second where it tells them, and what else it tells."""
    told = [part for part in task.note.split(", ") if part]
    pace = [rate(task.per_second, task.unit or "steps")] if task.per_second else []
    first, *more = [part for part in told if part.endswith(_IMAGES)] + pace or [words.UNDEFINED]
    return first, ", ".join([*more, *(part for part in told if not part.endswith(_IMAGES))])


__all__ = ["KEY", "TITLE", "amount", "build"]
