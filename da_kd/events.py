"""What a stage tells the outside while it works: events, and the job that carries them.

A stage is handed a :class:`Job` and knows neither the terminal nor the browser nor a file; who draws or stores events
passes a sink. The defaults do nothing, so a test passes ``Job()``. Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from da_kd.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """Base of all events: the stage it belongs to, and when (seconds since the epoch)."""

    kind: ClassVar[str] = "event"
    stage: str
    time: float = field(default_factory=time.time, kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """Return the event as a flat JSON object with its ``kind``."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class StageStarted(Event):
    """A step of a stage begins to work; ``why`` names the key or input that made it run, empty for a first run."""

    kind: ClassVar[str] = "stage_started"
    name: str = ""
    why: str = ""


@dataclass(frozen=True)
class StageDone(Event):
    """A step of a stage is finished (``reused``: its output was there before, made in ``seconds``)."""

    kind: ClassVar[str] = "stage_done"
    name: str = ""
    seconds: float = 0.0
    reused: bool = False


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` ``unit`` of one ``task`` (None: total unknown); ``note`` may carry the last figures.

    ``left`` is the seconds until all is done, from whoever knows better than the pace of the reports.
    """

    kind: ClassVar[str] = "progress"
    task: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    note: str = ""
    left: float | None = None


@dataclass(frozen=True)
class Figures(Event):
    """Numbers measured at a ``step`` (an epoch, say) of one ``task``, e.g. losses."""

    kind: ClassVar[str] = "figures"
    task: str = ""
    step: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Note(Event):
    """A sentence for a person."""

    kind: ClassVar[str] = "note"
    level: Literal["info", "warning"] = "info"
    text: str = ""


Sink = Callable[[Event], None]


def _nowhere(event: Event) -> None:
    """Drop an event."""


def _never() -> bool:
    return False


_PAUSE = 0.1  # seconds between two reports of a quick loop; a hundred thousand lines tell nobody more


class Job:
    """A stage's line to the outside: where events go, and whether a person wants it to stop.

    Args:
        sink: receives every event; called from the stage's thread.
        cancelled: asked often; True makes :meth:`check` raise.
        stage: name put on the events.
    """

    def __init__(self, sink: Sink = _nowhere, cancelled: Callable[[], bool] = _never, stage: str = "") -> None:
        self.stage = stage
        self._sink = sink
        self._cancelled = cancelled

    def named(self, stage: str) -> Job:
        """Return the same job for another stage."""
        return Job(self._sink, self._cancelled, stage)

    def also(self, sink: Sink) -> Job:
        """Return a job that sends its events to ``sink`` as well."""

        def both(event: Event) -> None:
            self._sink(event)
            sink(event)

        return Job(both, self._cancelled, self.stage)

    def emit(self, event: Event) -> None:
        """Send an event on."""
        self._sink(event)

    def check(self) -> None:
        """Raise :class:`~da_kd.errors.Cancelled` when a person asked to stop."""
        if self._cancelled():
            raise Cancelled(f"Stopped during {self.stage or 'the run'}; the same command goes on from here.")

    def note(self, text: str) -> None:
        """Tell a person something."""
        self.emit(Note(self.stage, text=text))

    def warn(self, text: str) -> None:
        """Tell a person something that may be wrong."""
        self.emit(Note(self.stage, level="warning", text=text))

    def progress(
        self, task: str, done: int, total: int | None, unit: str = "", note: str = "", left: float | None = None
    ) -> None:
        """Report how far one task is."""
        self.emit(Progress(self.stage, task, done, total, unit, note, left))

    def track(self, items: Iterable[T], task: str, total: int | None = None, unit: str = "") -> Iterator[T]:
        """Yield ``items``, checking for a stop before each and reporting progress now and then, and at the end."""
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # type: ignore[arg-type]
        self.progress(task, 0, total, unit)
        done, told, last = 0, 0, time.monotonic()
        for item in items:
            self.check()
            yield item
            done += 1
            if time.monotonic() - last >= _PAUSE:
                self.progress(task, done, total, unit)
                told, last = done, time.monotonic()
        if done != told:
            self.progress(task, done, total, unit)
