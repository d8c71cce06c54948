"""Locks between processes that vanish with their holder, also when it is killed."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from da_kd.errors import Busy
from da_kd.events import Job
from da_kd.pids import started

_TRIES = 3  # before a lock counts as held: somebody who asks for the holder has it for a moment


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; what is "" was not written down, as by older versions.

    Attributes:
        pid: the number of the process, where it runs.
        host: the name of its machine.
        space: the process namespace that counts the number; containers have their own.
        started: when it was started, in the words of :func:`da_kd.pids.started`.
    """

    pid: int
    host: str = ""
    space: str = ""
    started: str = ""

    def elsewhere(self) -> str:
        """Return where the process runs, in words, where its number means another process here, or none; else ""."""
        if self.host not in ("", socket.gethostname()):
            return f"on the machine '{self.host}'"
        if self.space not in ("", _space()):
            return "in another container of this machine"
        if self.started not in ("", started(self.pid)):
            return "on another machine or in another container, since no process here is the one of that number"
        return ""


@contextmanager
def hold(path: Path, job: Job, what: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock file at ``path``; the file stays, only the lock on it goes.

    Args:
        path: the lock file; it holds who has the lock, for messages.
        job: asked while waiting whether to stop.
        what: what is locked, in words, for messages.
        wait: wait for it, saying so once, instead of raising.

    Raises:
        Busy: another process holds it and ``wait`` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _take(file.fileno(), path, job, what, wait)
        file.seek(0)
        file.truncate()
        file.write(json.dumps({**asdict(_this_process()), "since": time.time()}))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()
            file.flush()


def holder(path: Path) -> int | None:
    """Return the process that holds the lock file at ``path``, or None."""
    known = holding(path)
    return known.pid if known is not None else None


def holding(path: Path) -> Holder | None:
    """Return all that is known of who holds the lock file at ``path``; None for nobody, and where that is unknown."""
    known = _holder_in(path)
    if known is None:
        return None  # let go of; taking the lock to be sure would be in the way of others
    try:
        with path.open(encoding="utf-8") as file:  # a disk may be read-only, and a shared lock needs no more
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return known
    except OSError:
        return None
    return None  # its holder was killed


def _take(descriptor: int, path: Path, job: Job, what: str, wait: bool) -> None:
    tries, told = 0, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            known, tries = _holder_in(path), tries + 1
            who = f"process {known.pid if known else 'unknown'}"
            if not wait and tries == _TRIES:
                raise Busy(f"{what} is in use by {who}; wait for it, or stop it with 'da-kd stop'.") from None
            if wait and not told:
                job.note(f"Waiting for {who}, which uses {what}.")
                told = True
            job.check()
            time.sleep(0.2 if wait else 0.05)
        else:
            return


def _holder_in(path: Path) -> Holder | None:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(tree["pid"]), *(str(tree.get(key, "")) for key in ("host", "space", "started")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(pid, socket.gethostname(), _space(), started(pid))


def _space() -> str:
    """Return the process namespace that this process lives in, "" where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
