"""Page 7, Compare: two models side by side, image by image, the most telling first."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from da_kd.errors import InputError
from da_kd.files import lack_of_room
from da_kd.palette import colours
from da_kd.stages.report import words
from da_kd.stages.report.pictures import SHOWN_SCORE
from da_kd.ui import markup
from da_kd.ui.access import number, one_of
from da_kd.ui.frame import SHOWN, Frame, guarded
from da_kd.ui.pages import own, predictions
from da_kd.ui.queries import comparing, drawing, sides
from da_kd.ui.queries.comparing import EVERY_CLASS, ORDERS, SIZES, Pair, Side, View
from da_kd.ui.queries.runs import MOST_OFFERED, left_out

KEY, TITLE = "compare", "Compare"
_THUMBS = 12
_FORMAT = "jpeg"  # written in a fortieth of the time that webp takes
_MANY = 1_000_000
_ROOM = 8 << 20  # bytes that the pictures of a page may take
_SLIDER, _PANES = "slider", "side by side"

Update = dict[Any, Any]


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    _Page(frame).wire(tab)


class _Page:
    """The page's components, and what they do. ``given`` is what the pictures depend on: models, order and view."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        lead = "Any two models on the same images. The keys ← and → turn the pictures."
        gr.HTML(markup.title("Compare", lead))
        self.problem = gr.HTML(elem_id="compare-problem")
        self.none = gr.HTML()
        with gr.Column(visible=False) as self.body:
            self._lay_out_choice()
            self._lay_out_picture()
            self._lay_out_images()
            self.table = gr.HTML(elem_id="matches")
            predictions.build(frame, KEY, self.models, [self.left, self.right])
            self.offer, self.offered = own.build(frame)
        self.at, self.page = gr.State(0), gr.State(0)
        self.given = [self.left, self.right, self.by, self.label, self.size, self.score]
        self.shown = [self.slider, self.panes, self.where, self.told, self.table]

    def _lay_out_choice(self) -> None:
        with gr.Row():
            self.left = gr.Dropdown([], label="Left model", elem_id="compare-left", min_width=220)
            self.right = gr.Dropdown([], label="Right model", elem_id="compare-right", min_width=220)
            orders = [(words_, key) for key, words_ in ORDERS.items()]
            self.by = gr.Dropdown(orders, value="differ", label="Show first", elem_id="compare-by", min_width=180)
        with gr.Row():
            self.label = gr.Dropdown(
                [EVERY_CLASS], value=EVERY_CLASS, label="Class", min_width=140, elem_id="compare-class"
            )
            sizes = [(words_, key) for key, words_ in SIZES.items()]
            self.size = gr.Dropdown(sizes, value="all", label="Object size", min_width=140, elem_id="compare-size")
            self.score = gr.Slider(0, 1, SHOWN_SCORE, step=0.05, label="Boxes from (score, 0 to 1)", min_width=220)
            self.how = gr.Radio([_SLIDER, _PANES], value=_SLIDER, label="View", min_width=180, elem_id="compare-view")

    def _lay_out_picture(self) -> None:
        self.key = gr.HTML()
        with gr.Row():
            self.back = gr.Button("← Previous", elem_id="compare-previous", size="sm", scale=0, min_width=120)
            self.on = gr.Button("Next →", elem_id="compare-next", size="sm", scale=0, min_width=120)
            self.where = gr.HTML(elem_id="compare-where")
        self.slider = gr.ImageSlider(
            label="Left | right", elem_id="compare-slider", max_height=640, interactive=False, format=_FORMAT
        )
        self.panes = gr.HTML(elem_id="compare-panes")
        self.told = gr.HTML(elem_id="compare-told")

    def _lay_out_images(self) -> None:
        gr.HTML(markup.section("Images", "Choose one; the pages hold twelve each."))
        self.thumbs = gr.Gallery(
            columns=6,
            rows=2,
            height="auto",
            show_label=False,
            allow_preview=False,
            elem_id="compare-thumbs",
            format=_FORMAT,
        )
        with gr.Row():
            self.earlier = gr.Button("Previous page", size="sm", scale=0, min_width=140)
            self.later = gr.Button("Next page", size="sm", scale=0, min_width=140, elem_id="compare-later")
            self.pages = gr.HTML(elem_id="compare-pages")

    def wire(self, tab: gr.Tab) -> None:
        """Say what happens when."""
        overview = [self.problem, self.thumbs, self.pages, self.page]
        everything = [*overview, self.key, self.label, self.at, *self.shown]
        self.frame.fills(
            tab,
            KEY,
            self.problem,
            self.fill,
            [self.none, self.body, self.left, self.right, *self.offered],
            self._version,
            lambda name: {**self.models(), **self.offer(name, keep=True)},
        )
        filters = (self.by, self.label, self.size, self.score, self.how)
        gr.on(  # one event for all, so that an answer that took long never overwrites a later one
            [self.left.change, self.right.change, *(control.input for control in filters)],
            guarded(self.begin, self.problem),
            [*self.given, self.how],
            everything,
            trigger_mode="always_last",
            show_progress_on=self.where,
            **SHOWN,
        )
        turned = [self.problem, self.at, *self.shown]
        for button, step in ((self.back, -1), (self.on, 1)):
            act = guarded(lambda *asked, step=step: self.turn(step, *asked), self.problem)
            button.click(act, [*self.given, self.how, self.at], turned, show_progress_on=self.where, **SHOWN)
        for button, step in ((self.earlier, -1), (self.later, 1)):
            act = guarded(lambda *asked, step=step: self.leaf(step, *asked), self.problem)
            button.click(act, [*self.given, self.page], overview, show_progress_on=self.pages, **SHOWN)

        def chosen(event: gr.SelectData, *asked: Any) -> Update:
            return guarded(lambda *_: self.choose(event.index, *asked), self.problem)()

        self.thumbs.select(chosen, [*self.given, self.how, self.page], turned, show_progress_on=self.where, **SHOWN)

    def fill(self, name: Any) -> Update:
        """Offer the models that were scored, those of the chosen run first."""
        found = sides.offered(self.frame.settings.workspace)
        if not found:
            todo = "Run one with an 'evaluate' section; two models of it can be compared as soon as they are scored."
            nothing = markup.empty("No model has been scored on test images yet.", todo)
            return {self.none: nothing, self.body: gr.Column(visible=False)}
        scored = [called for called, side in found.items() if not side.on_target] or list(found)
        part = left_out(self.frame.settings.workspace, MOST_OFFERED)
        first, second = _best([called for called in scored if found[called].run.name == name] or scored)
        return {
            self.none: markup.note(f"The models of {part} can be chosen." if part else ""),
            self.body: gr.Column(visible=True),
            self.left: gr.Dropdown(choices=list(found), value=first),
            self.right: gr.Dropdown(choices=list(found), value=second),
            **self.offer(name),
        }

    def models(self) -> Update:
        """Offer what can be a side, and leave what is chosen."""
        found = list(sides.offered(self.frame.settings.workspace))
        return {self.left: gr.Dropdown(choices=found), self.right: gr.Dropdown(choices=found)}

    def _version(self, name: Any) -> str:
        return " ".join(sides.offered(self.frame.settings.workspace))

    def begin(self, *asked: Any) -> Update:
        """Show the first image of another choice."""
        *given, form = asked
        if not given[0] or not given[1]:
            return {}
        pair, view, ranked = self._read(*given)
        return {
            self.key: markup.legend(colours(pair.classes)),
            self.label: gr.Dropdown(choices=[EVERY_CLASS, *pair.classes], value=view.label),
            self.at: 0,
            **self._picture(pair, view, ranked, 0, form, given),
            **self._overview(pair, view, ranked, 0, given[2]),
        }

    def turn(self, step: int, *asked: Any) -> Update:
        """Show the image so many further on."""
        *given, form, now = asked
        pair, view, ranked = self._read(*given)
        after = int(max(0, min(number(now, 0, _MANY, "Image") + step, len(ranked) - 1)))
        return {self.at: after, **self._picture(pair, view, ranked, after, form, given)}

    def leaf(self, step: int, *asked: Any) -> Update:
        """Show the page of small images so many further on."""
        *given, now = asked
        pair, view, ranked = self._read(*given)
        last = max(0, (len(ranked) - 1) // _THUMBS)
        turned = int(max(0, min(number(now, 0, _MANY, "Page") + step, last)))
        return self._overview(pair, view, ranked, turned, given[2])

    def choose(self, place: Any, *asked: Any) -> Update:
        """Show the image that was chosen among the small ones."""
        *given, form, page = asked
        first = int(number(page, 0, _MANY, "Page")) * _THUMBS
        return self.turn(0, *given, form, first + int(number(place, 0, _THUMBS, "Image")))

    def _read(self, *given: Any) -> tuple[Pair, View, np.ndarray]:
        """Return the pair, the view and the order that the page asks for, all of it checked."""
        lack = lack_of_room(self.frame.settings.cache, _ROOM)
        if lack:  # the page's pictures are files
            raise InputError(lack)
        first, second, order, name, wide, least = given
        found = sides.offered(self.frame.settings.workspace)
        pair = comparing.open_pair(*(found[one_of(called, found, "Model")] for called in (first, second)))
        label = name if isinstance(name, str) and name in pair.classes else EVERY_CLASS
        view = View(round(number(least, 0, 1, "Score"), 2), label, one_of(wide, SIZES, "Size"))
        return pair, view, comparing.order(pair, view, one_of(order, ORDERS, "Show first"))

    def _picture(self, pair: Pair, view: View, ranked: Any, index: int, form: Any, given: Any) -> Update:
        if not len(ranked):
            known = "The two agree in every image." if given[2] == "differ" else "No image fits."
            nothing = markup.empty(known, "Choose another order, class or size, or a lower score.")
            hidden = gr.ImageSlider(None, visible=False, format=_FORMAT)
            return {self.slider: hidden, self.panes: nothing, self.where: "", self.told: "", self.table: ""}
        row = int(ranked[min(index, len(ranked) - 1)])
        both, name = comparing.look(pair, row, view), pair.truth.key[row]
        drawn = [drawing.large(pair.root / name, side.boxes, side.missed, pair.classes) for side in both]
        between = form != _PANES
        share = words.percent(float(comparing.counts(pair, view).difference[row]))
        line = f"{index + 1} of {len(ranked)}: <code>{escape(name)}</code>, difference {share}"
        return {
            self.slider: gr.ImageSlider((drawn[0], drawn[1]) if between else None, visible=between, format=_FORMAT),
            self.panes: "" if between else _panes(drawn, both, given, name),
            self.where: f'<p class="how">{line}</p>',
            self.told: _told(both, given, name if between else ""),
            self.table: _matches(both),
        }

    def _overview(self, pair: Pair, view: View, ranked: Any, page: int, by: str) -> Update:
        known = comparing.counts(pair, view)
        shown = ranked[page * _THUMBS :][:_THUMBS]
        items = [
            (drawing.thumb(pair.root / pair.truth.key[int(row)]), words.percent(float(known.difference[row])))
            for row in shown
        ]
        last = max(1, -(-len(ranked) // _THUMBS))
        what = [ORDERS[by], *(part for part in (view.label, SIZES[view.size]) if not part.startswith("all "))]
        line = f"Page {page + 1} of {last}, {words.counted(len(ranked), 'image')}: {escape(', '.join(what))}. "
        line += "The figure is the difference."
        told = f'<p class="how">{line}</p>'
        return {self.thumbs: gr.Gallery(items, selected_index=None, format=_FORMAT), self.pages: told, self.page: page}


def _best(names: list[str]) -> tuple[str, str]:
    """Return the two models that tell most: the student's beginning, and the best student."""

    def called(*ends: str) -> str | None:
        return next((name for end in ends for name in names if name.endswith(f" / {end}")), None)

    first = called("Source-only") or names[0]
    return first, called("Student", "Fine-tuned") or names[-1]


def _panes(drawn: list[Image.Image], both: tuple[Side, Side], given: Any, image: str) -> str:
    cells = "".join(
        f"<figure><figcaption>{escape(str(name))}</figcaption><img src='{drawing.data_uri(picture)}' "
        f'alt="{escape(f"{name}: {drawing.told(side.boxes)}")}"><p>{escape(side.in_words)} '
        f"{markup.save(f'{name} {Path(image).stem}', index)}</p></figure>"
        for index, (name, picture, side) in enumerate(zip(given[:2], drawn, both, strict=True))
    )
    return f'<div class="sides">{cells}</div>'


def _told(both: tuple[Side, Side], given: Any, image: str) -> str:
    """Return what is to be seen in words; the slider's pictures take them as alternative texts (see app.js)."""
    lines = []
    for index, (name, side) in enumerate(zip(given[:2], both, strict=True)):
        button = f" {markup.save(f'{name} {Path(image).stem}', index)}" if image else ""
        lines.append(f'<span class="side"><b>{escape(str(name))}</b>: {escape(side.in_words)}</span>{button}')
    missed = " Dashed black and white: missed." if both[0].judged else ""
    return f'<p class="how" aria-live="polite">{" &nbsp;·&nbsp; ".join(lines)}.{missed}</p>'


def _matches(both: tuple[Side, Side]) -> str:
    rows = [[escape(name), left, right, escape(what)] for name, left, right, what in comparing.matches(both)]
    title = markup.section(
        "Boxes of this image", "Boxes of both sides that are the same (IoU from 0.5) stand in one row."
    )
    table = markup.table(["Class", "Left (score)", "Right (score)", "Is"], rows, numbers=(1, 2))
    return (
        f'{title}<div class="tall" tabindex="0" role="region" aria-label="Boxes of this image">{table}</div>'
        if rows
        else ""
    )
