"""The labels in front of a person: their data set made or found again, and what they did in it taken back.

What was decided is found by comparing with the snapshot, and goes into the journal; must not know what becomes of it
there, nor runs and the terminal.
"""

from __future__ import annotations

import getpass
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data.imageset import ImageSet
from da_kd.data.similar import image_hashes
from da_kd.detections import DetectionTable, State
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.recipe import Audit
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import growing, journal, overlay
from da_kd.stages.review.chance import Judged
from da_kd.stages.review.compare import compare
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.queue import build_queue, learned
from da_kd.stages.review.room import importing, open_room
from da_kd.stages.review.sample import Drawn, draw
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

    A decision that stands in the journal and was undone since is withdrawn by an entry of its own. May be called as
    often as one likes, also while another process serves the App.

    Raises:
        InputError: these labels have not been opened for a person.
        SetupError: FiftyOne or its database is not there.
        DataError: the journal cannot be read or written.
    """
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


def _for_person(given: ReviewInput) -> str:
    """Return the fingerprint of a data set that a person works in: one for each state of the fused labels."""
    return f"human:{given.fingerprint}"


def open_dataset(fo: Any, given: ReviewInput, workspace: Path, job: Job) -> Any:
    """Return the person's data set; what they decided in earlier rounds stands in it from the start."""
    _tell_missing(given, job)
    with importing(workspace, job):
        entries = journal.read(workspace, job)
        table = overlay.apply(given.table, entries, job)
        print_ = _for_person(given)
        found = datasets.find(fo, given.run, print_)
        guide = _guide(given, table, entries, job) if found is None else _audit_alone(given, table)
        shown = datasets.import_table(fo, given.run, table, given.root, job, fingerprint=print_, guide=guide)
        more = growing.extend_audit(fo, shown, table.key, guide) if found is not None else 0
        if more:
            job.note(f"Audit: {more} more images are to be labelled completely; what was done before stays.")
        if found is not None:
            reorder(fo, shown, given, workspace)
        growing.ask_again(fo, shown, _asked_again(given, entries), given.root, blind=given.audit.blind)
        return shown


def _asked_again(given: ReviewInput, entries: list[journal.Entry]) -> DetectionTable:
    """Return the first images that the audit drew, as they were fused, but for those that were done twice already."""
    images = drawn(given.table, given.audit, given.seed).images[: given.audit.twice]
    done = journal.complete(entries, [journal.second_look(given.table.sha[at]) for at in images])
    return given.table.take([at for at in images if journal.second_look(given.table.sha[at]) not in done])


def _audit_alone(given: ReviewInput, table: DetectionTable) -> Guide:
    """Return a guide for a data set that is there: its queue stays, its audit may grow."""
    guide = Guide.plain(table)
    if not given.audit.images:
        return guide
    audit = drawn(given.table, given.audit, given.seed)
    guide.draw[audit.images] = np.arange(len(audit.images))
    return replace(guide, probability=audit.probability, blind=given.audit.blind)


def _tell_missing(given: ReviewInput, job: Job) -> None:
    """Say which images are not where they were when the labels were made; the App shows them as broken."""
    readable = [key for key, reason in zip(given.table.key, given.table.reason, strict=True) if not reason]
    gone = [key for key in readable if not (given.root / key).is_file()]
    if gone:
        job.warn(
            f"{len(gone)} of {len(readable)} images are not in {given.root} any more (e.g. {gone[0]}), and the App "
            "cannot show them. Put them back, or name their folder in the recipe; decisions on them are kept anyway."
        )


def _guide(given: ReviewInput, table: DetectionTable, entries: list[journal.Entry], job: Job) -> Guide:
    """Return in which order the person is to look, and why, and which images measure."""
    hashes = image_hashes(ImageSet(given.root, table), job)
    queue = build_queue(table, hashes, known=_known(given, table, entries))
    audit = drawn(given.table, given.audit, given.seed) if given.audit.images else None
    return Guide.of(queue, table, audit, blind=given.audit.blind, round=given.round, hashes=hashes)


def reorder(fo: Any, dataset: Any, given: ReviewInput, workspace: Path) -> None:
    """Order the images that nobody has touched anew, by what was said of the others."""
    here = compare(datasets.read_back(dataset), datasets.identity(dataset))
    entries = [*journal.read(workspace), *here]
    table = overlay.apply(given.table, entries)
    known = _known(given, table, entries)
    if known is not None:
        queue = build_queue(table, growing.hashes_of(fo, dataset, table.key), known=known)
        growing.reorder(fo, dataset, table.key, queue, {entry.sha for entry in here})


def _known(given: ReviewInput, table: DetectionTable, entries: list[journal.Entry]) -> Judged | None:
    """Return what the images that are done say of the fused labels."""
    done = journal.complete(entries, table.sha)
    return learned(given.table, table, [at for at, sha in enumerate(table.sha) if sha in done and table.ok[at]])


def drawn(table: DetectionTable, audit: Audit, seed: int) -> Drawn:
    """Return the images that measure; drawn from the labels as they were fused."""
    boxes = np.bincount(table.image_index[np.isin(table.state, (State.KEPT, State.UNCERTAIN))], minlength=len(table))
    return draw(table, audit.images, seed, boxes if audit.draw == "boxes" else None)


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
