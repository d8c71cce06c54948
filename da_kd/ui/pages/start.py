"""Page 1, Start: runs with their state, and a new one from a recipe that is checked as it is typed."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from da_kd.errors import DaKdError, InputError
from da_kd.files import whole
from da_kd.pipeline import STAGES
from da_kd.recipe import Recipe, dump_recipe
from da_kd.stages.report import words
from da_kd.ui import markup, processes
from da_kd.ui.access import checked_name, one_of, recipe_file, recipe_files, run_named, typed_recipe, unchanged
from da_kd.ui.frame import HIDDEN, Frame, acts, guarded
from da_kd.ui.pages import form
from da_kd.ui.queries.runs import MOST_LISTED, left_out, recent_runs
from da_kd.ui.settings import Settings
from da_kd.words import age

KEY, TITLE = "start", "Start"
_EDITED = "edited.yaml"
_LAST = "report"
_PATIENCE = 600  # seconds that a check of all files may take


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    settings = frame.settings
    names = list(recipe_files(settings))
    first = "demo-tiny.yaml" if "demo-tiny.yaml" in names else next(iter(names), None)
    gr.HTML(markup.title("Adapt a detector to your cameras", "Choose a run to look at, or start a new one."))
    problem = gr.HTML()
    gr.HTML(markup.section("Runs"))
    runs = gr.HTML(elem_id="runs")
    gr.HTML(
        markup.section("New run", "A recipe says what is adapted to what. Change it here; your file stays as it is.")
    )
    with gr.Row():
        recipe = gr.Dropdown(names, value=first, label="Recipe", elem_id="recipe", allow_custom_value=True)
        name = gr.Textbox(label="Name of the run", elem_id="run-name", max_length=80)
        until = gr.Dropdown(list(STAGES), value=_LAST, label="Run until", elem_id="run-until", min_width=180)
    text = gr.Code(language="yaml", label="Recipe (YAML)", lines=14, max_lines=26, elem_id="recipe-text")
    form.build(frame, recipe, text, name)
    verdict = gr.HTML(elem_id="verdict")
    with gr.Row():
        begin = gr.Button("Start the run", variant="primary", size="md", elem_id="begin")
        deep = gr.Button("Check its files, too", size="md", elem_id="check-deep")
        save = gr.Button("Download the recipe", size="md")
    line = gr.HTML()
    said = gr.HTML(elem_id="begun")
    frame.fills(tab, KEY, problem, lambda _: {runs: _runs(settings)}, [runs])

    def chosen(which: Any) -> dict[Any, Any]:
        if not which:
            return {}  # the form has written its own
        content = recipe_file(settings, which).read_text(encoding="utf-8")
        return {text: content, name: _name_of(settings, content, which)}

    def typed(*given: Any) -> dict[Any, Any]:
        asked = _Asked.read(settings, *given)
        return {verdict: markup.fine(asked.verdict()), line: markup.command(asked.arguments)}

    def start(*given: Any) -> dict[Any, Any]:
        asked = _Asked.read(settings, *given)
        asked.begin()
        told = f"Run '{asked.name}' has started. It goes on by itself, also when this page is closed; page 5 shows how."
        return {said: markup.fine(told), frame.run: asked.name}

    def check(*given: Any) -> dict[Any, Any]:
        return {said: _Asked.read(settings, *given).check_deep()}

    given = [text, recipe, name, until]
    recipe.change(guarded(chosen, verdict), [recipe], [verdict, text, name], **HIDDEN)
    for change in (text.change, name.change, until.change):
        change(guarded(typed, verdict), given, [verdict, line], **HIDDEN)
    acts(begin, "Starting...", start, given, said, [frame.run])
    frame.ends(said, working=True)
    acts(deep, "Opening everything that the recipe names; this takes some seconds...", check, given, said)
    save.click(None, [text, name], None, js="(text, name) => { window.daKdSave(text, name); }")
    if first:
        gr.on(None, guarded(chosen, verdict), [recipe], [verdict, text, name], **HIDDEN)


def _runs(settings: Settings) -> str:
    rows = recent_runs(settings.workspace)
    if not rows:
        return markup.empty("There are no runs yet.", "Choose a recipe below and press 'Start the run'.")
    part = left_out(settings.workspace, MOST_LISTED)
    told = markup.note(f"These are {part}; 'da-kd ls' lists all, and a name can be typed at the top.") if part else ""
    return told + markup.table(
        ["Run", "State", "Stage", "Changed", "Student AP (0 to 1)"],
        [
            (
                f'<a class="action" href="?run={escape(row.name)}">{escape(row.name)}</a>',
                markup.badge(row.state),
                escape(row.stage),
                age(row.changed),
                words.fraction(row.student),
            )
            for row in rows
        ],
        numbers=(4,),
    )


def _name_of(settings: Settings, content: str, which: Any) -> str:
    try:
        return typed_recipe(settings, content, recipe_file(settings, which) if which else None).name
    except DaKdError:
        return ""


class _Asked:
    """A run that somebody asks for: its recipe, checked, and what starts it."""

    def __init__(self, settings: Settings, recipe: Recipe, file: Path | None, name: str, last: str) -> None:
        self.settings, self.recipe, self.file, self.name, self.last = settings, recipe, file, name, last
        self.place = run_named(settings, name)

    @classmethod
    def read(cls, settings: Settings, content: Any, which: Any, called: Any, last: Any) -> _Asked:
        """Return what is asked for.

        Raises:
            InputError: recipe, name or stage are wrong.
        """
        base = recipe_file(settings, which) if which else None
        recipe = typed_recipe(settings, content, base)
        same = base is not None and unchanged(content, base)
        until = one_of(last, STAGES, "Run until")
        return cls(settings, recipe, base if same else None, checked_name(called or recipe.name), until)

    @property
    def _written(self) -> Path:
        return self.file if self.file is not None else self.place.folder / _EDITED

    @property
    def arguments(self) -> list[str]:
        """What follows ``da-kd``."""
        until = [] if self.last == _LAST else ["--until", self.last]
        return ["run", self.settings.short(self._written), "--run", self.settings.called(self.name), *until]

    def verdict(self) -> str:
        """Return that the recipe is fine, and what there is already."""
        known = "; the run is there already and goes on with what is finished" if self.place.exists else ""
        return f"The recipe is fine{known}."

    def begin(self) -> None:
        """Start the run; an edited recipe is kept beside it, with every path written out."""
        if processes.working(self.place):
            raise InputError(f"Run '{self.name}' is being worked on already; stop it first, or give another name.")
        self._keep()
        processes.start(self.place.folder, self.arguments, self.settings.start)

    def check_deep(self) -> str:
        """Open everything the recipe names, in a process of its own; return what it says."""
        import subprocess
        import sys

        self._keep()
        arguments = ["check", self.settings.short(self._written), "--deep"]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "da_kd", *arguments],
                cwd=self.settings.start,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"Expected the check to end within {_PATIENCE // 60} minutes; it did not, and was stopped. "
                f"Run '{processes.command_line(arguments)}' in a terminal."
            ) from error
        good = done.returncode == 0
        shown = markup.fine("Everything the recipe names can be opened.") if good else ""
        told = shown or markup.error(processes.last_error(done.stderr) or done.stderr)
        return told + markup.command(arguments) + (markup.log(done.stderr, "What it told") if good else "")

    def _keep(self) -> None:
        if self.file is None:
            self.place.folder.mkdir(parents=True, exist_ok=True)
            with whole(self._written) as temporary:
                temporary.write_text(dump_recipe(self.recipe), encoding="utf-8")
