"""``da-kd ls``, ``status`` and ``stop``: which runs there are, how they stand, and an end to one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from da_kd.cli.options import RunName, Workspace
from da_kd.cli.words import WORKSPACE, age, duration, figure, run_folder
from da_kd.errors import DaKdError, InputError

if TYPE_CHECKING:
    from da_kd.pipeline import Run, RunState

_EVENTS = 6  # how many of the last events are shown
_TAIL = 1 << 16  # bytes of the events that are read for them


def ls(workspace: Workspace = WORKSPACE) -> None:
    """List the runs of a workspace, the latest first."""
    from da_kd.cli.terminal import new_table, say, show
    from da_kd.pipeline import list_runs

    found = list_runs(workspace)
    if not found:
        say(f"No runs in {workspace}. 'da-kd run RECIPE' makes one.")
        return
    table = new_table("run", "state", "stage", "changed", "student AP", right=("student AP",))
    for run in found:
        try:
            known = run.state()
        except DaKdError:
            table.add_row(run.name, "unreadable", "", "", "")
            continue
        ap = run.student_ap() if known.state == "done" else None  # else it is that of what was before
        shown = "" if ap is None else figure(ap)
        table.add_row(run.name, known.state, known.stage, age(known.ended or known.started), shown)
    show(table)


def status(run: RunName) -> None:
    """Show how a run stands.

    Its state, its steps, and what it said last.
    """
    from da_kd.cli.terminal import say

    place = _existing(run)
    state, pid = place.state(), place.pid()
    say(f"Run '{place.name}' in {place.folder}")
    process = f" (process {pid})" if pid else ""
    say(f"State: {state.state}{process}{f', stage {state.stage}' if state.stage else ''}")
    if state.started is not None:
        ended = f", took {duration(state.ended - state.started)}" if state.ended is not None else ""
        say(f"Last begun {age(state.started)}{ended}")
    if state.message:
        say(state.message)
    for name, record in state.steps.items():
        say(f"  {_mark(place, record)} {name}")
    lines = _last_events(place)
    if lines:
        say("Last events:")
    for line in lines:
        say(f"  {line}")
    if state.state in ("paused", "cancelled", "killed", "failed") or _stopped_early(state):
        say(f"Go on with: da-kd resume {run}")


def stop(run: RunName) -> None:
    """Stop a run.

    What is finished stays, and 'da-kd resume' goes on from there.
    """
    from da_kd.cli.terminal import say

    place = _existing(run)
    pid = place.pid()
    if pid is None:
        say(f"Run '{place.name}' is not being worked on (state: {place.state().state}); there is nothing to stop.")
        return
    say(f"Asking process {pid} to stop...")
    if not place.stop():
        say(f"Run '{place.name}' ended by itself.")
        return
    state = place.state().state
    how = {
        "cancelled": "stopped",
        "done": "was finished before it could be stopped",
        "paused": "has paused for review",
    }.get(state, "did not answer and was killed")
    say(f"Run '{place.name}' {how}. What is finished stays; 'da-kd resume {run}' goes on.")


def _existing(name: str) -> Run:
    from da_kd.pipeline import Run

    place = Run(run_folder(name))
    if not place.exists and place.pid() is None:
        raise InputError(f"Expected a run at {place.folder}; there is none. 'da-kd ls' lists the runs.")
    return place


def _stopped_early(state: RunState) -> bool:
    """Return whether a run is done only as far as it was asked to go."""
    return state.state == "done" and state.stage != "report"


def _mark(place: Run, record: Mapping[str, Any]) -> str:
    """Return a check mark for a finished step, dots for one that was begun."""
    print_ = str(record["fingerprint"])
    if place.output(print_) is not None:
        return "✓"
    return "…" if any(place.workspace.glob(f"store/*/{print_}.partial")) else " "


def _last_events(place: Run) -> list[str]:
    """Return the last events in words; of a task's progress only the last report."""
    raw = place.last_lines(_TAIL)
    lines: list[str] = []
    tasks: set[str] = set()
    for text in reversed(raw):
        try:
            event = json.loads(text)
        except ValueError:  # the first line is cut, the last may be half-written
            continue
        task = f"{event.get('stage')} {event.get('task')}"
        if event.get("kind") == "progress" and task in tasks:
            continue
        tasks.add(task)
        if line := _in_words(event):
            lines.append(f"{age(event.get('time')):>12}  {line}")
        if len(lines) == _EVENTS:
            break
    return lines[::-1]


def _in_words(event: Mapping[str, Any]) -> str:
    kind = event.get("kind")
    if kind == "stage_started":
        return f"{event.get('name')} begun{': ' + event['why'] if event.get('why') else ''}"
    if kind == "stage_done":
        how = "reused" if event.get("reused") else f"done in {duration(event.get('seconds', 0.0))}"
        return f"{event.get('name')} {how}"
    if kind == "progress":
        of = f"/{event['total']}" if event.get("total") is not None else ""
        note = f", {event['note']}" if event.get("note") else ""
        return f"{event.get('stage')} {event.get('task')}: {event.get('done')}{of} {event.get('unit')}{note}"
    return str(event.get("text", "")) if kind == "note" else ""
