"""Locks between processes that vanish with their holder, also when it is killed."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from da_kd.errors import Busy
from da_kd.events import Job

_TRIES = 3  # before a lock counts as held: somebody who asks for the holder has it for a moment


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
        file.write(json.dumps({"pid": os.getpid(), "since": time.time()}))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()
            file.flush()


def holder(path: Path) -> int | None:
    """Return the process that holds the lock file at ``path``, or None."""
    pid = _pid_in(path)
    if pid is None:
        return None  # let go of; taking the lock to be sure would be in the way of others
    with path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return pid
    return None  # its holder was killed


def _take(descriptor: int, path: Path, job: Job, what: str, wait: bool) -> None:
    tries, told = 0, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid, tries = _pid_in(path), tries + 1
            if not wait and tries == _TRIES:
                raise Busy(
                    f"{what} is in use by process {pid or 'unknown'}; wait for it, or stop it with 'da-kd stop'."
                ) from None
            if wait and not told:
                job.note(f"Waiting for process {pid or 'unknown'}, which uses {what}.")
                told = True
            job.check()
            time.sleep(0.2 if wait else 0.05)
        else:
            return


def _pid_in(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
