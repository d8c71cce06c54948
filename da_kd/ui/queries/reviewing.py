"""What a review has to do and has done, from the disk; FiftyOne stays out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.detections import DetectionTable
from da_kd.pipeline import Run
from da_kd.stages.review.queue import Queue, build_queue
from da_kd.ui import processes
from da_kd.ui.queries.labels import fused
from da_kd.ui.queries.runs import outputs
from da_kd.ui.queries.sets import memory

_ADDRESS = re.compile(r" at (http://[^\s()]+)")
_TUNNEL = re.compile(r"(ssh -N -L \S+ \S+?),? then")
FIRST_PORT, _TRIED = 5151, 50


@dataclass(frozen=True)
class Session:
    """The FiftyOne App of a run: ``closed``, ``starting`` or ``open``; where it is, the tunnel to it, and its log."""

    state: str
    url: str
    tunnel: str
    log: str


def session(run: Run) -> Session:
    """Return how the App of a run stands."""
    last, log = processes.launched(run.folder, "review"), processes.log_of(run.folder, "review")
    alive = last is not None and last.alive
    url, tunnel = _ADDRESS.search(log), _TUNNEL.search(log)
    state = ("open" if url else "starting") if alive else "closed"
    return Session(state, url.group(1) if alive and url else "", tunnel.group(1) if alive and tunnel else "", log)


def decided(run: Run) -> Mapping[str, Any]:
    """Return how many boxes were kept, accepted, rejected, ... as they stand in the labels; empty without any."""
    return _json(run, "review", "review.json")


def audit(run: Run) -> Mapping[str, Any]:
    """Return what the audit measured, empty where there was none."""
    return _json(run, "audit", "audit.json")


def queue(run: Run) -> tuple[DetectionTable, Queue]:
    """Return the fused labels of a run and the order in which a person best looks at them.

    Raises:
        InputError: they are not made yet.
    """
    table = fused(run)
    found: Queue = memory.get(("queue", outputs(run)["fuse"]), lambda: build_queue(table))
    return table, found


def free_port() -> int:
    """Return the first free port from FiftyOne's own on."""
    import socket

    for port in range(FIRST_PORT, FIRST_PORT + _TRIED):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    return FIRST_PORT


def _json(run: Run, step: str, name: str) -> dict[str, Any]:
    place: Path | None = outputs(run).get(step)
    try:
        tree = json.loads((place / name).read_text(encoding="utf-8")) if place else {}
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
