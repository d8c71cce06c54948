"""The stage *review*: pseudo labels in front of a rule or a person, and what they decided back in the labels.

Three modes. ``auto``: a rule decides, and FiftyOne shows what it decided. ``human``: :func:`open_for_person`, then
the person works, then :func:`take_back` and :func:`finish`. ``skip``: :func:`finish` alone, and FiftyOne is never
imported. In every mode the journal is laid over the labels first, so that no round undoes what a person did. Knows
the order of things; must not know runs, the terminal, nor how FiftyOne stores a box.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from da_kd.detections import DetectionTable, State
from da_kd.errors import InputError, SetupError
from da_kd.events import Job
from da_kd.recipe.models import Review
from da_kd.stages.review import journal, mongod
from da_kd.stages.review.rules import apply_rule

POLL = 0.5  # seconds between two looks whether a person wants the App to close
LAST_PORT = 65535
DECISIONS = ("accepted", "rejected", "relabelled", "moved", "added")


@dataclass(frozen=True)
class ReviewInput:
    """What a review needs.

    Attributes:
        root: the folder that image keys count from.
        table: the fused labels.
        run: what the data set in FiftyOne is called.
        fingerprint: of the fused labels.
    """

    root: Path
    table: DetectionTable
    run: str
    fingerprint: str


def auto(config: Review, given: ReviewInput, workspace: Path, out: Path, job: Job) -> None:
    """Apply the rule, show its decisions in FiftyOne as tags, and write the labels.

    Args:
        config: its ``accept`` is the rule.
        given: the fused labels and their images.
        workspace: holds the journal and the database.
        out: an existing folder; gets ``labels.parquet`` and ``review.json``.
        job: where progress goes.

    Raises:
        SetupError: FiftyOne or its database is not there.
        DataError: labels or journal cannot be read or stored.
    """
    from da_kd.stages.review import dataset as datasets
    from da_kd.stages.review.room import open_room

    entries = journal.read(workspace, job)
    table = apply_rule(journal.apply(given.table, entries, job), config.accept)
    with open_room(workspace, job) as fo, _importing(workspace, job):
        content = f"auto:{datasets.content_hash(table)}"
        shown = datasets.import_table(fo, given.run, table, given.root, job, fingerprint=content, tag=True)
        name = shown.name
    _write(table, entries, out, name)


def open_for_person(given: ReviewInput, workspace: Path, job: Job) -> str:
    """Lay the labels in front of a person: make their data set, or find it again as it was left. Return its name.

    Raises:
        SetupError: FiftyOne or its database is not there.
        DataError: labels or journal cannot be read or stored.
    """
    from da_kd.stages.review.room import open_room

    with open_room(workspace, job) as fo:
        return str(_open(fo, given, workspace, job).name)


def take_back(given: ReviewInput, workspace: Path, job: Job) -> int:
    """Write what the person did since the data set was made into the journal; return how many entries are new.

    A decision that stands in the journal and was undone since is withdrawn by an entry of its own. May be called as
    often as one likes, also while another process serves the App.

    Raises:
        InputError: these labels have not been opened for a person.
        SetupError: FiftyOne or its database is not there.
        DataError: the journal cannot be read or written.
    """
    from da_kd.stages.review import dataset as datasets
    from da_kd.stages.review.room import open_room

    with open_room(workspace, job) as fo:
        shown = datasets.find(fo, given.run, _for_person(given))
        if shown is None:
            raise InputError(
                f"Expected a review of '{given.run}' to take back, but these labels have not been opened for one. "
                "Open the review first."
            )
        images, name = datasets.read_back(shown), datasets.identity(shown)
    entries = _decisions(images, name, journal.read(workspace, job), given.table.vocabulary, job)
    count = journal.append(workspace, entries)
    job.note(f"Review: {count} new decision(s) from the data set '{name.partition('@')[0]}'.")
    return count


def finish(config: Review, given: ReviewInput, workspace: Path, out: Path, job: Job) -> None:
    """Write the labels with the journal laid over them; FiftyOne stays out of it.

    Args:
        config: the section of the recipe; the rule of ``accept`` is not applied here.
        given: the fused labels.
        workspace: holds the journal.
        out: an existing folder; gets ``labels.parquet`` and ``review.json``.
        job: where warnings go.

    Raises:
        DataError: the journal cannot be read.
    """
    entries = journal.read(workspace, job)
    table = journal.apply(given.table, entries, job)
    decided = journal.in_force(entries, table.sha) if config.mode == "human" else []
    _write(table, entries, out, decided[-1].dataset.partition("@")[0] if decided else "")


def launch_app(given: ReviewInput, workspace: Path, port: int, job: Job, address: str = "127.0.0.1") -> None:
    """Serve the FiftyOne App for these labels on this machine alone, until Ctrl-C or until the job is stopped.

    Raises:
        InputError: the port is taken or none, or the address is not this machine's own.
        SetupError: FiftyOne, its database or its server does not start.
        Cancelled: a person stopped the job.
    """
    check_address(address)
    check_port(port)
    from da_kd.stages.review.room import open_room

    with open_room(workspace, job) as fo:
        name = _open(fo, given, workspace, job).name
        url = f"http://127.0.0.1:{port}/datasets/{fo.core.utils.to_slug(name)}"
        with _server(port) as server:
            job.note(f"Review '{name}' at {url} (Ctrl-C closes it; every edit is stored at once).")
            job.note(
                "From another machine: ssh -N -L "
                f"{port}:127.0.0.1:{port} {_user()}@{socket.gethostname()}, then open the same address there."
            )
            with contextlib.suppress(KeyboardInterrupt):
                while server.child.poll() is None:
                    job.check()
                    time.sleep(POLL)
                raise SetupError(f"The FiftyOne App on port {port} ended by itself; open the review again.")


def check_address(address: str) -> None:
    """Refuse to serve the App to anybody but this machine.

    Raises:
        InputError: the address is not 127.0.0.1 or localhost.
    """
    if address not in ("127.0.0.1", "localhost"):
        raise InputError(
            f"Expected the address 127.0.0.1 for the FiftyOne App; found '{address}'. The App has no login and hands "
            "out any file that this process can read, so it serves this machine alone; reach it from elsewhere through "
            "an ssh tunnel (ssh -N -L 5151:127.0.0.1:5151 user@machine)."
        )


def check_port(port: int) -> None:
    """Say at once that a port is taken; FiftyOne would try for a minute.

    Raises:
        InputError: the port is no port, or somebody listens there.
    """
    if not 0 < port <= LAST_PORT:
        raise InputError(f"Expected a port from 1 to {LAST_PORT} for the FiftyOne App; found {port}.")
    if not mongod.port_is_free(port):
        other = next((p for p in range(port + 1, LAST_PORT + 1) if mongod.port_is_free(p)), mongod.free_port())
        raise InputError(
            f"Expected a free port for the FiftyOne App; {port} is taken (or not allowed). Try {other}, which is free."
        )


def _for_person(given: ReviewInput) -> str:
    """Return the fingerprint of a data set that a person works in: one for each state of the fused labels."""
    return f"human:{given.fingerprint}"


def _open(fo: Any, given: ReviewInput, workspace: Path, job: Job) -> Any:
    """Return the person's data set; what they decided in earlier rounds stands in it from the start."""
    from da_kd.stages.review import dataset as datasets

    with _importing(workspace, job):
        table = journal.apply(given.table, journal.read(workspace, job), job)
        return datasets.import_table(fo, given.run, table, given.root, job, fingerprint=_for_person(given))


@contextlib.contextmanager
def _importing(workspace: Path, job: Job) -> Iterator[None]:
    """Let one process at a time look for a data set and make it."""
    folder = workspace / "mongo"
    folder.mkdir(parents=True, exist_ok=True)
    with mongod.exclusive(folder / "import.lock", job, wait=600):
        yield


def _decisions(
    images: list[Any], dataset: str, written: list[journal.Entry], vocabulary: tuple[str, ...], job: Job
) -> list[journal.Entry]:
    """Return what a person did by now, and a withdrawal of what stands in the journal and was undone."""
    from da_kd.stages.review.compare import compare

    when, who = datetime.now(UTC).isoformat(timespec="seconds"), _user()
    entries = compare(images, dataset, when, who)
    strange = Counter(e.after.name for e in entries if e.after is not None and e.after.name not in vocabulary)
    if strange:
        job.warn(
            f"Classes that this recipe does not have were given in review: {dict(strange)}; such labels do not count."
        )
    current = {entry.label for entry in entries}
    seen = {image.sha for image in images}
    for old in journal.in_force(written, seen):
        if old.dataset == dataset and old.label not in current:
            entries.append(journal.Entry(old.sha, "withdrawn", old.label_id, dataset, when=when, who=who))
    return entries


def _user() -> str:
    """Return the person's name on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for the user, as in some containers
        return "unknown"


@contextlib.contextmanager
def _server(port: int) -> Iterator[Any]:
    """Run FiftyOne's server as a process of its own that ends with ours, however that ends."""
    service = importlib.import_module("fiftyone.core.service")
    server = None
    try:
        try:
            server = service.ServerService(port, address="127.0.0.1", do_not_track=True)
        except (service.ServiceException, OSError) as error:
            raise SetupError(f"The FiftyOne App did not start on port {port} ({error}).") from error
        yield server
    finally:
        if server is not None:
            server.stop()
            server._disabled = True  # or it stops itself once more when it is forgotten


def _write(table: DetectionTable, entries: list[journal.Entry], out: Path, dataset: str) -> None:
    """Write the labels and the count of what was decided on their images."""
    decided = Counter(entry.action for entry in journal.in_force(entries, table.sha))
    states = Counter(int(state) for state in table.state)
    shown = (State.KEPT, State.UNCERTAIN, State.DROPPED)
    figures = {
        "images": int(table.ok.sum()),
        **{state.name.lower(): states[int(state)] for state in shown},
        **{action: decided[action] for action in DECISIONS},  # type: ignore[index]
        "dataset": dataset,
    }
    table.write(out / "labels.parquet")
    (out / "review.json").write_text(json.dumps(figures, indent=2) + "\n")
