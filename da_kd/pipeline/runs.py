"""A run's folder: the resolved recipe, its state, its events, and the lock that says who works on it.

runs/<run>/recipe.yaml    the recipe, every default written out
runs/<run>/run.json       state and fingerprints
runs/<run>/events.jsonl   everything the stages told
runs/<run>/report/        the page and metrics.json
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from da_kd.errors import Busy, DataError, InputError
from da_kd.events import Event, Job
from da_kd.files import whole
from da_kd.recipe import TAKEN, Recipe, dump_recipe, load_recipe
from da_kd.store import hold, holder, holding, write_json

State = Literal["new", "running", "paused", "done", "failed", "cancelled", "killed"]


@dataclass(frozen=True)
class RunState:
    """What is known of a run between two commands.

    Attributes:
        state: where it stands; ``killed`` is a run that says it is running but whose process is gone.
        stage: the stage it is in, or was in last; ``data`` while its images and labels are read.
        message: the last word to a person: why it failed, where to review, where the report is.
        started: seconds since the epoch.
        ended: likewise, or None while it runs.
        opened: the fingerprint of the pseudo labels that were last laid in front of a person, or "".
        reviewed: of those that the person has reviewed, or "".
        steps: by step, its ``stage``, its ``fingerprint``, and what decided it when it was last ``made``.
    """

    state: State = "new"
    stage: str = ""
    message: str = ""
    started: float | None = None
    ended: float | None = None
    opened: str = ""
    reviewed: str = ""
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Run:
    """A run's folder on the disk; making one writes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))  # pathlib's raises an error of its own where links go round

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def workspace(self) -> Path:
        """The folder that holds this run, its siblings and their store."""
        return self.folder.parent

    @property
    def exists(self) -> bool:
        """Whether there is such a run."""
        return (self.folder / "run.json").is_file()

    def recipe(self) -> Recipe:
        """Return the run's resolved recipe.

        Raises:
            InputError: there is no such run.
        """
        if not (self.folder / "recipe.yaml").is_file():
            raise InputError(f"Expected a run at {self.folder}; there is none. 'da-kd ls' lists the runs.")
        return load_recipe(self.folder / "recipe.yaml")

    def state(self) -> RunState:
        """Return where the run stands.

        Raises:
            DataError: its record cannot be read.
        """
        if not self.exists:
            return RunState()
        try:
            known = RunState(**json.loads((self.folder / "run.json").read_text(encoding="utf-8")))
            _check_steps(known.steps)
        except (OSError, ValueError, TypeError) as error:
            path = self.folder / "run.json"
            raise DataError(
                f"The record of the run '{self.name}' cannot be read ({error}); remove {path}, and run its "
                "recipe again, before any 'da-kd gc --delete': what was finished is reused."
            ) from error
        return replace(known, state="killed") if known.state == "running" and self.pid() is None else known

    def save(self, state: RunState) -> None:
        """Write where the run stands."""
        write_json(self.folder / "run.json", asdict(state))

    def made(self, step: str) -> Path | None:
        """Return the finished output of a step as the run recorded it, or None.

        It is found by what is written down, not by what the recipe would make today: another version of da_kd may make
        the same step anew, and still finds what an older one made.
        """
        fingerprint = str(self.state().steps.get(step, {}).get("fingerprint", ""))
        return self.output(fingerprint) if fingerprint else None

    def output(self, fingerprint: str) -> Path | None:
        """Return the finished output of that fingerprint, or None."""
        return next((path.parent for path in self.workspace.glob(f"store/*/{fingerprint}/output.json")), None)

    def student_ap(self) -> float | None:
        """Return the student's AP by the run's report, None where there is none or it is undefined."""
        try:
            tree = json.loads((self.folder / "report" / "metrics.json").read_text(encoding="utf-8"))
            return float(tree["models"]["student"]["AP"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def last_lines(self, most: int) -> list[str]:
        """Return the last lines of the run's events, from at most ``most`` bytes; the first may be cut."""
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - most))
                return file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []

    def pid(self) -> int | None:
        """Return the process that works on the run, or None."""
        return holder(self.folder / "lock")

    def keep(self, recipe: Recipe) -> None:
        """Write the recipe that the run follows from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(self.folder / "recipe.yaml") as temporary:
            temporary.write_text(dump_recipe(recipe), encoding="utf-8")

    @contextmanager
    def taken(self, job: Job) -> Iterator[Job]:
        """Hold the run for this process; yield a job that writes its events down as well.

        Raises:
            Busy: another process works on it.
            InputError: its name is taken by a folder of the workspace.
        """
        refuse_taken(self.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            hold(self.folder / "lock", job, f"the run '{self.name}'"),
            (self.folder / "events.jsonl").open("a", encoding="utf-8") as file,
        ):

            def write(event: Event) -> None:
                file.write(json.dumps(event.as_json()) + "\n")
                file.flush()

            yield job.also(write)

    def stop(self, patience: float = 20.0) -> bool:
        """Ask the process that works on the run to stop, and wait; return whether there was one.

        A process that does not stop within ``patience`` seconds is killed; what was finished stays.

        Raises:
            Busy: the process runs elsewhere, so that its number is another one's here.
        """
        pid = self.pid()
        if pid is None:
            return False
        if place := self._elsewhere():
            raise Busy(f"Run '{self.name}' is worked on by process {pid} {place}; stop it where it runs.")
        _signal(pid, signal.SIGTERM)
        end = time.monotonic() + patience
        while self.pid() == pid and time.monotonic() < end:
            time.sleep(0.1)
        if self.pid() == pid and not self._elsewhere():
            _signal(pid, signal.SIGKILL)
        return True

    def _elsewhere(self) -> str:
        """Return where the process that works on the run has its number, "" for here."""
        known = holding(self.folder / "lock")
        return known.elsewhere() if known is not None else ""


def _check_steps(steps: Any) -> None:
    """Raise ValueError where a record's steps are no such thing."""
    if not isinstance(steps, dict):
        raise ValueError(f"expected steps by their names; found {steps!r:.60}")
    for name, record in steps.items():
        if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), str):
            raise ValueError(f"expected the fingerprint of the step '{name}'; found {record!r:.60}")


def refuse_taken(name: str) -> None:
    """Refuse a run's name that is that of another folder of the workspace.

    Raises:
        InputError: it is.
    """
    if name in TAKEN:
        raise InputError(f"A run cannot be called '{name}', a folder of the workspace; choose another name.")


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def list_runs(workspace: Path) -> list[Run]:
    """Return the runs of a workspace, the latest first."""
    found = [Run(path.parent) for path in workspace.glob("*/run.json")]
    return sorted(found, key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
