"""The FiftyOne App for one review, served until it is told to stop: who may reach it, where, and one at a time.

The App has no login, serves every file its process can read, and has one session that all its browsers share. Knows
ports, locks and processes; must not know what is in a data set, nor what becomes of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from da_kd.errors import Busy, InputError, SetupError
from da_kd.events import Job
from da_kd.stages.review.decisions import user
from da_kd.stages.review.layout import AUDIT, DONE
from da_kd.stages.review.opening import open_dataset, reorder
from da_kd.stages.review.ports import free_port
from da_kd.stages.review.stage import ReviewInput
from da_kd.stages.review.standing import Teller, path_of, standing

POLL = 0.5  # seconds between two looks whether a person wants the App to close
LEARN = 5.0  # seconds between two looks whether more images are done, and the queue can learn from them
SHARE = 20.0  # ordering anew takes one part in so many of the time at most
PORT = 5151  # where the App listens unless asked otherwise
LAST_PORT = 65535
LISTEN = 60.0  # seconds between two looks whether a server that does not listen yet is still alive
PATIENCE = 600.0  # seconds in all that a server may take to listen; a busy machine takes minutes
OWN = ("127.0.0.1", "localhost")


def launch_app(
    given: ReviewInput, workspace: Path, port: int, job: Job, address: str = "127.0.0.1", *, allow_remote: bool = False
) -> None:
    """Serve the FiftyOne App for these labels until Ctrl-C or until the job is stopped.

    Args:
        given: the fused labels and their images.
        workspace: holds the journal and the database.
        port: where the App listens.
        job: where the address goes, and what may stop the App.
        address: which of this machine's addresses the App listens on.
        allow_remote: let it be another than this machine's own.

    Raises:
        InputError: the port is taken or none, or the address is not this machine's own.
        Busy: somebody reviews this run already.
        SetupError: FiftyOne, its database or its server does not start.
        Cancelled: a person stopped the job.
    """
    check_address(address, allow_remote)
    check_port(port, address)
    from da_kd.stages.review.room import open_room

    host = "127.0.0.1" if address in OWN else address
    with _alone(workspace, given.run, port, host) as tell, open_room(workspace, job) as fo:
        dataset = open_dataset(fo, given, workspace, job)
        name, start = dataset.name, _start(fo, dataset)
        with _server(port, host) as server:
            url = f"http://{_seen(host)}:{port}/datasets/{start}"
            tell(url)
            job.note(f"Review '{name}' at {url} (Ctrl-C closes it; every edit is stored at once).")
            if host in OWN:
                job.note(f"From another machine: {tunnel(port)}, then open the same address there.")
            else:
                job.warn(f"Anybody who reaches {host}:{port} can change the labels and read this user's files.")
            teller = Teller(path_of(workspace, given.fingerprint), lambda: standing(fo, dataset), LEARN, SHARE)
            turn = _Reorder(lambda: reorder(fo, dataset, given, workspace), lambda: dataset.match_tags(DONE).count())
            with contextlib.suppress(KeyboardInterrupt):
                while server.child.poll() is None:
                    job.check()
                    time.sleep(POLL)
                    turn.look()
                    teller.look()
                raise SetupError(f"The FiftyOne App on port {port} ended by itself; open the review again.")


class _Reorder:
    """Orders the queue anew once more images are done, for a small part of the time at most."""

    def __init__(self, reorder: Callable[[], None], done: Callable[[], int]) -> None:
        self._reorder, self._done = reorder, done
        self._seen, self._next = done(), time.monotonic() + LEARN

    def look(self) -> None:
        """Do so if it is time."""
        if time.monotonic() < self._next:
            return
        begun, count = time.monotonic(), self._done()
        if count != self._seen:
            self._seen = count
            self._reorder()
        self._next = time.monotonic() + max(LEARN, SHARE * (time.monotonic() - begun))


def tunnel(port: int) -> str:
    """Return the command that lets a reviewer on another machine reach a port of this one."""
    return f"ssh -N -L {port}:127.0.0.1:{port} {user()}@{socket.gethostname()}"


def check_address(address: str, allow_remote: bool = False) -> None:
    """Refuse to serve the App to anybody but this machine, unless that is asked for.

    Raises:
        InputError: the address is not 127.0.0.1 or localhost, and that is not allowed.
    """
    if address not in OWN and (not allow_remote or not address):
        raise InputError(
            f"Expected the address 127.0.0.1 for the FiftyOne App; found '{address}'. The App has no login and hands "
            "out any file that this process can read, so it serves this machine alone; reach it from elsewhere through "
            "an ssh tunnel (ssh -N -L 5151:127.0.0.1:5151 user@machine). In a network where everybody may do both, "
            "--allow-remote opens it."
        )


def check_port(port: int, address: str = "127.0.0.1") -> None:
    """Say at once that a port is taken; FiftyOne would try for a minute.

    Raises:
        InputError: the port is no port, or somebody listens there, or the address is not one of this machine.
    """
    if not 0 < port <= LAST_PORT:
        raise InputError(f"Expected a port from 1 to {LAST_PORT} for the FiftyOne App; found {port}.")
    host = "127.0.0.1" if address in OWN else address
    if _problem(host, 0):
        raise InputError(f"Expected an address of this machine for the FiftyOne App; found '{address}'.")
    if _problem(host, port):
        other = next((p for p in range(port + 1, LAST_PORT + 1) if not _problem(host, p)), free_port())
        raise InputError(
            f"Expected a free port for the FiftyOne App; {port} is taken (or not allowed). Try {other}, which is free."
        )


def _problem(host: str, port: int) -> OSError | None:
    """Return what keeps a server from listening there."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return error
    return None


def _start(fo: Any, dataset: Any) -> str:
    """Return what of the App's address names a data set and the view to begin with: the audit, where there is one."""
    slug = fo.core.utils.to_slug
    first = next((name for name in AUDIT.values() if dataset.has_saved_view(name)), None)
    return f"{slug(dataset.name)}?view={slug(first)}" if first else str(slug(dataset.name))


def _seen(host: str) -> str:
    """Return a host that a browser can open, for an address that means all of them."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104


@contextlib.contextmanager
def _alone(workspace: Path, run: str, port: int, host: str) -> Iterator[Any]:
    """Hold the review of a run while the block runs; yield what writes down where it is, for whoever comes second.

    The lock is the operating system's, so that a killed review leaves none behind.
    """
    folder = workspace / "mongo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The review needs the folder {folder}, which cannot be made ({error}).") from error
    path = folder / f"app-{re.sub(r'[^A-Za-z0-9_.-]', '_', run)}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(_second(run, path)) from None

        def tell(url: str) -> None:
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "user": user(), "url": url}))
            file.flush()

        tell("")
        try:
            yield tell
        finally:
            file.truncate(0)


def _second(run: str, path: Path) -> str:
    """Return what a second reviewer of a run is told."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        who = f"by {there['user']}, process {there['pid']} on {there['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        there, who = {}, "by another process"
    where = (
        f"Open {there['url']} there" if there.get("url") else "It is just starting; open its address once it says it"
    )
    return (
        f"The review of '{run}' is open already ({who}). {where}, or through a tunnel: FiftyOne has one session that "
        "all browsers share, so whoever opens it sees the same view and works on the same labels; agree who does which "
        "images. To open it here instead, close it there first (Ctrl-C)."
    )


def _patient(service: Any) -> Any:
    """Return FiftyOne's server as one that waits as long as its process lives, and loads nothing from elsewhere."""

    class Server(service.ServerService):  # type: ignore[misc]  # FiftyOne has no types
        @property
        def command(self) -> list[str]:
            python, _, *arguments = super().command
            return [python, "-m", "da_kd.stages.review.serve", *arguments]

        def _wait_for_child_port(self, port: int | None = None, timeout: float = PATIENCE) -> Any:
            begun = time.monotonic()
            while True:
                try:
                    return super()._wait_for_child_port(port=port, timeout=LISTEN)
                except service.ServiceListenTimeout:
                    if self.child.poll() is not None or time.monotonic() - begun > timeout:
                        raise

    return Server


@contextlib.contextmanager
def _server(port: int, host: str) -> Iterator[Any]:
    """Run FiftyOne's server as a process of its own that ends with ours, however that ends."""
    service = importlib.import_module("fiftyone.core.service")
    server = None
    try:
        try:
            server = _patient(service)(port, address=host, do_not_track=True)
        except (service.ServiceException, OSError) as error:
            raise SetupError(
                f"The FiftyOne App did not start on port {port} ({error}). What is decided so far is kept; open the "
                "review again, on another --port or when the machine is less busy."
            ) from error
        yield server
    finally:
        if server is not None:
            server.stop()
            server._disabled = True  # or it stops itself once more when it is forgotten
