"""Which runs there are and how each stands: read from its record, its events and its last process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from da_kd.errors import DaKdError
from da_kd.pace import Pace
from da_kd.pipeline import STAGES, Run, list_runs
from da_kd.store import holder
from da_kd.ui import processes

_TAIL = 1 << 18  # bytes of the events that are read
MOST_LISTED, MOST_OFFERED = 50, 30  # latest runs that are listed; whose models are offered


@dataclass(frozen=True)
class RunRow:
    """A run in the list: its name, state and stage, when it changed (seconds since the epoch), its student's AP."""

    name: str
    state: str
    stage: str
    changed: float | None
    student: float | None


@dataclass(frozen=True)
class Task:
    """What is being done right now: ``done`` of ``total`` (None: unknown) ``unit``, how fast, and the seconds left."""

    stage: str
    task: str
    done: int
    total: int | None
    unit: str
    note: str
    per_second: float | None
    left: float | None

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1."""
        return self.done / self.total if self.total else None


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        name: the run.
        state: as in :class:`~da_kd.pipeline.RunState`, or ``starting``.
        stage: the stage it is in.
        message: its last word to a person.
        refused: why the process that was started last did not begin to work on it, "" where it did; where the run has
            a record all else tells of that, as the run is as it was.
        pid: the process that works on it, or None.
        device: what that process holds, "" where it holds none.
        memory: bytes that the process uses, or None.
        steps: by step, ``done``, ``running`` or ``waiting``.
        stages: by stage, likewise; stages that the recipe leaves out are absent.
        task: what is being done now, or None.
        waiting: what it waits for, "" where it does not.
        warnings: of this sitting.
        began: when this sitting began, seconds since the epoch.
        ended: likewise.
        stamp: changes whenever an output was finished or the state changed.
    """

    name: str
    state: str
    stage: str = ""
    message: str = ""
    refused: str = ""
    pid: int | None = None
    device: str = ""
    memory: int | None = None
    steps: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    task: Task | None = None
    waiting: str = ""
    warnings: tuple[str, ...] = ()
    began: float | None = None
    ended: float | None = None
    stamp: str = ""


def recent_runs(workspace: Path) -> list[RunRow]:
    """Return the runs of a workspace, the latest first; those that were started and have no record yet before all."""
    rows = [row for path in workspace.glob("*/launch.json") if (row := _unrecorded(Run(path.parent))) is not None]
    for run in list_runs(workspace)[:MOST_LISTED]:
        try:
            known = run.state()
        except DaKdError:
            rows.append(RunRow(run.name, "unreadable", "", None, None))
            continue
        ap = run.student_ap() if known.state == "done" else None  # else it is that of what was before
        rows.append(RunRow(run.name, known.state, known.stage, known.ended or known.started, ap))
    return rows


def left_out(workspace: Path, most: int) -> str:
    """Return which runs are shown where only the latest ``most`` are, '' where that is all."""
    there = sum(1 for _ in workspace.glob("*/run.json"))
    return f"the latest {most} of {there} runs" if there > most else ""


def _unrecorded(run: Run) -> RunRow | None:
    """Return a run whose process has not begun to work, or ended before it did; None for any other."""
    last = processes.launched(run.folder)
    if run.exists or last is None:
        return None
    return RunRow(run.name, "starting" if last.alive else "failed", "", last.began, None)


def standing(run: Run) -> Standing:
    """Return how a run stands.

    Raises:
        DataError: its record cannot be read.
    """
    known, last, pid = run.state(), processes.launched(run.folder), run.pid()
    state, refused = str(known.state), ""
    fresh = last is not None and (known.started is None or last.began > known.started)
    if fresh and last is not None and (last.alive or pid is not None):  # its record is not written yet
        state, pid = "starting", pid or last.pid
    elif fresh:
        error = processes.last_error(processes.log_of(run.folder))
        refused = error or "The process ended before it began to work; its log is below."
        state = state if run.exists else "failed"
    sitting = [] if state == "starting" else events(run, known.started)
    steps = _steps(run, known.steps, state == "running")
    stamp = f"{state} {known.ended} {sum(mark == 'done' for mark in steps.values())} {len(steps)}"
    return Standing(
        name=run.name,
        state=state,
        stage=known.stage,
        message=known.message,
        refused=refused,
        pid=pid,
        device=_device(run, pid),
        memory=processes.memory(pid) if pid else None,
        steps=steps,
        stages=_stages(known.steps, steps),
        task=_task(sitting) if state == "running" else None,
        waiting=_waiting(sitting) if state == "running" else "",
        warnings=tuple(dict.fromkeys(e["text"] for e in sitting if e.get("level") == "warning")),
        began=known.started,
        ended=known.ended,
        stamp=stamp,
    )


def events(run: Run, since: float | None) -> list[dict[str, Any]]:
    """Return what a run told since a moment, in order, from the end of its events."""
    found = []
    for line in run.last_lines(_TAIL):
        try:
            event = json.loads(line)
        except ValueError:  # the first line is cut, the last may be half-written
            continue
        if isinstance(event, dict) and event.get("time", 0.0) >= (since or 0.0) - 1.0:
            found.append(event)
    return found


def outputs(run: Run) -> dict[str, Path]:
    """Return the folder of every finished output of a run, by step."""
    found = {}
    for name, record in run.state().steps.items():
        place = run.output(str(record["fingerprint"]))
        if place is not None:
            found[name] = place
    return found


def exported_files(run: Run) -> list[Path]:
    """Return the files that exports of a run have written; formats that are folders are not among them."""
    return sorted(path for path in (run.folder / "export").glob("[!.]*") if path.is_file() and not path.is_symlink())


def shown_of(run: Run, *steps: str) -> str:
    """Return what changes when one of these steps (names, or their beginnings) is made anew, or the recipe is read."""
    found = [str(path) for name, path in sorted(outputs(run).items()) if name.startswith(steps)]
    return " ".join([str(bool(run.state().steps)), *found])


def _steps(run: Run, recorded: Mapping[str, Mapping[str, Any]], running: bool) -> dict[str, str]:
    marks = {}
    for name, record in recorded.items():
        print_ = str(record["fingerprint"])
        if run.output(print_) is not None:
            marks[name] = "done"
        else:
            begun = any((run.workspace / "store").glob(f"*/{print_}.partial"))
            marks[name] = "running" if begun and running and "running" not in marks.values() else "waiting"
    return marks


def _stages(recorded: Mapping[str, Mapping[str, Any]], steps: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for stage in STAGES:
        marks = [steps[name] for name, record in recorded.items() if record.get("stage") == stage]
        if marks:
            found[stage] = "running" if "running" in marks else "done" if set(marks) == {"done"} else "waiting"
    return found


def _task(sitting: list[dict[str, Any]]) -> Task | None:
    """Return the last task of a sitting and its pace, None between two steps."""
    last: dict[str, Any] | None = None
    pace = Pace()
    for event in sitting:
        if event.get("kind") == "progress":
            if last is None or (event["stage"], event["task"]) != (last["stage"], last["task"]):
                pace = Pace()
            pace.add(event["done"], event["time"])
            last = event
        elif event.get("kind") == "stage_done":
            last = None
    if last is None:
        return None
    left = pace.left(last["total"])
    return Task(
        last["stage"],
        last["task"],
        last["done"],
        last["total"],
        last["unit"],
        last.get("note", ""),
        pace.per_second,
        left,
    )


def _waiting(sitting: list[dict[str, Any]]) -> str:
    """Return the note that a run waits for a device or an output, if that is the last it said."""
    last: dict[str, Any] = next((event for event in reversed(sitting) if event.get("kind") != "stage_started"), {})
    text = str(last.get("text", ""))
    return text if text.startswith("Waiting for process") else ""


def _device(run: Run, pid: int | None) -> str:
    """Return the device that a process holds."""
    if pid is None:
        return ""
    locks = sorted((run.workspace / "locks").glob("*"))
    return next((path.name.replace("-", ":") for path in locks if holder(path) == pid), "")
