"""The labels in front of a person: their data set made or found again, and what they did in it taken back.

What was decided is found by comparing with the snapshot, and goes into the journal; must not know what becomes of it
there, nor runs and the terminal.
"""

from __future__ import annotations

import getpass
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import journal, snapshots
from da_kd.stages.review.compare import compare
from da_kd.stages.review.opening import for_person, open_dataset
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
    :mod:`da_kd.stages.review.snapshots`).
    A decision that stands in the journal and was undone since is withdrawn by an entry of its own. May be called as
    often as one likes, also while another process serves the App.

    Raises:
        InputError: these labels have not been opened for a person.
        SetupError: FiftyOne or its database is not there.
        DataError: the journal cannot be read or written.
    """
    with open_room(workspace, job) as fo:
        shown = datasets.find(fo, given.run, for_person(given))
        if shown is None:
            raise InputError(
                f"Expected a review of '{given.run}' to take back, but these labels have not been opened for one. "
                "Open the review first."
            )
        images, name = datasets.read_back(shown), datasets.identity(shown)
    entries = _decisions(images, name, journal.read(workspace, job), given.table.vocabulary, job)
    count = journal.append(workspace, entries)
    job.note(f"Review: {count} new decision(s) from the data set '{name.partition('@')[0]}'.")
    snapshots.keep(given, workspace, job)
    return count


def _decisions(
    images: list[Any], dataset: str, written: list[journal.Entry], vocabulary: tuple[str, ...], job: Job
) -> list[journal.Entry]:
    """Return what a person did by now, and a withdrawal of what stands in the journal and was undone."""
    when, who = datetime.now(UTC).isoformat(timespec="seconds"), user()
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


def user() -> str:
    """Return the person's name on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for the user, as in some containers
        return "unknown"
