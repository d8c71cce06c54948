"""Page 4, Review: the pseudo labels in front of a person in FiftyOne, what is most worth a look, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from da_kd.errors import InputError
from da_kd.pipeline import Run
from da_kd.stages.report import words
from da_kd.ui import markup, processes
from da_kd.ui.access import existing_run
from da_kd.ui.audited import measured_by, standing_by
from da_kd.ui.frame import Frame, acts
from da_kd.ui.queries import drawing, reviewing
from da_kd.ui.queries.extents import part_in_review
from da_kd.ui.queries.reviewing import Session
from da_kd.ui.queries.runs import shown_of
from da_kd.ui.queries.sets import inputs_of, recipe_of

KEY, TITLE = "review", "Review"
_FIRST = 6  # images of the queue that are shown
_DECISIONS = ("accepted", "rejected", "relabelled", "moved", "added")


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    gr.HTML(markup.title("Review", "A person corrects what is worth most, in FiftyOne. Every click there is kept."))
    problem, lost = gr.HTML(), gr.HTML()  # the page cannot be filled; cannot be followed any more
    head = gr.HTML(elem_id="review-head")
    with gr.Row():
        ask = gr.Button("Let a person review", elem_id="ask-person", size="md", scale=0, min_width=190)
        launch = gr.Button(
            "Open FiftyOne", variant="primary", elem_id="open-fiftyone", size="md", scale=0, min_width=190
        )
        close = gr.Button("Close FiftyOne", elem_id="close-fiftyone", size="md", scale=0, min_width=150)
        back = gr.Button("Take it back and go on", elem_id="take-back", size="md", scale=0, min_width=210)
    line, said = gr.HTML(), gr.HTML(elem_id="review-said")
    place = gr.HTML(elem_id="fiftyone")
    embed = gr.Checkbox(label="Show FiftyOne in this page", value=False)
    inside = gr.HTML()
    queue, measured = gr.HTML(elem_id="queue"), gr.HTML(elem_id="audit")

    def fill(name: Any) -> dict[Any, Any]:
        run = frame.chosen(name)
        shown = {place: _place(reviewing.session(run)) + live(run), **can(run, reviewing.session(run))}
        if not run.exists or not reviewing.ready(run):
            todo = "Make the labels on page 3 first, or wait for the run."
            return {**shown, head: markup.empty("There is nothing to review yet.", todo), queue: "", measured: ""}
        review = recipe_of(run).review
        drawn = review.audit.images if review.mode == "human" else 0
        return {**shown, **decisions(run), measured: measured_by(reviewing.audit(run), drawn)}

    def can(run: Run, now: Session) -> dict[Any, Any]:
        """Show the buttons that do something now, and their command lines."""
        made, opened = run.exists and reviewing.ready(run), now.state != "closed"
        asked = run.exists and recipe_of(run).review.mode == "human"
        buttons = {ask: not asked, launch: made and not opened, close: opened, back: made and asked, embed: made}
        commands = {
            ask: ("Let a person review", _asking(frame, run)),
            launch: ("Open FiftyOne", ["review", frame.settings.called(run.name)]),
            back: ("Take it back and go on", ["resume", frame.settings.called(run.name)]),
        }
        lines = [markup.command(typed, name) for button, (name, typed) in commands.items() if buttons[button]]
        return {button: gr.update(visible=seen) for button, seen in buttons.items()} | {line: "".join(lines)}

    def look(run: Run, wanted: Any) -> tuple[str, Callable[[], dict[Any, Any]]]:
        now = reviewing.session(run)
        framed = (
            f'<iframe class="frame" title="FiftyOne" src="{escape(now.url)}"></iframe>' if wanted and now.url else ""
        )
        stamp = f"{run.name} {now.state} {now.url} {bool(wanted)} {reviewing.version(run)} {reviewing.looked(run)}"
        return stamp, lambda: {place: _place(now) + live(run), inside: framed, **can(run, now), **decisions(run)}

    def live(run: Run) -> str:
        return standing_by(reviewing.now(run)) if run.exists else ""

    def decisions(run: Run) -> dict[Any, Any]:
        return {head: _head(run), queue: _queue(run)} if run.exists and reviewing.ready(run) else {}

    def version(name: Any) -> str:
        run = existing_run(frame.settings, name)
        return f"{shown_of(run, 'fuse', 'review', 'audit')} {reviewing.version(run)}"

    buttons = [ask, launch, close, back, embed, line]
    frame.fills(tab, KEY, problem, fill, [head, place, queue, measured, *buttons], version)
    for button, busy, act in (
        (launch, "Starting FiftyOne...", _open_app),
        (close, "Closing FiftyOne...", _close_app),
        (ask, "Asking for a person...", _ask_person),
        (back, "Taking back what was decided...", _take_back),
    ):
        acts(button, busy, lambda name, act=act: {said: act(frame, name)}, [frame.run], said)
    frame.ends(said, working=True)
    frame.follows(KEY, lost, look, [head, place, inside, queue, *buttons], [embed])


def _open_app(frame: Frame, name: Any) -> str:
    run = existing_run(frame.settings, name)
    if not reviewing.ready(run):
        raise InputError("There are no pseudo labels to review yet; make them on page 3.")
    port = str(reviewing.free_port())
    processes.start(
        run.folder, ["review", frame.settings.called(run.name), "--port", port], frame.settings.start, "review"
    )
    return ""  # the line below follows it


def _close_app(frame: Frame, name: Any) -> str:
    last = processes.launched(existing_run(frame.settings, name).folder, "review")
    if last is None or not last.alive:
        raise InputError("FiftyOne is not open.")
    processes.end(last, 20.0)
    return markup.note("FiftyOne is closed. Everything that was clicked there is kept.")


def _ask_person(frame: Frame, name: Any) -> str:
    run = existing_run(frame.settings, name)
    _refuse_busy(run)
    processes.start(run.folder, _asking(frame, run), frame.settings.start)
    return markup.note("The run pauses as soon as its labels lie ready; then open FiftyOne.")


def _take_back(frame: Frame, name: Any) -> str:
    run = existing_run(frame.settings, name)
    _refuse_busy(run)
    last = processes.launched(run.folder, "review")
    if last is not None and last.alive:
        processes.end(last, 20.0)
    processes.start(run.folder, ["resume", frame.settings.called(run.name)], frame.settings.start)
    return markup.fine("What was decided is taken back, and the run goes on.")


def _refuse_busy(run: Run) -> None:
    if processes.working(run):
        raise InputError("This run is being worked on; wait for it, or press 'Stop' first.")


def _asking(frame: Frame, run: Run) -> list[str]:
    recipe = frame.settings.short(run.folder / "recipe.yaml")
    return ["run", recipe, "--run", frame.settings.called(run.name), "--set", "review.mode=human"]


def _head(run: Run) -> str:
    mode = recipe_of(run).review.mode
    modes = {
        "human": "This run pauses for a person: open FiftyOne, correct, then take it back.",
        "auto": "A rule accepts labels in this run; a person can look, but nothing they do is taken. "
        "'Let a person review' changes that.",
        "skip": "This run goes on without review. 'Let a person review' changes that.",
    }
    known, images = reviewing.decided(run), len(reviewing.queue(run)[0])
    tiles = [(name.capitalize(), words.count(known[name]), "boxes") for name in _DECISIONS]
    tiles.append(("Complete", words.count(known["complete"]), f"of {words.count(images)} images"))
    return markup.note(modes.get(mode, f"Review mode: {mode}.")) + markup.tiles(tiles)


def _place(now: Session) -> str:
    if now.state == "open":
        tunnel = markup.typed(now.tunnel) if now.tunnel else ""
        far = '<p class="how">From another machine, open this tunnel first, then the same link:</p>' if tunnel else ""
        link = f'<a class="action" href="{escape(now.url)}" target="_blank" rel="noopener">Open FiftyOne</a>'
        how = "What you do there is stored at once, and counted below; 'Take it back' brings it into the run."
        return f'<p class="actions">{link}</p><p class="how">{how}</p>{far}{tunnel}'
    if now.state == "starting":
        told = "FiftyOne is starting; this takes about 20 seconds. The link appears here."
        return markup.note(told) + markup.log(now.log)
    failed = processes.last_error(now.log)
    return markup.error(failed) + (markup.log(now.log) if failed else "")


def _queue(run: Run) -> str:
    table, found = reviewing.queue(run)
    root, classes = inputs_of(run).get("target").root, recipe_of(run).classes
    doubtful = [int(index) for index in found.order if found.why[int(index)]]
    order = "Where a correction changes most, by what was taken back. FiftyOne also puts images that look alike last."
    title = markup.section("Most worth a look", order)
    if not doubtful:
        return title + markup.fine("Nothing is doubtful: every image is decided or sure.")
    made = []
    for index in doubtful[:_FIRST]:
        unsure = table.at(index, (drawing.State.UNCERTAIN,))
        source, alt, caption = drawing.labelled(root / table.key[index], table.at(index), unsure, classes)
        made.append((source, alt, f"{caption}; {found.why[index]}"))
    tiles = markup.tiles([("In the queue", words.count(len(doubtful)), f"of {words.count(len(table))} images")])
    part = part_in_review(run)
    return title + tiles + (markup.note(part) if part else "") + f'<div class="threes">{markup.pictures(made)}</div>'
