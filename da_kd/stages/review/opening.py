"""A person's data set: made, or found again and brought up to date, with the images that are to wait for them.

Knows which images come in, in which order, and what measures; must not know how FiftyOne stores a box, nor what becomes
of a decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.boxes import IntArray
from da_kd.data.imageset import ImageSet
from da_kd.data.similar import Hashes, image_hashes
from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.events import Job
from da_kd.recipe import Audit
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import extent as extents
from da_kd.stages.review import growing, journal, overlay
from da_kd.stages.review.chance import Judged
from da_kd.stages.review.choice import Choice, Standing, choose, known_by_now
from da_kd.stages.review.compare import compare
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.decisions import take_older
from da_kd.stages.review.extent import Extent
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.queue import queue_of, weigh
from da_kd.stages.review.room import importing
from da_kd.stages.review.sample import Drawn, draw
from da_kd.stages.review.stage import ReviewInput


@dataclass(frozen=True, eq=False)
class _Said:
    """What people decided on the images of a review by now.

    Attributes:
        entries: all of it, what stands in the data set alone included.
        here: content hashes of the images that were touched in the data set.
        table: the labels, with the entries laid over them.
        known: what the images that are done say of the fused labels.
        audit: which images measure.
    """

    entries: list[journal.Entry]
    here: set[str]
    table: DetectionTable
    known: Judged | None
    audit: Drawn

    def standing(self, there: BoolArray) -> Standing:
        """Return how images stand, given (I,) which are in front of the person."""
        return Standing.of(self.table, self.entries, there, self.audit.images)


def open_dataset(fo: Any, given: ReviewInput, workspace: Path, job: Job) -> Any:
    """Return the person's data set; what they decided in earlier rounds stands in it from the start.

    Where the set has more images than may wait at once, the queue's first come in, and the next ones at every opening.
    """
    given, print_ = replace(given, table=each_once(given.table)), datasets.for_person(given.fingerprint)
    with importing(workspace, job):
        take_older(fo, given.run, print_, workspace, given.table.vocabulary, job)
        found = datasets.find(fo, given.run, print_)
        said = _said(given, found, workspace, job)
        hashes, hashed, there = _looks(fo, found, given)
        labels, hash_of = weigh(said.table, given.fuse_iou, said.known), _hasher(given, hashes, hashed, job)
        choice = choose(labels, said.standing(there), given.most, hash_of)
        _tell_missing(given, np.concatenate([np.flatnonzero(there), choice.new]), job)
        if found is None:
            shown = _begin(fo, given, said, choice, job)
        else:
            shown = found
            _go_on(fo, shown, given, said, choice, job)
            bare = np.flatnonzero(there & ~hashed & choice.compared)  # from an earlier version
            growing.keep_hashes(fo, shown, given.table.key, choice.hashes, bare)
        growing.ask_again(fo, shown, _asked_again(given, said), given.root, blind=given.audit.blind)
        _tell_extent(shown, given, int(there.sum()) + len(choice.new), workspace, job)
        return shown


def _said(given: ReviewInput, dataset: Any | None, workspace: Path, job: Job) -> _Said:
    """Return what people decided by now."""
    here = [] if dataset is None else compare(datasets.read_back(dataset), datasets.identity(dataset))
    entries = [*journal.read(workspace, job), *here]
    table = overlay.apply(given.table, entries, job)
    audit = drawn(given.table, given.audit, given.seed)
    known = known_by_now(given.table, table, entries, given.fuse_iou)
    return _Said(entries, {entry.sha for entry in here}, table, known, audit)


def _begin(fo: Any, given: ReviewInput, said: _Said, choice: Choice, job: Job) -> Any:
    """Return a new data set with the images that come first."""
    guide = Guide.of(
        choice.queue,
        said.table,
        said.audit,
        images=choice.new,
        blind=given.audit.blind,
        round=given.round,
        hashes=choice.hashes,
    )
    print_ = datasets.for_person(given.fingerprint)
    return datasets.import_table(
        fo, given.run, said.table, given.root, job, fingerprint=print_, guide=guide, images=choice.new
    )


def _go_on(fo: Any, dataset: Any, given: ReviewInput, said: _Said, choice: Choice, job: Job) -> None:
    """Let the next images into a data set, make its audit larger where that is asked for, and order it anew."""
    datasets.follow(dataset, given.root.resolve())
    keys, blind = given.table.key, given.audit.blind
    if len(choice.new):
        job.note(f"Review: {len(choice.new):,} more images go into the data set '{dataset.name}'.")
        # The audit's come in like any other: making it larger hides their labels.
        guide = Guide.of(choice.queue, said.table, images=choice.new, round=given.round, hashes=choice.hashes)
        growing.admit(fo, dataset, said.table.take(choice.new), guide, given.root, job)
    more = growing.extend_audit(fo, dataset, keys, said.audit, blind=blind)
    if more:
        job.note(f"Audit: {more} more images are to be labelled completely; what was done before stays.")
    if said.known is not None or len(choice.new):
        growing.reorder(fo, dataset, keys, choice.queue, said.here)


def _looks(fo: Any, dataset: Any | None, given: ReviewInput) -> tuple[Hashes, BoolArray, BoolArray]:
    """Return what is known of images before any is read: hashes, whose they are, and which images are in already."""
    if dataset is not None:
        return growing.hashes_of(fo, dataset, given.table.key)
    images = len(given.table)
    return np.zeros(images, np.uint64), np.zeros(images, bool), np.zeros(images, bool)


def _hasher(given: ReviewInput, hashes: Hashes, hashed: BoolArray, job: Job) -> Callable[[IntArray], Hashes]:
    """Return what makes the hashes of images: from the data set where it has them, else from their pixels."""

    def hash_of(rows: IntArray) -> Hashes:
        found, new = hashes[rows], np.flatnonzero(~hashed[rows])
        if len(new):
            found[new] = image_hashes(ImageSet(given.root, given.table.take(rows[new])), job)
        return found

    return hash_of


def _tell_extent(dataset: Any, given: ReviewInput, images: int, workspace: Path, job: Job) -> None:
    """Say how many images of how many are in, and keep it for the App and for the browser app."""
    extent = Extent(images, int(given.table.ok.sum()), given.most)
    datasets.tell(dataset, extent)
    extents.write(workspace, given.fingerprint, extent)
    if extent.words:
        job.note(extent.words)


def _asked_again(given: ReviewInput, said: _Said) -> DetectionTable:
    """Return the first images that the audit drew, as they were fused, but for those that were done twice already."""
    images = said.audit.images[: given.audit.twice]
    done = journal.complete(said.entries, [journal.second_look(given.table.sha[at]) for at in images])
    return given.table.take([at for at in images if journal.second_look(given.table.sha[at]) not in done])


def _tell_missing(given: ReviewInput, images: IntArray, job: Job) -> None:
    """Say which images are not where they were when the labels were made; the App shows them as broken."""
    readable = [given.table.key[at] for at in images.tolist() if not given.table.reason[at]]
    gone = [key for key in readable if not (given.root / key).is_file()]
    if gone:
        job.warn(
            f"{len(gone)} of {len(readable)} images are not in {given.root} any more (e.g. {gone[0]}), and the App "
            "cannot show them. Put them back, or name their folder in the recipe; decisions on them are kept anyway."
        )


def reorder(fo: Any, dataset: Any, given: ReviewInput, workspace: Path) -> None:
    """Order the images that nobody has touched anew, by what was said of the others."""
    given = replace(given, table=each_once(given.table))
    said = _said(given, dataset, workspace, Job())
    if said.known is not None:
        hashes, hashed, there = growing.hashes_of(fo, dataset, given.table.key)
        labels = weigh(said.table, given.fuse_iou, said.known)
        queue = queue_of(labels, hashes, hashed, said.standing(there).before)
        growing.reorder(fo, dataset, given.table.key, queue, said.here)


def drawn(table: DetectionTable, audit: Audit, seed: int) -> Drawn:
    """Return the images that measure; drawn from the labels as they were fused."""
    boxes = np.bincount(table.image_index[np.isin(table.state, (State.KEPT, State.UNCERTAIN))], minlength=len(table))
    return draw(table, audit.images, seed, boxes if audit.draw == "boxes" else None)
