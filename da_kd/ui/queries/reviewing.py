"""What a review has to do and has done, from the disk; FiftyOne stays out of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.detections import DetectionTable
from da_kd.errors import InputError
from da_kd.pipeline import Run, first
from da_kd.stages.review import journal, overlay, standing
from da_kd.stages.review.choice import known_by_now
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.queue import Queue, build_queue
from da_kd.ui import processes
from da_kd.ui.queries.runs import outputs
from da_kd.ui.queries.sets import memory, recipe_of, table_at

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


def ready(run: Run) -> bool:
    """Return whether there are pseudo labels to review."""
    return first(outputs(run), "fuse") in outputs(run)


def decided(run: Run) -> Counter[str]:
    """Return how often people did what to boxes and images of the target so far, also after the run's last sitting.

    Raises:
        InputError: there are no pseudo labels yet.
        DataError: the review journal cannot be read.
    """
    table, entries = _fused(run), _journal(run)
    found: Counter[str] = Counter(entry.action for entry in journal.in_force(entries, table.sha))
    if not found:  # whoever simulates a review, or accepts by rule, writes no journal
        told = _json(run, "review", "review.json")
        found.update({name: told[name] for name in journal.ACTIONS if isinstance(told.get(name), int)})
    return found


def version(run: Run) -> str:
    """Return what changes when what people decided was taken back."""
    return _changed(journal.path_of(run.workspace))


def looked(run: Run) -> str:
    """Return what changes when people did something in FiftyOne that is open."""
    place = _place(run)
    return _changed(standing.path_of(run.workspace, place.name)) if place else ""


def _changed(path: Path) -> str:
    return str(path.stat().st_mtime_ns) if path.is_file() else ""


def now(run: Run) -> Mapping[str, Any]:
    """Return how far the review is that is open now, empty where none is, or it has not told yet."""
    place = _place(run)
    return standing.read_standing(run.workspace, place.name) if place and session(run).state == "open" else {}


def audit(run: Run) -> Mapping[str, Any]:
    """Return what the audit measured, empty where there was none."""
    return _json(run, "audit", "audit.json")


def queue(run: Run) -> tuple[DetectionTable, Queue]:
    """Return the labels with what people decided so far, and the order in which a person best looks at the rest.

    Of copies of an image the first stands there. No image is read, so none is like another.

    Raises:
        InputError: there are none yet.
        DataError: the review journal cannot be read.
    """
    key = ("queue", _place(run), version(run))
    found: tuple[DetectionTable, Queue] = memory.get(key, lambda: _queue(run))
    return found


def _queue(run: Run) -> tuple[DetectionTable, Queue]:
    fused, entries, iou = each_once(_fused(run)), _journal(run), recipe_of(run).fuse.iou
    table = overlay.apply(fused, entries)
    return table, build_queue(table, fuse_iou=iou, known=known_by_now(fused, table, entries, iou))


def _place(run: Run) -> Path | None:
    """Return where the labels lie that a person reviews, None where they are not made."""
    return outputs(run).get(first(outputs(run), "fuse"))


def _fused(run: Run) -> DetectionTable:
    """Return the labels of the round that a person reviews."""
    place = _place(run)
    if place is None:
        raise InputError("There are no pseudo labels to review yet; make them on page 3.")
    return table_at(place / "labels.parquet")


def _journal(run: Run) -> list[journal.Entry]:
    key = ("journal", run.workspace, version(run))
    found: list[journal.Entry] = memory.get(key, lambda: journal.read(run.workspace))
    return found


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
