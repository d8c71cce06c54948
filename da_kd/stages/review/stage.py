"""The stage *review*: pseudo labels in front of a rule or a person, and what they decided back in the labels.

Four modes. ``auto``: a rule decides, and FiftyOne shows what it decided. ``human``: :func:`open_for_person`, then
the person works, then :func:`take_back` and :func:`finish`. ``skip``: :func:`finish` alone, and FiftyOne is never
imported. ``simulate``: :func:`simulated`, with labels at hand. In every mode the journal is laid over the labels
first, so that no round undoes what a person did. Knows the order of things; must not know runs, the terminal, nor how
FiftyOne stores a box.
"""

from __future__ import annotations

import contextlib
import getpass
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data.imageset import ImageSet
from da_kd.data.similar import image_hashes
from da_kd.detections import DetectionTable, State
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.recipe import Audit, Review
from da_kd.stages.review import journal, mongod, overlay
from da_kd.stages.review.audit import compare_with_truth, figures
from da_kd.stages.review.audited import hold_back, truth_of_audit
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.queue import build_queue
from da_kd.stages.review.rules import apply_rule
from da_kd.stages.review.sample import Drawn, draw
from da_kd.stages.review.simulate import random_order, simulate

DECISIONS = ("accepted", "rejected", "relabelled", "moved", "added", "complete")
CONFLICTS = "conflicts.json"
AUDIT = "audit.json"


@dataclass(frozen=True)
class ReviewInput:
    """What a review needs.

    Attributes:
        root: the folder that image keys count from.
        table: the fused labels.
        run: what the data set in FiftyOne is called.
        fingerprint: of the fused labels.
        round: of self-training that the labels come from, from 1.
        audit: which images are to measure.
        seed: of the audit's draw.
    """

    root: Path
    table: DetectionTable
    run: str
    fingerprint: str
    round: int = 1
    audit: Audit = field(default_factory=Audit)
    seed: int = 0


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
    table = apply_rule(overlay.apply(given.table, entries, job), config.accept)
    with open_room(workspace, job) as fo, _importing(workspace, job):
        content = f"auto:{datasets.content_hash(table)}"
        shown = datasets.import_table(fo, given.run, table, given.root, job, fingerprint=content, tag=True)
        name = shown.name
    _write(table, entries, out, name, job)


def open_for_person(given: ReviewInput, workspace: Path, job: Job) -> str:
    """Lay the labels in front of a person: make their data set, or find it again as it was left. Return its name.

    Raises:
        SetupError: FiftyOne or its database is not there.
        DataError: labels or journal cannot be read or stored.
    """
    from da_kd.stages.review.room import open_room

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
        out: an existing folder; gets ``labels.parquet`` and ``review.json``, and ``audit.json`` where the recipe asks
            for an audit; audited images are then not to be trained on, unless it releases them.
        job: where warnings go.

    Raises:
        DataError: the journal cannot be read.
    """
    entries = journal.read(workspace, job)
    table = overlay.apply(given.table, entries, job)
    decided = journal.in_force(entries, table.sha) if config.mode == "human" else []
    if config.mode == "human" and config.audit.images:
        table = _measure(config, given, entries, table, out, job)
    _write(table, entries, out, decided[-1].dataset.partition("@")[0] if decided else "", job)


def _measure(
    config: Review, given: ReviewInput, entries: list[journal.Entry], table: DetectionTable, out: Path, job: Job
) -> DetectionTable:
    """Write what the audit says of the labels into ``audit.json``; return the labels without images that measure."""
    truth, chances = truth_of_audit(given.table, entries)
    said = figures(compare_with_truth(given.table, truth, chances), config.audit.beta, given.seed)
    (out / AUDIT).write_text(json.dumps(said, indent=1) + "\n")
    job.note(f"Audit: {len(chances)} of {config.audit.images} images are done; {AUDIT} says what they measure.")
    return table if config.audit.release else hold_back(table, chances)


def simulated(
    config: Review, given: ReviewInput, truth: DetectionTable, seed: int, workspace: Path, out: Path, job: Job
) -> None:
    """Write the labels as a reviewer who knows the truth leaves them; nothing of it goes into the journal.

    Args:
        config: its ``simulate`` says how much the reviewer looks at, in which order, and how often they err.
        given: the fused labels.
        truth: labels of the same images.
        seed: of a random order, and of errors.
        workspace: holds the journal of real people, which is laid over the labels first.
        out: an existing folder; gets ``labels.parquet`` and ``review.json``.
        job: where progress goes.

    Raises:
        DataError: there is no truth for these images, or the journal cannot be read.
    """
    entries = journal.read(workspace, job)
    table = overlay.apply(given.table, entries, job)
    if config.simulate.order == "queue":
        order = build_queue(table, image_hashes(ImageSet(given.root, table), job)).order
    else:
        order = random_order(table, seed)
    done = simulate(table, truth, order, config.simulate, seed)
    _write(overlay.apply(table, done.entries, job), [*entries, *done.entries], out, "", job)
    job.note(f"A simulated reviewer spent {done.boxes} boxes and finished {done.images} images.")
    if done.unknown:
        job.warn(f"{done.unknown} images were passed over by the simulated reviewer: no truth is known of them.")


def _for_person(given: ReviewInput) -> str:
    """Return the fingerprint of a data set that a person works in: one for each state of the fused labels."""
    return f"human:{given.fingerprint}"


def open_dataset(fo: Any, given: ReviewInput, workspace: Path, job: Job) -> Any:
    """Return the person's data set; what they decided in earlier rounds stands in it from the start."""
    from da_kd.stages.review import dataset as datasets

    _tell_missing(given, job)
    with _importing(workspace, job):
        table = overlay.apply(given.table, journal.read(workspace, job), job)
        print_ = _for_person(given)
        found = datasets.find(fo, given.run, print_)
        guide = _guide(given, table, job) if found is None else _audit_alone(given, table)
        shown = datasets.import_table(fo, given.run, table, given.root, job, fingerprint=print_, guide=guide)
        more = datasets.extend_audit(fo, shown, table.key, guide) if found is not None else 0
        if more:
            job.note(f"Audit: {more} more images are to be labelled completely; what was done before stays.")
        return shown


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


def _guide(given: ReviewInput, table: DetectionTable, job: Job) -> Guide:
    """Return in which order the person is to look, and why, and which images measure."""
    queue = build_queue(table, image_hashes(ImageSet(given.root, table), job))
    audit = drawn(given.table, given.audit, given.seed) if given.audit.images else None
    return Guide.of(queue, table, audit, blind=given.audit.blind, round=given.round)


def drawn(table: DetectionTable, audit: Audit, seed: int) -> Drawn:
    """Return the images that measure; drawn from the labels as they were fused."""
    boxes = np.bincount(table.image_index[np.isin(table.state, (State.KEPT, State.UNCERTAIN))], minlength=len(table))
    return draw(table, audit.images, seed, boxes if audit.draw == "boxes" else None)


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


def _write(table: DetectionTable, entries: list[journal.Entry], out: Path, dataset: str, job: Job) -> None:
    """Write the labels, the count of what was decided on their images, and where the teachers say otherwise."""
    against = overlay.conflicts(table)
    if against:
        (out / CONFLICTS).write_text(json.dumps(against, indent=1) + "\n")
        first = against[0]
        job.warn(
            f"{len(against)} box(es) of the teachers contradict what a person decided on the same object (e.g. "
            f"{first['image']}: '{first['teachers']['class']}' where a person says '{first['person']['class']}'). Both "
            f"stay; {CONFLICTS} beside the labels lists them all. Review these images again to settle it."
        )
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
