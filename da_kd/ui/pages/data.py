"""Page 2, Data: what goes into a run, source beside target, and what was skipped and why."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from da_kd.palette import colours
from da_kd.stages.report import words
from da_kd.stages.report.figures import as_plotly
from da_kd.ui import markup
from da_kd.ui.access import existing_run, number, one_of
from da_kd.ui.frame import HIDDEN, SHOWN, Frame, guarded
from da_kd.ui.queries import images
from da_kd.ui.queries.runs import shown_of
from da_kd.ui.queries.sets import inputs_of, recipe_of

KEY, TITLE = "data", "Data"
_SHOWN = 4  # pictures of each side
_FURTHEST = 100_000


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    gr.HTML(markup.title("Data", "The images a run works on. Labels of the target are never opened."))
    problem = gr.HTML()
    sets = gr.HTML(elem_id="sets")
    balance = gr.Plot(label="Class balance: share of a set's boxes", visible=False)
    gr.HTML(markup.section("Samples", "Source beside target: do they show the same things, and what is different?"))
    key = gr.HTML()
    with gr.Row(visible=False) as bar:
        left = gr.Dropdown([], label="Left", elem_id="left-set", min_width=180)
        right = gr.Dropdown([], label="Right", elem_id="right-set", min_width=180)
        more = gr.Button("Other images", elem_classes="fit", size="md", min_width=140)
    with gr.Row(elem_classes="pair"):
        left_side, right_side = gr.HTML(min_width=300), gr.HTML(min_width=300)
    gr.HTML(
        markup.section("Skipped images", "Images that cannot be read take no part; a run refuses to go on with many.")
    )
    skipped = gr.HTML(elem_id="skipped")
    page = gr.State(0)

    def fill(name: Any) -> dict[Any, Any]:
        run = frame.chosen(name)
        if not run.exists or not run.state().steps:
            todo = "The run reads its images first; this page fills by itself as soon as it has."
            cleared = dict.fromkeys((left_side, right_side, skipped, key), "")
            return {
                sets: markup.empty("No image of this run has been read yet.", todo),
                balance: gr.Plot(None, visible=False),
                bar: gr.Row(visible=False),
                **cleared,
            }
        inputs = inputs_of(run)
        facts = images.set_facts(inputs)
        found = [(images.NAMES[item.name], item.name) for item in facts]
        keys = [item.name for item in facts]
        first = "source" if "source" in keys else keys[0]
        second = "target" if "target" in keys else keys[-1]
        return {
            sets: _sets(facts) + "".join(markup.note(text) for text in inputs.notes),
            balance: gr.Plot(as_plotly(images.balance(facts)), visible=any(item.by_class for item in facts)),
            key: markup.legend(colours(recipe_of(run).classes)),
            bar: gr.Row(visible=True),
            left: gr.Dropdown(choices=found, value=first),
            right: gr.Dropdown(choices=found, value=second),
            page: 0,
            **show(name, first, second, 0),  # sets that stay chosen are no change, and nothing else would draw them
            skipped: _skipped(images.skipped(inputs)),
        }

    def show(name: Any, first: Any, second: Any, at: Any) -> dict[Any, Any]:
        if not name or not first or not second:
            return {}
        run = existing_run(frame.settings, name)
        inputs, classes = inputs_of(run), recipe_of(run).classes
        turn = int(number(at, 0, _FURTHEST, "Page"))
        drawn = {}
        for place, wanted in ((left_side, first), (right_side, second)):
            chosen = one_of(wanted, list(inputs.sets), "Set")
            grid = markup.pictures(images.samples(inputs.sets[chosen], turn, _SHOWN, classes))
            drawn[place] = f"<h4>{escape(images.NAMES[chosen])}</h4>{grid}"
        return drawn

    def version(name: Any) -> str:
        return shown_of(existing_run(frame.settings, name), "none")

    filled = [sets, balance, key, bar, left, right, left_side, right_side, skipped, page]
    frame.fills(tab, KEY, problem, fill, filled, version)
    shown = [frame.run, left, right, page]
    for change in (left.change, right.change, page.change):
        change(
            guarded(show, problem),
            shown,
            [problem, left_side, right_side],
            show_progress_on=[left_side, right_side],
            **SHOWN,
        )
    more.click(lambda at: (at + 1) % _FURTHEST if isinstance(at, int) else 0, [page], [page], **HIDDEN)


def _sets(facts: list[images.SetFacts]) -> str:
    rows = []
    for item in facts:
        counts = ", ".join(f"{name} {words.count(count)}" for name, count in item.by_class.items())
        each = (
            f"{item.boxes / (item.images - item.unusable):.1f}"
            if item.by_class and item.images > item.unusable
            else words.UNDEFINED
        )
        rows.append(
            [
                escape(images.NAMES[item.name]),
                words.count(item.images),
                words.count(item.unusable),
                f"{item.width} \N{MULTIPLICATION SIGN} {item.height}",
                words.count(item.boxes) if item.by_class else "not opened",
                each,
                f"{item.side:.0f}" if item.side is not None else words.UNDEFINED,
                escape(counts) or words.UNDEFINED,
            ]
        )
    heads = [
        "Set",
        "Images",
        "Unusable",
        "Size (px, median)",
        "Boxes",
        "Boxes an image",
        "Box side (px, median)",
        "Boxes by class",
    ]
    return markup.table(heads, rows, numbers=(1, 2, 3, 4, 5, 6), lists=(7,))


def _skipped(found: list[tuple[str, str, str]]) -> str:
    if not found:
        return markup.fine("Every image could be read.")
    rows = [[escape(place), f"<code>{escape(name)}</code>", escape(reason)] for place, name, reason in found]
    return markup.table(["Set", "Image", "Why"], rows)
