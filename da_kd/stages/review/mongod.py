"""One MongoDB server per workspace: found, started, shared by the processes that need it, and stopped by the last.

Everything lies in ``<workspace>/mongo``: ``data/``, ``mongod.log``, ``server.json`` (pid, its start time, the port),
``start.lock`` (held while a server is started or stopped) and ``users.lock`` (held shared by every user). Locks
belong to the operating system, so a killed process leaves none behind; the server it leaves is found and used again.
Must not know FiftyOne.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from da_kd.errors import Busy, SetupError
from da_kd.events import Job
from da_kd.pids import started
from da_kd.stages.review.ports import answers, free_port, port_is_free
from da_kd.stages.review.program import MINIMUM, REMEDY, find_mongod, mongod_version

WAIT_START = 60.0  # seconds until a server must accept connections
WAIT_STOP = 60.0  # seconds until a server must be gone after SIGTERM
WAIT_LOCK = 90.0  # seconds to wait for another process that starts or stops the server
READY = "Waiting for connections"  # in mongod's log
PORT_TAKEN = 48  # mongod's own exit code
PORT_TRIES = 3
SELECT = 10_000  # milliseconds until a server on the same machine that does not answer is given up
PAUSE = 0.05

_children: dict[int, subprocess.Popen[bytes]] = {}  # servers this process started and has to wait for


@dataclass(frozen=True)
class _State:
    """What ``server.json`` holds; ``started`` tells a process from a later one with the same number."""

    pid: int
    started: str
    port: int


@contextlib.contextmanager
def serve(workspace: Path, job: Job) -> Iterator[str]:
    """Yield the URI of the workspace's own MongoDB server, with ``journal=true``, while the block runs.

    ``FIFTYONE_DATABASE_URI`` takes its place where set. Processes that ask at once share one server; the last to leave
    stops it.

    Raises:
        SetupError: there is no usable ``mongod``, or it does not start.
        Busy: another process has been starting or stopping the server for too long.
    """
    given = os.environ.get("FIFTYONE_DATABASE_URI")
    if given:
        yield with_journal(given)
        return
    home = workspace.resolve() / "mongo"
    try:
        (home / "data").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The review database needs the folder {home / 'data'}, which cannot be made ({error})."
        ) from error
    with (home / "users.lock").open("a") as users:
        with exclusive(home / "start.lock", job):
            fcntl.flock(users, fcntl.LOCK_SH)
            state = _running(home) or _start(home, job)
        try:
            yield with_journal(f"mongodb://127.0.0.1:{state.port}/?serverSelectionTimeoutMS={SELECT}")
        finally:
            with exclusive(home / "start.lock", Job()):
                _stop_if_last(home, users)


def with_journal(uri: str) -> str:
    """Return a MongoDB URI with ``journal=true`` among its options, unless it says something of its own."""
    parts = urlsplit(uri)
    options = [option for option in parts.query.split("&") if option]
    if not any(option.lower().startswith("journal=") for option in options):
        options.append("journal=true")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "&".join(options), parts.fragment))


@contextlib.contextmanager
def exclusive(path: Path, job: Job, wait: float = WAIT_LOCK) -> Iterator[None]:
    """Hold a lock file alone while the block runs, waiting up to ``wait`` seconds for it.

    Raises:
        Busy: another process held it all the time.
        Cancelled: a person stopped the job while it waited.
    """
    deadline = time.monotonic() + wait
    with path.open("a") as file:
        while not _try_lock(file):
            job.check()
            if time.monotonic() > deadline:
                raise Busy(
                    f"Another process has held {path} for {wait:.0f} s; it is starting or stopping the review "
                    "database, or writing to it. Wait until it is done, or end it, and try again."
                )
            time.sleep(PAUSE)
        yield


def _try_lock(file: IO[str]) -> bool:
    """Take an exclusive lock if it is free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(home: Path) -> _State | None:
    """Return the server that ``server.json`` names, if it lives and answers."""
    state = _read_state(home)
    if state is None or not state.pid or _gone(state):
        return None
    if not answers(state.port) and not _wait(lambda: answers(state.port) or _gone(state), WAIT_START):
        raise SetupError(
            f"The review database server of {home.parent} (process {state.pid}) lives but accepts no connections on "
            f"port {state.port}. End that process and try again."
        )
    return None if _gone(state) else state


def _start(home: Path, job: Job) -> _State:
    """Start a server on the port used last, or on a free one, and remember it."""
    mongod = find_mongod()
    if mongod is None:
        raise SetupError(f"Review needs a MongoDB server, and no 'mongod' was found. {REMEDY}")
    version = mongod_version(mongod)
    if version[:2] < MINIMUM:
        text = ".".join(str(part) for part in version)
        raise SetupError(f"Review needs mongod 6.0 or newer; {mongod} is {text}. {REMEDY}")
    last = _read_state(home)
    port = last.port if last and port_is_free(last.port) else free_port()
    for _ in range(PORT_TRIES):
        log = _log_size(home)
        process = _launch(mongod, home, port)
        state = _State(process.pid, started(process.pid), port)
        _write_state(home, state)
        if _wait_ready(process, home, log):
            _children[process.pid] = process
            return state
        if process.poll() != PORT_TAKEN:
            break
        port = free_port()
    process.kill()
    process.wait()
    raise SetupError(
        f"The review database server {mongod} did not start (exit code {process.returncode}): "
        f"{_last_words(home, log)}. Its log is {home / 'mongod.log'}; look for room on the disk and for the rights on "
        f"{home / 'data'}."
    )


def _launch(mongod: Path, home: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own, so that Ctrl-C in the terminal does not reach it."""
    command = [
        *(str(mongod), "--dbpath", str(home / "data"), "--logpath", str(home / "mongod.log"), "--logappend"),
        *("--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
        # Without these, 300 MB of empty log are laid out for every workspace, and figures are collected without end.
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FIFTYONE_")}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise SetupError(f"The review database server {mongod} cannot be run ({error}). {REMEDY}") from error


def _stop_if_last(home: Path, users: IO[str]) -> None:
    """Stop the server unless another process or thread still uses it; to be called with ``start.lock`` held."""
    fcntl.flock(users, fcntl.LOCK_UN)
    if not _try_lock(users):
        return
    state = _read_state(home)
    if state is None or not state.pid or _gone(state):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    if not _wait(lambda: _gone(state), WAIT_STOP):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)  # the journal keeps every acknowledged write
        _wait(lambda: _gone(state), WAIT_STOP)
    with contextlib.suppress(OSError):  # a full disk; a server that is gone is known by its process as well
        _write_state(home, _State(0, "", state.port))  # the port is tried first next time


def _gone(state: _State) -> bool:
    """Return whether the process has ended, or its number belongs to another by now."""
    child = _children.get(state.pid)
    if child is None:
        return started(state.pid) != state.started
    if child.poll() is None:
        return False
    _children.pop(state.pid, None)
    return True


def _wait_ready(process: subprocess.Popen[bytes], home: Path, log: int) -> bool:
    """Wait until a new server takes connections; False when it ends before. Only its own log is proof of that."""

    def ready() -> bool:
        return any(entry.get("msg") == READY for entry in _log(home, log))

    _wait(lambda: process.poll() is not None or ready(), WAIT_START)
    return process.poll() is None and ready()


def _wait(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask ``ready`` until it says yes; return False after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _read_state(home: Path) -> _State | None:
    """Return what ``server.json`` says; None where it is missing or unreadable."""
    try:
        return _State(**json.loads((home / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_state(home: Path, state: _State) -> None:
    """Write ``server.json`` whole or not at all."""
    temporary = home / f".server.json.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(asdict(state)))
    temporary.replace(home / "server.json")


def _log_size(home: Path) -> int:
    """Return how long the server's log is, in bytes."""
    log = home / "mongod.log"
    return log.stat().st_size if log.exists() else 0


def _log(home: Path, start: int) -> Iterator[dict[str, Any]]:
    """Yield what the server has logged from byte ``start`` on."""
    with contextlib.suppress(OSError), (home / "mongod.log").open("rb") as file:
        file.seek(start)
        for line in file:
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def _last_words(home: Path, start: int) -> str:
    """Return the first error that the server logged from byte ``start`` on, or else the last thing it said."""
    said = "it said nothing"
    for entry in _log(home, start):
        details = entry.get("attr", {})
        detail = details.get("message", details.get("error", ""))
        if isinstance(detail, dict):
            detail = detail.get("msg", detail.get("errmsg", ""))
        said = f"{entry.get('msg', '')}{f' ({detail})' if detail else ''}".strip()
        if entry.get("s") in ("E", "F"):
            break
    return said
