"""What people did in data sets of FiftyOne, written into the journal; what was undone since is withdrawn there.

Found by comparing with the snapshot. Knows data sets and the journal; must not know what becomes of an entry, nor runs.
"""

from __future__ import annotations

import getpass
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from da_kd.detections import Vocabulary
from da_kd.events import Job
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import journal
from da_kd.stages.review.compare import Reviewed, compare


def take(dataset: Any, workspace: Path, vocabulary: Vocabulary, job: Job) -> int:
    """Write what people did in a data set into the journal; return how many entries are new.

    A decision that stands in the journal and was undone since is withdrawn by an entry of its own.

    Raises:
        DataError: the journal cannot be read or written.
    """
    images, name = datasets.read_back(dataset), datasets.identity(dataset)
    return journal.append(workspace, _entries(images, name, journal.read(workspace, job), vocabulary, job))


def take_older(fo: Any, name: str, fingerprint: str, workspace: Path, vocabulary: Vocabulary, job: Job) -> None:
    """Do so in the data sets in which people worked on other labels of a run.

    Where a review was not closed in order before the labels changed, nothing else asks for what was done in it.

    Args:
        fo: the module, connected.
        name: what data sets of the run are called.
        fingerprint: of the data set that is not meant.
        workspace: holds the journal.
        vocabulary: classes of the run.
        job: where it is told.
    """
    for dataset in datasets.of_people(fo, name):
        if datasets.print_of(dataset) != fingerprint:
            count = take(dataset, workspace, vocabulary, job)
            if count:
                job.note(f"Review: {count} new decision(s) from the data set '{dataset.name}', which had other labels.")


def _entries(
    images: list[Reviewed], dataset: str, written: list[journal.Entry], vocabulary: Vocabulary, job: Job
) -> list[journal.Entry]:
    """Return what people did by now, and a withdrawal of what stands in the journal and was undone."""
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
