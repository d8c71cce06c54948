"""Makes the cells of a table, each as an ordinary run in a process of its own, several side by side.

What is made stays; a cell that is done is never started. Must not know what a row means, nor tables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.bench.cells import Cell
from da_kd.bench.files import usable_processors
from da_kd.errors import DaKdError
from da_kd.events import Job
from da_kd.pipeline import Run, expected_rate
from da_kd.recipe import dump_recipe
from da_kd.words import duration

_LOOK = 0.3  # seconds between two looks at the processes
_TELL = 5.0  # seconds between two reports of progress
_PATIENCE = 30.0  # seconds that processes asked to stop get
_TAIL = 1 << 14  # bytes of a run's events that are looked at for its progress
_MEMORY = 2 << 30  # bytes that a run on the CPU needs; a nano model's takes half
_LOG = "bench.log"


class BenchError(DaKdError):
    """Some cells could not be made; the others are."""


@dataclass(frozen=True)
class _Work:
    cell: Cell
    process: subprocess.Popen[str]
    seat: int
    began: float


def default_jobs(cells: Sequence[Cell]) -> int:
    """Return how many cells there is room for side by side: one a processor with memory enough, or one on a GPU."""
    from da_kd.teachers.device import resolve_devices

    on_cpu = all(resolve_devices(cell.recipe.device) == ("cpu",) for cell in cells)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(usable_processors(), memory // _MEMORY)) if on_cpu else 1


def make_cells(cells: Sequence[Cell], jobs: int, job: Job) -> None:
    """Make what is missing, up to ``jobs`` cells side by side.

    Raises:
        BenchError: some failed; all that could be made is made, and each failure told.
        Cancelled: a person stopped it.
    """
    waiting, failed = [cell for cell in cells if not cell.done], dict[str, str]()
    done, work, told, outlook = len(cells) - len(waiting), list[_Work](), 0.0, _Outlook(waiting)
    if done:
        job.note(f"{done} of {len(cells)} runs are done already.")
    try:
        while waiting or work:
            job.check()
            for one in [one for one in work if one.process.poll() is not None]:
                work.remove(one)
                failed |= _ended(one, job)
                done, told = done + 1, 0.0
                outlook.learn()
            work += _started(waiting, work, jobs)
            if time.monotonic() - told > _TELL:
                left = outlook.seconds(work) / jobs
                job.progress("runs", done, len(cells), "runs", "; ".join(map(_standing, work)), left)
                told = time.monotonic()
            time.sleep(_LOOK)
    finally:
        _stop(work)
    if failed:
        reasons = "\n".join(f"  - {name}: {why}" for name, why in failed.items())
        raise BenchError(f"{len(failed)} of {len(cells)} runs failed; the same command tries them again.\n{reasons}")


def _started(waiting: list[Cell], work: Sequence[_Work], jobs: int) -> list[_Work]:
    """Start cells, the first first, while there are seats; leave those that another process works on for later."""
    free = sorted(set(range(jobs)) - {one.seat for one in work})
    started = []
    for cell in list(waiting):
        if not free:
            break
        if cell.run.pid() is None:
            waiting.remove(cell)
            started.append(_start(cell, free.pop(0)))
    return started


def _start(cell: Cell, seat: int) -> _Work:
    """Start a process; one thread each, so that those side by side do not hinder each other."""
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    asked = {"recipe": dump_recipe(cell.recipe), "folder": str(cell.run.folder), "row": cell.row.model, "seat": seat}
    with (cell.run.folder / _LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "da_kd.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
    if process.stdin is not None:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    return _Work(cell, process, seat, time.monotonic())


def _ended(one: _Work, job: Job) -> dict[str, str]:
    """Tell how a cell ended; return why it failed, by its name, where it did."""
    if one.process.stdin is not None:
        one.process.stdin.close()
    if one.process.returncode == 0:
        job.note(f"{one.cell.name}: done in {duration(time.monotonic() - one.began)}.")
        return {}
    log = one.cell.run.folder / _LOG
    why = _last_line(log) if one.process.returncode > 0 else f"killed ({-one.process.returncode}), see {log}"
    job.warn(f"{one.cell.name} failed: {why}")
    return {one.cell.name: why}


def _last_line(log: Path) -> str:
    """Return what a process said last, which is why it failed; a run that was refused keeps its earlier state."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"see {log}")


class _Outlook:
    """How long cells take still, one after the other, by what such outputs took in the workspace before.

    An output that several cells share is made once. What is under way counts by the share of its task that is left.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        steps = [(cell, name) for cell in cells for name in cell.missing]
        self._missing = {cell.steps[name].output.fingerprint: (cell, name) for cell, name in steps}
        self._rates: dict[str, float] = {}

    def learn(self) -> None:
        """Look again at what outputs took; more are there by now."""
        self._rates.clear()

    def seconds(self, work: Sequence[_Work]) -> float:
        """Return the seconds of work that are left while these are under way."""
        done = [key for key, (cell, name) in self._missing.items() if cell.store.finished(cell.steps[name].output)]
        for key in done:
            del self._missing[key]
        return sum(self._expected(cell, name) for cell, name in self._missing.values()) - sum(map(self._gone, work))

    def _expected(self, cell: Cell, name: str) -> float:
        output = cell.steps[name].output
        if output.stage not in self._rates:
            self._rates[output.stage], _ = expected_rate(output.stage, cell.store)
        return self._rates[output.stage] * output.units

    def _gone(self, one: _Work) -> float:
        """Return how much of the step that a cell works on is behind it, in seconds; never all of it."""
        missing, now = one.cell.missing, _progress(one.cell.run)
        return self._expected(one.cell, missing[0]) * 0.95 * now["done"] / now["total"] if missing and now else 0.0


def _standing(one: _Work) -> str:
    """Return how far a cell is, in words."""
    now = _progress(one.cell.run)
    return one.cell.name + (f": {now['task']} {now['done']}/{now['total']}" if now else "")


def _progress(run: Run) -> dict[str, Any] | None:
    """Return the last event of a run that tells how far its task is, None where none does."""
    for line in reversed(run.last_lines(_TAIL)):
        try:
            event = json.loads(line)
        except ValueError:  # the first line is cut, the last may be half-written
            continue
        if event.get("kind") == "progress" and event.get("total"):
            return dict(event)
    return None


def _stop(work: Sequence[_Work]) -> None:
    """End what still runs: ask, wait, and kill what does not answer; what is finished stays."""
    for one in work:
        if one.process.stdin is not None:
            one.process.stdin.close()
    end = time.monotonic() + _PATIENCE
    for one in work:
        try:
            one.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
