"""Page 6, Evaluate: the ladder of models, by class, by size, by score; and the student as files for others."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from da_kd.pipeline import Run
from da_kd.stages.report import accuracy, charts, words
from da_kd.stages.report.facts import ReportFacts, in_order, name_of
from da_kd.stages.report.figures import as_plotly
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run, one_of
from da_kd.ui.frame import HIDDEN, Frame, acts, guarded
from da_kd.ui.queries.facts import facts_of
from da_kd.ui.queries.runs import exported_files, outputs, shown_of
from da_kd.ui.queries.sets import recipe_of
from da_kd.ui.standing import side_work

KEY, TITLE = "evaluate", "Evaluate"
_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
_ALL = "all classes"
_FORMATS = ("onnx", "torchscript", "openvino")
_WORD = "Model card: "  # begins the last line of `da-kd export`


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    gr.HTML(markup.title("Evaluate", "Every model of the run on the same labelled images of the new domain."))
    problem = gr.HTML()
    head = gr.HTML(elem_id="ladder-head")
    with gr.Row():
        ladder = gr.Plot(label="AP and AP50 of every model (0 to 1)", elem_id="ladder", visible=False, min_width=420)
        classes = gr.Plot(label="AP by class (0 to 1)", visible=False, min_width=420)
    rows, apart = gr.HTML(elem_id="ladder-rows"), gr.HTML(elem_id="ladder-apart")
    errors = gr.Plot(label="What each type of error costs (AP50)", visible=False, elem_id="errors")
    with gr.Row(visible=False) as curve_row:
        which = gr.Dropdown([], label="Precision and recall of", scale=1, min_width=180, elem_id="pr-class")
        curve = gr.Plot(label="Precision over recall at IoU 0.5 (0 to 1)", scale=3)
    gr.HTML(markup.section("The student as files", "Weights as they are, or written for other programs and checked."))
    files = gr.HTML(elem_id="files")
    with gr.Row():
        form = gr.Radio(list(_FORMATS), value="onnx", label="Format", elem_id="export", scale=2)
        export = gr.Button("Export", elem_id="export-button", elem_classes="fit", size="md", scale=1)
    line, said, under_way = gr.HTML(elem_id="export-line"), gr.HTML(elem_id="export-said"), gr.HTML(elem_id="exported")

    def fill(name: Any) -> dict[Any, Any]:
        run = frame.chosen(name)
        facts = facts_of(run)
        known = [_ALL, *facts.classes]
        scored = bool(facts.models)
        return {
            head: _head(facts),
            ladder: gr.Plot(as_plotly(charts.ladder(facts)), visible=scored),
            classes: gr.Plot(as_plotly(charts.per_class(facts)), visible=scored),
            rows: _rows(facts),
            apart: _apart(facts),
            errors: gr.Plot(as_plotly(accuracy.errors(facts)), visible=accuracy.errors(facts) is not None),
            curve_row: gr.Row(visible=bool(facts.precision)),
            which: gr.Dropdown(choices=known, value=_ALL),
            curve: as_plotly(accuracy.precision(facts)),  # a class that stays chosen is no change
            files: _files(run.name, list(outputs(run))),
        }

    def draw(name: Any, chosen: Any) -> dict[Any, Any]:
        if not chosen:
            return {}
        run = existing_run(frame.settings, name)
        label = one_of(chosen, [_ALL, *recipe_of(run).classes], "Class")
        return {curve: as_plotly(accuracy.precision(facts_of(run), None if label == _ALL else label))}

    def write(name: Any, wanted: Any) -> dict[Any, Any]:
        run = existing_run(frame.settings, name)
        arguments = _arguments(frame.settings.called(run.name), one_of(wanted, _FORMATS, "Format"))
        processes.start(run.folder, arguments, frame.settings.start, "export")
        return {}

    def look(run: Run) -> tuple[str, Callable[[], dict[Any, Any]]]:
        last = processes.launched(run.folder, "export")
        return f"{run.name} {last} {last is not None and last.alive}", lambda: {under_way: _exported(frame, run, last)}

    def version(name: Any) -> str:
        return shown_of(existing_run(frame.settings, name), "evaluate", "student", "finetuned", "oracle")

    shown = [head, ladder, classes, rows, apart, errors, curve_row, which, curve, files]
    frame.fills(tab, KEY, problem, fill, shown, version)
    frame.follows(KEY, under_way, look, [])
    which.change(guarded(draw, problem), [frame.run, which], [problem, curve], **HIDDEN)
    for change in (form.change, frame.run.change):
        change(lambda run, wanted: _line(frame, run, wanted), [frame.run, form], [line], **HIDDEN)
    acts(export, "Starting the export...", write, [frame.run, form], said)


def _head(facts: ReportFacts) -> str:
    if not facts.models:
        return markup.empty(
            "No model of this run is scored yet.",
            "The figures appear as soon as the stage 'evaluate' is done; it needs labelled images under data.test.",
        )
    tiles = [(tile.label, tile.value, tile.remark) for tile in words.tiles(facts)[:3]]
    return f'<p class="headline">{escape(words.headline(facts))}</p>{markup.tiles(tiles)}'


def _rows(facts: ReportFacts) -> str:
    if not facts.models:
        return ""
    body = [
        [escape(name_of(row)), *(_figure(facts, row, column) for column in _COLUMNS)] for row in in_order(facts.models)
    ]
    caption = (
        "Average precision, 0 to 1. APs, APm, APl: objects under 32, from 32 to 96, and over 96 pixels a side. "
        "Below a figure: its 95 % interval, where it was computed."
    )
    absent = "".join(
        f"<li>{escape(name_of(row))}: {escape(reason)}</li>" for row, reason in facts.absent.items() if reason
    )
    missing = f'<ul class="absent">{absent}</ul>' if absent else ""
    return markup.table(["Model", *_COLUMNS], body, range(1, len(_COLUMNS) + 1), caption) + missing


def _figure(facts: ReportFacts, row: str, column: str) -> str:
    """Return a figure, with its interval where one was computed."""
    text, ends = words.fraction(facts.figure(row, column)), facts.interval(row, column)
    return f"{text}<br><small>{words.between(ends, words.fraction)}</small>" if ends else text


def _apart(facts: ReportFacts) -> str:
    """Return how far the students lie from the other models, and whether chance explains it."""
    lines = accuracy.differences(facts)
    rows = [
        [escape(line["name"]), *(f"{cell['value']} <small>{cell['ends']}</small>" for cell in line["cells"])]
        for line in lines
    ]
    how = "Both models on the same draws of images; where the 95 % interval holds 0, chance may be the reason."
    heads = ["What less what", "AP", "AP50"]
    return markup.section("Differences", how) + markup.table(heads, rows, (1, 2)) if rows else ""


def _files(run: str, done: list[str]) -> str:
    trained = [step for step in ("student", "finetuned", "source_only", "oracle") if step in done]
    if not trained:
        return markup.empty("There is no student yet.", "It is there when the stage 'distill' is done.")
    links = [markup.link(f"{name_of(step)}: weights (.pt)", f"run/{run}/weights/{step}", True) for step in trained]
    return f'<p class="actions">{"".join(links)}</p>'


def _exported(frame: Frame, run: Run, last: processes.Launch | None) -> str:
    """Return how the last export stands, and what was written."""
    place = frame.settings.short(run.folder / "export")
    busy = "The student is written and checked against the checkpoint; this takes about a minute..."
    done = f"Written; it lies in {place}, and MODEL.md there says how it compares with the checkpoint."
    log = processes.log_of(run.folder, "export")
    told = side_work(last, log, busy, done, _WORD)
    links = [markup.link(path.name, f"run/{run.name}/export/{path.name}", True) for path in exported_files(run)]
    shown = f'<p class="actions">{"".join(links)}</p>' if links and not (last and last.alive) else ""
    return told + shown


def _line(frame: Frame, run: Any, form: Any) -> str:
    return markup.command(_arguments(frame.settings.called(str(run)), str(form)), "Export") if run else ""


def _arguments(run: str, form: str) -> list[str]:
    return ["export", run, "--format", form]
