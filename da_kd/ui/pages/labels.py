"""Page 3, Teachers and labels: scores by class with thresholds to move, and boxes that follow at once."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from da_kd.detections import DetectionTable, State
from da_kd.errors import InputError
from da_kd.palette import colours
from da_kd.pipeline import Run
from da_kd.stages.fuse.guard import Verdict
from da_kd.stages.report import words
from da_kd.stages.report.figures import as_plotly
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run, number, one_of
from da_kd.ui.audited import measured_by
from da_kd.ui.frame import HIDDEN, SHOWN, Frame, acts, guarded
from da_kd.ui.queries import drawing, labels, reviewing
from da_kd.ui.queries.labels import Merging, Preview
from da_kd.ui.queries.runs import outputs, shown_of
from da_kd.ui.queries.sets import inputs_of, recipe_of

KEY, TITLE = "labels", "Labels"
_PICTURES = 6
_FURTHEST = 1_000_000
_METHODS = {
    "wbf": "weighted mean (wbf)",
    "nms": "best box (nms)",
    "soft_nms": "others weaker (soft_nms)",
    "nmm": "box around all (nmm)",
}
_STEP = 0.01

Update = dict[Any, Any]


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    _Page(frame).wire(tab)


class _Asked(NamedTuple):
    """What the page asks for, checked: the run, its thresholds and merging, the class and the page of pictures."""

    run: Run
    cuts: dict[str, tuple[float, float]]
    merging: Merging
    label: str
    page: int


class _Page:
    """The page's components, and what they do. ``given`` is what a preview depends on."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        lead = "Teachers label the target; thresholds say which boxes a student learns."
        gr.HTML(markup.title("Teachers and labels", lead))
        self.problem = gr.HTML(elem_id="labels-problem")
        self.head = gr.HTML(elem_id="labels-head")
        with gr.Row():
            self.make = gr.Button(
                "Make the labels", variant="primary", elem_id="make-labels", size="md", scale=0, min_width=180
            )
            self.use = gr.Button("Use these thresholds", elem_id="use-thresholds", size="md", scale=0, min_width=200)
        self.line, self.said = gr.HTML(elem_id="labels-line"), gr.HTML(elem_id="labels-said")
        with gr.Column(visible=False) as self.body:
            self._lay_out_thresholds()
            self._lay_out_preview()
            self.teachers, self.guard = gr.HTML(elem_id="label-teachers"), gr.HTML(elem_id="guard")
            self.truth = gr.HTML(elem_id="label-truth")
        self.cuts, self.page = gr.State({}), gr.State(0)
        self.given = [frame.run, self.cuts, self.method, self.iou, self.label, self.page]

    def _lay_out_thresholds(self) -> None:
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self.label = gr.Dropdown([], label="Class", elem_id="label-class")
                self.keep = gr.Slider(0, 1, 0.5, step=_STEP, label="Keep from (score, 0 to 1)", elem_id="keep")
                self.drop = gr.Slider(0, 1, 0.1, step=_STEP, label="Drop below (score, 0 to 1)", elem_id="drop")
                self.method = gr.Dropdown(
                    [(name, key) for key, name in _METHODS.items()],
                    value="wbf",
                    label="Merging of boxes",
                    elem_id="method",
                )
                self.iou = gr.Slider(0.1, 0.95, 0.55, step=0.05, label="One object from (IoU, 0 to 1)", elem_id="iou")
            with gr.Column(scale=2, min_width=380):
                self.plot = gr.Plot(label="Boxes by score (0 to 1)", elem_id="histogram")
                self.counts = gr.HTML(elem_id="label-counts")

    def _lay_out_preview(self) -> None:
        how = "Solid frames are learned from; dashed ones are uncertain and not trained on."
        gr.HTML(markup.section("Preview", how))
        self.key, self.pictures = gr.HTML(), gr.HTML(elem_id="label-pictures")
        with gr.Row():
            self.back = gr.Button("Previous images", size="sm", scale=0, min_width=150)
            self.on = gr.Button("Next images", size="sm", scale=0, min_width=150, elem_id="label-next")

    def wire(self, tab: gr.Tab) -> None:
        """Say what happens when."""
        drawn = [self.plot, self.counts, self.pictures, self.guard, self.line]
        sliders = [self.keep, self.drop]
        chosen = [self.label, *sliders, self.method, self.iou, self.cuts, self.page]
        told = [self.head, self.use, self.body, self.key, self.teachers, self.truth]
        self.frame.fills(tab, KEY, self.problem, self.fill, [*told, *chosen, *drawn], self._version)
        moved = guarded(self.moved, self.problem)
        for control in (*sliders, self.method, self.iou):
            control.input(
                moved,
                [*self.given, *sliders],
                [self.problem, *drawn, self.cuts],
                trigger_mode="always_last",
                show_progress_on=self.counts,
                **SHOWN,
            )
        other = guarded(self.other_class, self.problem)
        self.label.input(other, self.given, [self.problem, *sliders, self.plot], **HIDDEN)
        for button, step in ((self.back, -1), (self.on, 1)):
            turn = guarded(lambda *asked, step=step: self.turn(step, *asked), self.problem)
            button.click(
                turn, self.given, [self.problem, self.page, self.pictures], show_progress_on=self.pictures, **SHOWN
            )
        acts(self.make, "Starting...", self.begin, [self.frame.run], self.said)
        acts(self.use, "Starting...", self.apply, self.given, self.said)
        self.frame.ends(self.said, working=True)

    def fill(self, name: Any) -> Update:
        """Show the labels as they are."""
        run = self.frame.chosen(name)
        if not run.exists or "fuse" not in outputs(run):
            todo = "Press 'Make the labels', or wait for the run: this page fills by itself."
            nothing = markup.empty("This run has no pseudo labels yet.", todo)
            line = markup.command(self._making(run), "Make the labels")
            hidden = {self.use: gr.Button(visible=False), self.body: gr.Column(visible=False)}
            return {self.head: nothing, **hidden, self.line: line}
        recipe, merging, cuts, table = recipe_of(run), labels.merging_of(run), labels.cuts_of(run), labels.fused(run)
        first = recipe.classes[0]
        asked = _Asked(run, cuts, merging, first, 0)
        return {
            self.head: _head(table),
            self.use: gr.Button(visible=True),
            self.body: gr.Column(visible=True),
            self.label: gr.Dropdown(choices=list(recipe.classes), value=first),
            self.keep: cuts[first][0],
            self.drop: cuts[first][1],
            self.method: merging.method,
            self.iou: merging.iou,
            self.key: markup.legend(colours(recipe.classes)),
            self.cuts: {label: list(pair) for label, pair in cuts.items()},
            self.teachers: _teachers(table),
            self.truth: _truth(run),
            self.page: 0,
            **self._draw(asked),
        }

    def _version(self, name: Any) -> str:
        return shown_of(existing_run(self.frame.settings, name), "fuse", "audit")

    def moved(self, *asked: Any) -> Update:
        """Follow a threshold or the merging."""
        *given, keep, drop = asked
        now = self._read(*given)
        now.cuts[now.label] = (number(keep, 0, 1, "Keep from"), number(drop, 0, 1, "Drop below"))
        return {self.cuts: {label: list(pair) for label, pair in now.cuts.items()}, **self._draw(now)}

    def other_class(self, *given: Any) -> Update:
        """Show the thresholds and scores of another class."""
        now = self._read(*given)
        shown = labels.preview(now.run, now.cuts, now.merging)
        keep, drop = now.cuts[now.label]
        chart = labels.histogram(shown.table, now.label, now.cuts)
        return {self.keep: keep, self.drop: drop, self.plot: as_plotly(chart)}

    def turn(self, step: int, *given: Any) -> Update:
        """Show the images before or after these."""
        now = self._read(*given)
        shown = labels.preview(now.run, now.cuts, now.merging)
        last = max(0, (int(shown.table.ok.sum()) - 1) // _PICTURES)
        now = now._replace(page=max(0, min(now.page + step, last)))
        return {self.page: now.page, self.pictures: _pictures(now, shown)}

    def begin(self, name: Any) -> Update:
        """Run everything up to the labels."""
        run = existing_run(self.frame.settings, name)
        self._start(run, self._making(run))
        return {self.said: markup.fine("Started: teach, predict and fuse. The line at the top shows how it gets on.")}

    def apply(self, *given: Any) -> Update:
        """Make the labels anew with the thresholds of the page."""
        now = self._read(*given)
        if not labels.changes(now.run, now.cuts, now.merging):
            return {self.said: markup.note("These are the thresholds that the run has; move one first.")}
        labels.with_cuts(recipe_of(now.run).fuse, now.cuts)
        self._start(now.run, self._applying(now))
        told = "The labels are made anew, without running a teacher. 'Go on' on page 5 trains on them."
        return {self.said: markup.fine(told)}

    def _start(self, run: Run, arguments: list[str]) -> None:
        if processes.working(run):
            raise InputError("This run is being worked on; wait for it, or press 'Stop' first.")
        processes.start(run.folder, arguments, self.frame.settings.start)

    def _making(self, run: Run) -> list[str]:
        return ["resume", self.frame.settings.called(run.name), "--until", "fuse"]

    def _applying(self, now: _Asked) -> list[str]:
        settings, changed = self.frame.settings, labels.changes(now.run, now.cuts, now.merging)
        recipe = settings.short(now.run.folder / "recipe.yaml")
        return ["run", recipe, "--run", settings.called(now.run.name), *changed, "--until", "fuse"]

    def _draw(self, now: _Asked) -> Update:
        shown = labels.preview(now.run, now.cuts, now.merging)
        lines = markup.command(self._making(now.run), "Make the labels")
        lines += markup.command(self._applying(now), "Use these thresholds")
        return {
            self.plot: as_plotly(labels.histogram(shown.table, now.label, now.cuts)),
            self.counts: _counts(shown),
            self.pictures: _pictures(now, shown),
            self.guard: _guard(shown.verdict),
            self.line: lines,
        }

    def _read(self, name: Any, cuts: Any, method: Any, iou: Any, label: Any, page: Any) -> _Asked:
        """Return what the page asks for.

        Raises:
            InputError: something of it cannot be.
        """
        run = existing_run(self.frame.settings, name)
        classes = recipe_of(run).classes
        merging = Merging(one_of(method, _METHODS, "Merging"), round(number(iou, 0.05, 1, "IoU"), 3))
        wanted = {item: _pair(cuts, item, run) for item in classes}
        turn = int(number(page, 0, _FURTHEST, "Page"))
        return _Asked(run, wanted, merging, one_of(label, classes, "Class"), turn)


def _pair(given: Any, name: str, run: Run) -> tuple[float, float]:
    """Return the thresholds of a class as the page holds them, checked; its own where it holds none."""
    pair = given.get(name) if isinstance(given, dict) else None
    if not isinstance(pair, list | tuple) or len(pair) != 2:  # noqa: PLR2004
        return labels.cuts_of(run)[name]
    return number(pair[0], 0, 1, "Keep from"), number(pair[1], 0, 1, "Drop below")


def _head(table: DetectionTable) -> str:
    rows = labels.counts(table)
    kept, unsure = sum(row[1] for row in rows), sum(row[2] for row in rows)
    images = int(table.ok.sum())
    tiles = [
        ("Target images", words.count(images), "that can be read"),
        ("Kept boxes", words.count(kept), f"{kept / images:.1f} an image" if images else ""),
        ("Uncertain boxes", words.count(unsure), "not trained on, neither as object nor as background"),
        ("Teachers", str(len(table.teachers)), ", ".join(table.teachers)),
    ]
    return markup.tiles(tiles)


def _counts(shown: Preview) -> str:
    rows = [[escape(name), *(words.count(value) for value in values)] for name, *values in labels.counts(shown.table)]
    heads = ["Class", "Kept (boxes)", "Uncertain (boxes)", "Dropped (boxes)"]
    some = f"Of {words.count(len(shown.rows))} of {words.count(shown.of)} target images, evenly spread over the set."
    return markup.table(heads, rows, numbers=(1, 2, 3), caption=some if len(shown.rows) < shown.of else "")


def _pictures(now: _Asked, shown: Preview) -> str:
    """Return the images of a page with their boxes as these settings would make them."""
    target, classes = inputs_of(now.run).get("target"), recipe_of(now.run).classes
    table, good = shown.table, np.flatnonzero(shown.table.ok)
    return markup.pictures(
        drawing.labelled(target.path(int(shown.rows[row])), table.at(row), table.at(row, (State.UNCERTAIN,)), classes)
        for row in good[now.page * _PICTURES :][:_PICTURES].tolist()
    )


def _teachers(table: DetectionTable) -> str:
    rows = [
        [escape(name), words.count(seen), words.percent(share), words.percent(shared)]
        for name, seen, share, shared in labels.agreement(table)
    ]
    heads = ["Teacher", "Kept boxes it saw", "Share of all kept boxes", "of these, seen by another as well"]
    title = markup.section("Agreement between teachers", "A box that several teachers saw is more often right.")
    alone = markup.note("There is one teacher; with a second one, this says how often the two agree.")
    return title + markup.table(heads, rows, numbers=(1, 2, 3)) + (alone if len(rows) == 1 else "")


def _guard(found: Verdict | None) -> str:
    how = "Do the labels look like what the same teachers say at home? No target label is used."
    title = markup.section("The guard", how)
    if found is None:
        return title + markup.note("The guard does not look at these labels (recipe key fuse.guard.mode).")
    broken = found.verdict == "broken"
    line = markup.error(f"These labels look broken: {'; '.join(found.reasons)}.") if broken else ""
    if not broken and found.compared_with is None:
        line = markup.note("There are fewer than ten labelled source images to compare with; no class can be judged.")
    line = line or markup.fine("The set as a whole looks fine.")
    rows = []
    for item in found.classes:
        ends = [words.UNDEFINED if end is None else f"{end:.1f}" for end in (item.rate.source, item.rate.target)]
        fate = f"{item.verdict}, not trained on" if item.name in found.demoted else item.verdict
        rows.append([escape(item.name), escape(fate), *ends, escape(item.reason)])
    heads = ["Class", "Verdict", "Kept boxes an image, at home", "on the target", "Why"]
    return title + line + markup.table(heads, rows, numbers=(2, 3))


def _truth(run: Run) -> str:
    """Return how right the labels are, where labels or an audit of the target say."""
    known = reviewing.audit(run)
    audit = measured_by(known) if known.get("classes") else ""
    images, found = labels.quality(run, labels.fused(run))
    if not found:
        return audit
    some = next(iter(found.values()))
    heads = ["Class", *(f"from {threshold:.2f}" for threshold, _, _ in some)]
    rows = [
        [escape(name), *(f"{words.percent(precision)} / {words.percent(recall)}" for _, precision, recall in line)]
        for name, line in found.items()
    ]
    how = f"Precision / recall at IoU 0.5 on {images} labelled target images. To look at: nothing is chosen by it."
    return markup.section("Against the truth", how) + markup.table(heads, rows, numbers=range(1, len(heads))) + audit
