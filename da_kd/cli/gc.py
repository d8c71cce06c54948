"""``da-kd gc``: outputs in the store that no run refers to any more, listed, and removed when asked.

A run refers to the steps in its ``run.json``, to the rendered sets that its recipe asks for, and to every set of
damaged copies of the kinds that it asks for; where either file is lost, nobody can say what it refers to, and
everything stays. Frames of videos and the scan cache are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from da_kd.cli.options import Workspace
from da_kd.cli.words import WORKSPACE, age, count, size
from da_kd.errors import Busy, DaKdError, InputError

if TYPE_CHECKING:
    from da_kd.pipeline import Run, RunState
    from da_kd.recipe import Recipe
    from da_kd.store import Store

_CACHES = ("frames",)  # folders of the store that are no stage's
_RECORDS = ("run.json", "recipe.yaml")  # files of a run that say what it refers to
_LATEST = 1 << 20  # bytes at the end of a run's events that are looked at


@dataclass(frozen=True)
class _Unused:
    """A folder that nobody needs: where it is, its bytes, and when it was made."""

    folder: Path
    bytes: int
    made: float


def gc(
    workspace: Workspace = WORKSPACE,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; without it they are only listed.")] = False,
) -> None:
    """List or remove outputs that no run refers to.

    Unfinished ones are included. What a run at work needs is never touched.
    """
    from da_kd.cli.terminal import new_table, say, show
    from da_kd.store import Store

    if not workspace.is_dir():
        raise InputError(f"Expected a workspace at {workspace}; there is none; name the folder that holds runs.")
    store = Store(workspace.resolve())
    there = [folder for folder in store.everything() if folder.parent.name not in _CACHES]
    needed = _needed(workspace, strict=delete)  # asked after the list was made: what began since is not in the list
    unused = [_measured(folder) for folder in there if not needed.covers(folder)]
    for note in needed.notes:
        say(note)
    if not there:
        say(f"Nothing to remove: there is no output in {store.root}.")
        return
    if not unused:
        why = "nobody can say that no run refers to one" if needed.all else "a run refers to each"
        say(f"Nothing to remove: {why} of the {count(len(there), 'output')} in {store.root}.")
        return
    table = new_table("output", "size", "made", right=("size",))
    for item in unused:
        table.add_row(str(item.folder.relative_to(store.root)), size(item.bytes), age(item.made))
    show(table)
    total = f"{count(len(unused), 'output')}, {size(sum(item.bytes for item in unused))}"
    if not delete:
        say(f"{total} in {store.root} that no run refers to. 'da-kd gc {workspace} --delete' removes them.")
        return
    stay = [item for item in unused if not _removed(store, item.folder, workspace)]
    for item in stay:
        say(f"{item.folder.relative_to(store.root)} stays: somebody makes it or needs it by now.")
    gone = f"{count(len(unused) - len(stay), 'output')}, {size(sum(item.bytes for item in unused if item not in stay))}"
    say(f"Removed {gone}.")


def _removed(store: Store, folder: Path, workspace: Path) -> bool:
    """Remove an output unless somebody makes or needs it by now; say whether it is gone."""
    try:
        return store.remove(folder, lambda: _needed(workspace, strict=True).names(folder))
    except Busy:
        return False


class _Needed:
    """What must stay."""

    def __init__(self) -> None:
        self.prints: set[str] = set()
        self.damaged: list[Mapping[str, Any]] = []
        self.notes: list[str] = []
        self.all = False

    def covers(self, folder: Path) -> bool:
        """Return whether a folder of the store must stay: a run refers to it, or somebody is making it right now."""
        from da_kd.store import holder

        return self.names(folder) or holder(folder.with_name(f"{_print(folder)}.lock")) is not None

    def names(self, folder: Path) -> bool:
        """Return whether a run refers to a folder of the store."""
        damaged = folder.parent.name == "data" and self._is_damaged(folder)
        return self.all or damaged or _print(folder) in self.prints

    def _is_damaged(self, folder: Path) -> bool:
        """Return whether copies are damaged as a run asks for; of which images is known only once these are read."""
        try:
            parts = json.loads((folder / "output.json").read_text(encoding="utf-8"))["parts"]
        except (OSError, ValueError, KeyError):
            return False
        return any(wanted.items() <= parts.items() for wanted in self.damaged)


def _print(folder: Path) -> str:
    return folder.name.removesuffix(".partial")


def _needed(workspace: Path, strict: bool) -> _Needed:
    """Return what the runs of a workspace refer to.

    Raises:
        Busy: with ``strict``, a run is only just beginning, so that nobody can say yet what it will refer to.
        InputError: with ``strict``, a file of a run that says what it refers to is missing or cannot be read.
    """
    from da_kd.pipeline import Run

    needed = _Needed()
    for folder in sorted({path.parent for name in _RECORDS for path in workspace.glob(f"*/{name}")}):
        run = Run(folder)
        if strict and run.pid() is not None and not (run.exists and _under_way(run)):
            raise Busy(f"Run '{run.name}' is only just beginning; try again in a moment.")
        try:
            state, recipe = _records(run)
        except InputError as error:
            if strict:
                raise
            needed.all = True
            needed.notes.append(f"{error} Until then every output stays.")
            continue
        needed.prints.update(str(record["fingerprint"]) for record in state.steps.values())
        _add_data(recipe, needed)
    return needed


def _records(run: Run) -> tuple[RunState, Recipe]:
    """Return what says which outputs a run refers to.

    Raises:
        InputError: a part of it is missing or cannot be read.
    """
    try:
        for name in _RECORDS:
            if not (run.folder / name).is_file():
                raise InputError(f"it has no {name}.")
        state, recipe = run.state(), run.recipe()
        if not state.steps and state.state != "running" and _has_worked(run):
            raise InputError("its run.json names no step, though some were done.")
        return state, recipe
    except DaKdError as error:
        raise InputError(
            f"Nobody can say which outputs run '{run.name}' needs: {error}\n"
            f"Run its recipe again before 'da-kd gc --delete', or remove {run.folder}."
        ) from error


def _has_worked(run: Run) -> bool:
    """Say whether a step of the run was ever done; a record that was lost is begun anew without the steps."""
    return any('"kind": "stage_done"' in line for line in run.last_lines(_LATEST))


def _add_data(recipe: Recipe, needed: _Needed) -> None:
    """Add the sets that a recipe has drawn."""
    from da_kd.pipeline import corrupt_parts, drawn_output

    for name in type(recipe.data).model_fields:
        spec = getattr(recipe.data, name)
        if getattr(spec, "render", None):
            needed.prints.add(drawn_output(spec, recipe.seed).fingerprint)
        if getattr(spec, "corrupt", None):
            needed.damaged.append(corrupt_parts(spec.corrupt))


def _under_way(run: Run) -> bool:
    """Return whether the run's record is that of this sitting: it is written before the first stage says a word."""
    began = run.state().started or 0.0
    for line in reversed(run.last_lines(_LATEST)):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("time", 0.0) < began:
            return False
        if str(event.get("kind", "")).startswith("stage_") or event.get("stage") not in ("data", ""):
            return True
    return False


def _measured(folder: Path) -> _Unused:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return _Unused(folder, sum(path.stat().st_size for path in files), folder.stat().st_mtime)
