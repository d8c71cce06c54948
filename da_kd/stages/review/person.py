"""The labels in front of a person: their data set made or found again, and what they did in it taken back.

Must not know what becomes of a decision in the journal, nor runs and the terminal.
"""

from __future__ import annotations

from pathlib import Path

from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import decisions, snapshots
from da_kd.stages.review.opening import open_dataset
from da_kd.stages.review.room import open_room
from da_kd.stages.review.stage import ReviewInput


def open_for_person(given: ReviewInput, workspace: Path, job: Job) -> str:
    """Lay the labels in front of a person: make their data set, or find it again as it was left. Return its name.

    Raises:
        SetupError: FiftyOne or its database is not there.
        DataError: labels or journal cannot be read or stored.
    """
    with open_room(workspace, job) as fo:
        return str(open_dataset(fo, given, workspace, job).name)


def take_back(given: ReviewInput, workspace: Path, job: Job) -> int:
    """Write what the person did since the data set was made into the journal; return how many entries are new.

    What stands in the journal then is kept as a snapshot of its own as well (see
    :mod:`da_kd.stages.review.snapshots`). May be called as often as one likes, also while another process serves the
    App.

    Raises:
        InputError: these labels have not been opened for a person.
        SetupError: FiftyOne or its database is not there.
        DataError: the journal cannot be read or written.
    """
    with open_room(workspace, job) as fo:
        shown = datasets.find(fo, given.run, datasets.for_person(given.fingerprint))
        if shown is None:
            raise InputError(
                f"Expected a review of '{given.run}' to take back, but these labels have not been opened for one. "
                "Open the review first."
            )
        count = decisions.take(shown, workspace, given.table.vocabulary, job)
        job.note(f"Review: {count} new decision(s) from the data set '{shown.name}'.")
    snapshots.keep(given, workspace, job)
    return count
