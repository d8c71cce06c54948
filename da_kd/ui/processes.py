"""Work as processes of its own: the command line, started in a session of its own, known by a file in the run's folder.

A reload, a second tab and a kill of the app change nothing for it: whoever opens the folder later finds the process
again and can stop it. Knows processes and files; must not know what a run is made of, nor any page.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from da_kd.errors import Busy, SetupError
from da_kd.files import whole
from da_kd.pids import started
from da_kd.pipeline import Run

PATIENCE = 4.0  # seconds that a process asked to stop gets, so that the page can say within 5 that it is gone
_LINGERS = 5.0  # seconds that a process may take to end after its work is done
_DYING = 0.45  # seconds that the system may take to clear a killed process away; waited for twice at most
_LOG_SHOWN = 1 << 14  # bytes of a log that are shown


@dataclass(frozen=True)
class Launch:
    """A process that was started.

    Attributes:
        pid: its number, also of its session.
        ticks: when the system started it, in its own words, which tell it from a later process of the same number.
        arguments: what followed ``da-kd``.
        began: seconds since the epoch.
    """

    pid: int
    ticks: str
    arguments: tuple[str, ...]
    began: float

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.ticks != "" and started(self.pid) == self.ticks


def command_line(arguments: Sequence[str]) -> str:
    """Return what to type in a terminal."""
    return shlex.join(["da-kd", *arguments])


def start(folder: Path, arguments: Sequence[str], at: Path, name: str = "launch") -> Launch:
    """Start ``da-kd`` with these arguments; its output goes to ``<name>.log`` in ``folder``.

    Args:
        folder: keeps the record and the log.
        arguments: of the command line.
        at: the folder it runs in.
        name: of the record, so that a folder can have several kinds of processes.

    Raises:
        Busy: the last process of that name still runs, or somebody else is starting one.
        SetupError: it cannot be started; the disk is full, or the folder is not ours to write.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f"{name}.lock"):
            last = launched(folder, name)
            if last is not None and not _ended(last, _LINGERS):
                raise Busy(f"This is being worked on already (process {last.pid}); wait for it, or stop it first.")
            return _spawn(folder, arguments, at, name)
    except OSError as error:
        raise SetupError(
            f"The work could not be started ({error.strerror or error}: {folder}). Free some space ('da-kd gc' lists "
            "what no run needs), or make the folder writable, then press the button again."
        ) from error


def launched(folder: Path, name: str = "launch") -> Launch | None:
    """Return the last process that was started for a folder, running or not; None where there was none."""
    try:
        tree = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return Launch(int(tree["pid"]), str(tree["ticks"]), tuple(map(str, tree["arguments"])), float(tree["began"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def working(run: Run) -> int | None:
    """Return the process that works on a run, or is about to; None where there is none.

    Raises:
        DataError: the run's record cannot be read.
    """
    pid, last = run.pid(), launched(run.folder)
    if pid is None and last is not None and last.alive:
        began = run.state().started
        return last.pid if began is None or began < last.began else None  # one that has worked only tidies up
    return pid


def stop(run: Run, patience: float = PATIENCE) -> bool:
    """Stop whoever works on a run, started here, by an earlier app or in a terminal; return whether there was one.

    It is asked first, and killed after ``patience`` seconds; what was finished stays.
    """
    last = launched(run.folder)
    stopped = run.stop(patience)
    if last is not None and last.alive:  # it did not hold the run yet, or holds on
        end(last, 0.0 if stopped else patience)
        stopped = True
    limit = time.monotonic() + _DYING
    while run.pid() is not None and time.monotonic() < limit:
        time.sleep(0.02)
    return stopped


def end(process: Launch, patience: float = PATIENCE) -> None:
    """Ask a process and all it started to stop, and kill what is left after ``patience`` seconds."""
    _signal(process, signal.SIGTERM)
    if not _ended(process, patience):
        _signal(process, signal.SIGKILL)
        _ended(process, _DYING)


def log_of(folder: Path, name: str = "launch") -> str:
    """Return the end of a process's output, '' where there is none."""
    try:
        with (folder / f"{name}.log").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_SHOWN))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_error(log: str) -> str:
    """Return the last error that a log tells, with the lines that belong to it, without the word itself."""
    _, found, rest = log.rpartition("Error: ")
    return rest.strip() if found else ""


def memory(pid: int) -> int | None:
    """Return the bytes of memory that a process uses, None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path``, which a thread of this process can keep from another one, too."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("This is being started already; wait for it, or stop it first.") from None
        yield


def _spawn(folder: Path, arguments: Sequence[str], at: Path, name: str) -> Launch:
    """Start a process and record it; one that cannot be recorded is killed, since nobody would find it again."""
    with (folder / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "da_kd", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=at,
            env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        )
    try:
        made = Launch(child.pid, started(child.pid), tuple(arguments), time.time())
        with whole(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(asdict(made)), encoding="utf-8")
    except OSError:
        child.kill()
        child.wait()
        raise
    threading.Thread(target=child.wait, daemon=True).start()  # so that no zombie of it is left
    return made


def _ended(process: Launch, patience: float) -> bool:
    """Wait for the end of a process; say whether it came within ``patience`` seconds."""
    limit = time.monotonic() + patience
    while process.alive and time.monotonic() < limit:
        time.sleep(0.05)
    return not process.alive


def _signal(process: Launch, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
