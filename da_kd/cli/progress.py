"""Events become what a person sees: a live display in a terminal, else plain lines, few enough for a log file.

Knows events and the consoles; must not know what a stage does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from da_kd.cli.terminal import out, say
from da_kd.cli.words import duration, rate
from da_kd.events import Event, Figures, Note, Progress, Sink, StageDone, StageStarted
from da_kd.pace import Pace

PAUSE = 5.0  # seconds between two plain lines of one task
_NAME = 22  # columns for the name of a step


@contextmanager
def shown(quiet: bool = False) -> Iterator[Sink]:
    """Yield a sink that draws events while the block runs."""
    if quiet or not out.is_terminal:
        yield PlainLines().take
        return
    with LiveDisplay() as display:
        yield display.take


def stage_line(event: Event) -> tuple[str, str] | None:
    """Return the line that stays of an event, and its style; None where none does."""
    if isinstance(event, StageStarted):
        if event.why.startswith("goes on"):
            return f"- {event.name} {event.why}", ""
        return (f"- {event.name} runs again: {event.why}", "") if event.why else None
    if isinstance(event, StageDone):
        took = f"reused (took {duration(event.seconds)})" if event.seconds else "reused"
        said = took if event.reused else f"done in {duration(event.seconds)}"
        return f"✓ {event.name:<{_NAME}} {said}", "dim" if event.reused else "green"
    if isinstance(event, Note):
        return (f"! {event.text}", "yellow") if event.level == "warning" else (f"  {event.text}", "")
    return None


def _amount(event: Progress) -> str:
    of = f"/{event.total}" if event.total is not None else ""
    return f"{event.done}{of} {event.unit}".rstrip()


def _left(event: Progress, pace: Pace) -> float | None:
    """Return the seconds left: as the event says, else by the pace of its task."""
    return pace.left(event.total) if event.left is None else event.left


def _figures(event: Figures) -> str:
    values = "  ".join(f"{name} {value:.3g}" for name, value in event.values.items())
    return f"{event.task} {event.step}: {values}"


class PlainLines:
    """Lines for a log: stages, notes, and of a task that takes long a line every few seconds.

    Args:
        write: gets each line.
        clock: tells the time, in seconds.
    """

    def __init__(self, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._last: dict[tuple[str, str], float] = {}
        self._pace: dict[tuple[str, str], Pace] = {}

    def take(self, event: Event) -> None:
        """Write what is worth a line."""
        if isinstance(event, StageStarted) and not event.why:
            self._write(f"- {event.name} begins")
        elif isinstance(event, Progress):
            self._progress(event)
        elif line := stage_line(event):
            self._write(line[0])

    def _progress(self, event: Progress) -> None:
        key, now = (event.stage, event.task), self._clock()
        pace = self._pace.setdefault(key, Pace())
        pace.add(event.done, event.time)
        if now - self._last.setdefault(key, now) < PAUSE:  # the stage's own line has just said that it begins
            return
        self._last[key] = now
        parts = [f"  {event.stage}: {event.task} {_amount(event)}"]
        if event.left is None and (speed := pace.per_second) is not None:
            parts.append(rate(speed, event.unit or "steps"))
        if (left := _left(event, pace)) is not None:
            parts.append(f"{duration(left)} left")
        self._write(", ".join([*parts, *([event.note] if event.note else [])]))


class _Left(ProgressColumn):
    """The time left, counting down between reports."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if left is None:
            return Text("")
        since = time.time() - float(task.fields["at"])
        return Text(f"{duration(max(0.0, left - since)).replace('.0 s', ' s')} left", style="cyan")


class LiveDisplay:
    """Bars for the tasks under way, and above them the lines that stay."""

    def __init__(self) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(18),
            TextColumn("{task.fields[amount]}"),
            _Left(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=out,
        )
        self._below = Text("", style="dim", no_wrap=True, overflow="ellipsis")
        self._live = Live(
            Group(self._bars, self._below),
            console=out,
            transient=True,
            refresh_per_second=4,
            vertical_overflow="visible",
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._pace: dict[tuple[str, str], Pace] = {}
        self._step = ""  # the one under way

    def __enter__(self) -> LiveDisplay:
        """Begin to draw."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave only the lines that stay."""
        self._live.__exit__(None, None, None)

    def take(self, event: Event) -> None:
        """Draw an event."""
        if line := stage_line(event):
            out.print(line[0], style=line[1] or None)
        if isinstance(event, StageStarted):
            self._clear()
            self._step = event.name
            self._bar((event.stage, ""), event.name, None)
        elif isinstance(event, StageDone):
            self._clear()
            self._step = ""
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Figures):
            self._below.plain = f"  {_figures(event)}"

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        self._pace.clear()
        self._below.plain = ""

    def _bar(self, key: tuple[str, str], name: str, total: int | None) -> None:
        self._tasks[key] = self._bars.add_task(name, total=total, amount="", note="", left=None, at=0.0)

    def _progress(self, event: Progress) -> None:
        key = (event.stage, event.task)
        if key not in self._tasks:
            self._clear()
            step = self._step or event.stage
            self._bar(key, step if event.task in step else f"{step} {event.task}", event.total)
        pace = self._pace.setdefault(key, Pace())
        pace.add(event.done, event.time)
        speed = pace.per_second if event.left is None else None
        amount = _amount(event) + (f" ({rate(speed, event.unit or 'steps')})" if speed else "")
        self._bars.update(
            self._tasks[key],
            completed=event.done,
            total=event.total,
            amount=amount,
            note=event.note,
            left=_left(event, pace),
            at=event.time,
        )
