"""Numbered snapshots of what people decided: COCO JSON, in which every box says who decided on it, when and what.

They stand in ``<workspace>/journal/snapshots/<run>/0001.json``, ... and hold the images that somebody decided on, as
they are after that: boxes that stand are annotations, those that a person threw away are listed beside them. Taking
back what is nothing new makes none. Knows tables, the journal and the disk; must not know FiftyOne.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data.coco import NAMESPACE
from da_kd.data.export import coco_dict
from da_kd.detections import DetectionTable, State
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.hashing import hash_json
from da_kd.stages.review import journal, overlay
from da_kd.stages.review.journal import Entry
from da_kd.stages.review.stage import ReviewInput
from da_kd.store import write_json

_SHOWN = (State.KEPT, State.UNCERTAIN)


def folder_of(workspace: Path, run: str) -> Path:
    """Return where the snapshots of a run's review stand."""
    return workspace / "journal" / "snapshots" / re.sub(r"[^\w.-]", "_", run)


def keep(given: ReviewInput, workspace: Path, job: Job) -> Path | None:
    """Write what people decided on these images by now, under the next number; None where the last one says the same.

    Args:
        given: the fused labels and their run.
        workspace: holds the journal and the snapshots.
        job: where the snapshot's name goes.

    Raises:
        DataError: the journal cannot be read, or the snapshot cannot be written.
    """
    said = journal.in_force(journal.read(workspace), given.table.sha)
    if not said:
        return None
    folder = folder_of(workspace, given.run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return _next(given, said, folder, job)
    except OSError as error:
        raise DataError(
            f"A snapshot of the review cannot be written to {folder} ({error}); make room or mend its rights. The "
            "journal has every decision."
        ) from error


def _next(given: ReviewInput, said: Sequence[Entry], folder: Path, job: Job) -> Path | None:
    """Write the next snapshot, unless the last one says the same of the same labels."""
    last = max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()), default=0)
    digest = hash_json([given.fingerprint, [entry.as_json() for entry in said]])
    if last and _digest(folder / _name(last)) == digest:
        return None
    path = folder / _name(last + 1)
    about = {"snapshot": last + 1, "run": given.run, "labels": given.fingerprint, "digest": digest}
    write_json(path, _coco(given.table, said, about))
    job.note(f"Review: snapshot {last + 1} of what was decided is {path}.")
    return path


def _name(number: int) -> str:
    return f"{number:04}.json"


def _digest(path: Path) -> str:
    """Return what a snapshot says of its own content, "" where it cannot be read."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["info"][NAMESPACE]["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _coco(table: DetectionTable, said: Sequence[Entry], about: dict[str, Any]) -> dict[str, Any]:
    """Return the images that were decided on as a COCO object."""
    shas = {entry.sha for entry in said}
    rows = [row for row, sha in enumerate(table.sha) if sha in shas]
    now, origins = overlay.explained(table.take(rows), said)
    stand = np.isin(now.state, _SHOWN)
    tree = coco_dict(now.pick_boxes(stand))
    for annotation, at in zip(tree["annotations"], np.flatnonzero(stand).tolist(), strict=True):
        origin = origins[at]
        if origin is not None:
            annotation[NAMESPACE]["decision"] = _decision(origin)
    rejected = [entry.as_json() for entry in said if entry.action == "rejected"]
    complete = {entry.sha: _decision(entry) for entry in said if entry.action == "complete"}
    for image in tree["images"]:
        if image[NAMESPACE]["sha"] in complete:
            image[NAMESPACE]["complete"] = complete[image[NAMESPACE]["sha"]]
    return {**tree, "info": {**tree["info"], NAMESPACE: {**about, "rejected": rejected}}}


def _decision(entry: Entry) -> dict[str, Any]:
    """Return what was decided, by whom and when, and what had been there."""
    told = entry.as_json()
    return {name: told[name] for name in ("action", "who", "when", "dataset", "before") if told[name] is not None}
