"""What all pages share: the chosen run, which page is open, and how a page is filled and how it says what is wrong."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from da_kd.errors import DaKdError, InputError, RecipeError
from da_kd.pipeline import Run
from da_kd.ui import markup
from da_kd.ui.access import existing_run
from da_kd.ui.settings import Settings

Fill = Callable[..., dict[Any, Any]]
Look = Callable[..., tuple[str, Callable[[], dict[Any, Any]]]]
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
SHOWN: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_TICK = 2.0  # seconds between two looks at what a page follows
_FAILED = "! "  # before what was wrong at the last look


class NoRunError(InputError):
    """No run is chosen, so that a page has nothing to show."""


@dataclass
class Frame:
    """The frame around the pages.

    Attributes:
        settings: what the operator decided.
        run: the name of the chosen run.
        active: the key of the page that is open.
        stamp: the chosen run's name, how it stands, and what changes when it got on, with spaces between.
        listed: changes when the list of runs, or the state of one, did.
    """

    settings: Settings
    run: gr.Dropdown
    active: gr.State
    stamp: gr.State
    listed: gr.State

    def chosen(self, name: Any) -> Run:
        """Return the chosen run.

        Raises:
            NoRunError: no run is chosen.
            InputError: there is none of that name (any more).
        """
        if not name:
            raise NoRunError("No run is chosen.")
        return existing_run(self.settings, name)

    def fills(
        self,
        tab: gr.Tab,
        key: str,
        place: gr.HTML,
        fill: Fill,
        outputs: Sequence[Any],
        version: Callable[[Any], str] | None = None,
        renew: Fill | None = None,
    ) -> None:
        """Fill a page by ``fill(run)`` when it is opened, another run is chosen, or the run got on.

        Args:
            tab: the page.
            key: what it is called.
            place: where a message about what is wrong with it goes; the rest of the page is hidden then.
            fill: returns new values by component; those it leaves out stay.
            outputs: the components it may set.
            version: for a page that people change things on: what of a run it shows; while that is the same, the page
                stays as they left it.
            renew: takes the place of ``fill`` where the page has shown something of the same run, and leaves what
                people chose.
        """
        place.value = markup.note("Reading...")  # until the page is filled for the first time
        seen = gr.State("")

        def shown(run: Any, before: Any) -> dict[Any, Any]:
            now = f"{run} {version(run)}" if version is not None and run else ""
            if now and now == before:
                return {place: gr.skip()}
            earlier, _, had = str(before).partition(" ")
            act = renew if renew is not None and had and earlier == run else fill
            return {seen: now, **act(run)}

        def safe(run: Any, before: Any) -> dict[Any, Any]:
            try:
                return {place: "", **shown(run, before)}
            except (DaKdError, OSError) as error:
                return {place: markup.alone(told(error)), seen: ""}  # whatever comes next is filled anew

        def opened(run: Any, before: Any) -> dict[Any, Any]:
            return {self.active: key, **safe(run, before)}

        def changed(active: Any, run: Any, before: Any) -> dict[Any, Any]:
            return safe(run, before) if active == key else {place: gr.skip()}

        everything = [place, seen, *outputs]
        tab.select(opened, [self.run, seen], [self.active, *everything], **HIDDEN)
        for change in (self.run.change, self.stamp.change, self.listed.change):
            change(changed, [self.active, self.run, seen], everything, **HIDDEN)

    def ends(self, place: gr.HTML, working: bool) -> None:
        """Take a message away once it is over: when the chosen run no longer works, or no longer rests.

        Args:
            place: where it stands.
            working: whether it speaks of a run that works.
        """

        def still(stamp: Any, run: Any) -> Any:
            name, *how = str(stamp).split(" ")
            if name != (run or ""):
                return gr.skip()  # a look at the run that was chosen before, which came late
            return "" if (how[:1] in (["running"], ["starting"])) != working else gr.skip()

        self.stamp.change(still, [self.stamp, self.run], [place], **HIDDEN)

    def follows(self, key: str, place: gr.HTML, look: Look, outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> None:
        """Look at the chosen run every two seconds while a page is open; what did not change is left alone.

        Args:
            key: what the page is called.
            place: where a message about what is wrong goes.
            look: called with the run and the values of ``inputs``; returns what changes when there is something new to
                show, and what then gives new values by component.
            outputs: the components it may set.
            inputs: further components that it goes by.
        """
        seen = gr.State("")

        def tick(active: Any, name: Any, before: Any, *given: Any) -> dict[Any, Any]:
            if active != key or not name:
                return {seen: gr.skip()}
            run: Run = existing_run(self.settings, name)
            now, show = look(run, *given)
            if now == before:
                return {seen: gr.skip()}
            mended = str(before).startswith(_FAILED)  # a message of its own; those of others stay
            return {place: "" if mended else gr.skip(), seen: now, **show()}

        def safe(active: Any, name: Any, before: Any, *given: Any) -> dict[Any, Any]:
            try:
                return tick(active, name, before, *given)
            except (DaKdError, OSError) as error:
                now = f"{_FAILED}{words_of(error)}"
                told = {place: markup.error(words_of(error))} if now != before else {}
                return {seen: now, **told}

        everything = dict.fromkeys([place, seen, *outputs])
        gr.Timer(_TICK).tick(safe, [self.active, self.run, seen, *inputs], list(everything), **HIDDEN)


def guarded(act: Fill, place: gr.HTML) -> Fill:
    """Return a handler that tells at ``place`` what is wrong, instead of failing."""

    def safe(*given: Any) -> dict[Any, Any]:
        try:
            return {place: "", **act(*given)}
        except (DaKdError, OSError) as error:
            return {place: told(error)}

    return safe


def acts(
    button: gr.Button, busy: str, act: Fill, inputs: Sequence[Any], place: gr.HTML, outputs: Sequence[Any] = ()
) -> None:
    """Run ``act`` when a button is pressed; until it is done, ``place`` says what is being done.

    The browser says so by itself, so that every click is answered at once, however long the answer takes.
    """
    button.click(None, None, [place], js=f"() => {json.dumps(markup.note(busy))}", **HIDDEN)
    button.click(guarded(act, place), list(inputs), list(dict.fromkeys([place, *outputs])), **HIDDEN)


def told(error: Exception) -> str:
    """Return what is wrong as HTML: a mistake, or that nothing is chosen yet."""
    if isinstance(error, NoRunError):
        return markup.empty("No run is chosen.", "Choose one at the top, or start one on page 1.")
    return markup.error(words_of(error))


def words_of(error: Exception) -> str:
    """Return an error as a sentence, mistakes of a recipe one a line."""
    if isinstance(error, RecipeError):
        return "\n".join([f"The recipe has {len(error.problems)} mistake(s):", *error.problems])
    if isinstance(error, OSError) and not isinstance(error, DaKdError):
        where = f": {error.filename}" if error.filename else ""
        remedy = "Check the rights of the folder, then press the button again."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free some space ('da-kd gc' lists what no run needs), then press the button again."
        return f"The file could not be written or read ({error.strerror or error}{where}). {remedy}"
    return str(error)
