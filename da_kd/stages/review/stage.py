"""The stage *review*: pseudo labels in front of a rule or a person, and what they decided back in the labels.

Four modes. ``auto``: a rule decides, and FiftyOne shows what it decided. ``human``: a person works (see
:mod:`da_kd.stages.review.person`), then :func:`finish`, and :func:`measure` where there is an audit. ``skip``:
:func:`finish` alone, and FiftyOne is never imported. ``simulate``: :func:`simulated`, with labels at hand. In every
mode the journal is laid over the labels first, so that no round undoes what a person did. Knows the order of things;
must not know runs, the terminal, nor how FiftyOne stores a box.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from da_kd.boxes import IntArray
from da_kd.data.imageset import ImageSet
from da_kd.data.similar import image_hashes
from da_kd.detections import DetectionTable, State
from da_kd.events import Job
from da_kd.recipe import Audit, Review, Simulate
from da_kd.stages.review import journal, overlay
from da_kd.stages.review.audit import compare_with_truth, figures
from da_kd.stages.review.audited import done_of_audit, hold_back, reviewer_errors, truth_of_audit
from da_kd.stages.review.choice import most_worth
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.extent import Extent
from da_kd.stages.review.label_f1 import label_f1
from da_kd.stages.review.queue import FUSE_IOU, build_queue, learned, weigh
from da_kd.stages.review.reviewer import in_words
from da_kd.stages.review.rules import apply_rule
from da_kd.stages.review.simulate import Order, random_order, simulate

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
        most: how many images may wait for a person in FiftyOne at once; None for all.
        decided: what people decided, where that is fixed already; None: what the journal says when it is read.
        fuse_iou: the IoU from which fusion made one box of two of a class, in [0, 1].
    """

    root: Path
    table: DetectionTable
    run: str
    fingerprint: str
    round: int = 1
    audit: Audit = field(default_factory=Audit)
    seed: int = 0
    most: int | None = None
    decided: Sequence[journal.Entry] | None = None
    fuse_iou: float = FUSE_IOU


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
    from da_kd.stages.review.room import importing, open_room

    entries = _decided(given, workspace, job)
    table = apply_rule(overlay.apply(given.table, entries, job), config.accept)
    images = most_doubtful(table, given.most, given.fuse_iou)
    with open_room(workspace, job) as fo, importing(workspace, job):
        content = f"auto:{datasets.content_hash(table)}"
        shown = datasets.import_table(
            fo, given.run, table, given.root, job, fingerprint=content, tag=True, images=images
        )
        extent = Extent(int(shown.count("filepath")), int(table.ok.sum()), given.most)
        datasets.tell(shown, extent)
        name = shown.name
    if extent.words:
        job.note(f"{extent.images:,} of {extent.of:,} images are in the data set '{name}'; the rule decided on all.")
    _write(table, entries, out, name, job)


def most_doubtful(table: DetectionTable, most: int | None, fuse_iou: float) -> IntArray:
    """Return the positions of the images that are most worth a look by their labels, in their own order; None: all."""
    images = np.flatnonzero(table.ok)
    if most is None or len(images) <= most:
        return images
    return np.sort(most_worth(weigh(table, fuse_iou), images, most))


def finish(config: Review, given: ReviewInput, workspace: Path, out: Path, job: Job) -> None:
    """Write the labels with the journal laid over them; FiftyOne stays out of it.

    Args:
        config: the section of the recipe; the rule of ``accept`` is not applied here.
        given: the fused labels.
        workspace: holds the journal.
        out: an existing folder; gets ``labels.parquet`` and ``review.json``. Where the recipe asks for an audit, images
            that are part of it are not to be trained on, unless it releases them.
        job: where warnings go.

    Raises:
        DataError: the journal cannot be read.
    """
    entries = _decided(given, workspace, job)
    table = overlay.apply(given.table, entries, job)
    decided = journal.in_force(entries, table.sha) if config.mode == "human" else []
    if config.mode == "human" and config.audit.images and not config.audit.release:
        table = hold_back(table, done_of_audit(given.table, entries))
    _write(table, entries, out, decided[-1].dataset.partition("@")[0] if decided else "", job)


def measure(given: ReviewInput, workspace: Path, out: Path, job: Job) -> None:
    """Write what the audit says of the fused labels, and how often the reviewer errs, into ``audit.json``.

    Args:
        given: the fused labels; its ``audit`` says what the best threshold is.
        workspace: holds the journal.
        out: an existing folder; gets ``audit.json``: see :func:`da_kd.stages.review.audit.figures`, and under
            ``reviewer`` :func:`da_kd.stages.review.reviewer.error_rate`.
        job: where the result goes.

    Raises:
        DataError: the journal cannot be read.
    """
    entries = _decided(given, workspace, job)
    truth, chances = truth_of_audit(given.table, entries, job)
    said = figures(compare_with_truth(given.table, truth, chances), given.audit.beta, given.seed)
    reviewer = reviewer_errors(given.table, entries, blind=given.audit.blind)
    (out / AUDIT).write_text(json.dumps({**said, "reviewer": reviewer}, indent=1) + "\n")
    job.note(f"Audit: {len(chances)} of {given.audit.images} images are done; {AUDIT} says what they measure.")
    if reviewer["images"]:
        job.note(in_words(reviewer))


def simulated(
    config: Simulate, given: ReviewInput, truth: DetectionTable, seed: int, workspace: Path, out: Path, job: Job
) -> None:
    """Write the labels as a reviewer who knows the truth leaves them; nothing of it goes into the journal.

    Args:
        config: how much the reviewer looks at, in which order, and how often they err.
        given: the fused labels.
        truth: labels of the same images.
        seed: of a random order, and of errors.
        workspace: holds the journal of real people, which is laid over the labels first.
        out: an existing folder; gets ``labels.parquet`` and ``review.json``, which also says how right the labels are.
        job: where progress goes.

    Raises:
        DataError: there is no truth for these images, or the journal cannot be read.
    """
    entries = _decided(given, workspace, job)
    table = overlay.apply(given.table, entries, job)
    shown = each_once(table)
    order = _queue_order(given, shown, job) if config.order == "queue" else random_order(shown, seed)
    done = simulate(shown, truth, order, config, seed)
    reviewed = overlay.apply(table, done.entries, job)
    _write(reviewed, [*entries, *done.entries], out, "", job, label_f1(reviewed, truth))
    job.note(f"A simulated reviewer spent {done.boxes} boxes and finished {done.images} images.")
    if done.unknown:
        job.warn(f"{done.unknown} images were passed over by the simulated reviewer: no truth is known of them.")


def _decided(given: ReviewInput, workspace: Path, job: Job) -> list[journal.Entry]:
    """Return the decisions that count; the journal is read in any case, and tells of lines that cannot be."""
    written = journal.read(workspace, job)
    return written if given.decided is None else list(given.decided)


def _queue_order(given: ReviewInput, table: DetectionTable, job: Job) -> Order:
    """Return what makes the order of the queue of what was decided so far."""
    hashes, iou = image_hashes(ImageSet(given.root, table), job), given.fuse_iou

    def order(done: Sequence[int], entries: Sequence[journal.Entry]) -> IntArray:
        job.check()
        said = overlay.apply(table, entries)
        return build_queue(table, hashes, iou, learned(table, said, done, iou)).order

    return order


def _write(
    table: DetectionTable,
    entries: list[journal.Entry],
    out: Path,
    dataset: str,
    job: Job,
    more: Mapping[str, float] | None = None,
) -> None:
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
        **(more or {}),
    }
    table.write(out / "labels.parquet")
    (out / "review.json").write_text(json.dumps(figures, indent=2) + "\n")
