"""The audit as the journal has it: complete labels of the images it drew, and with what chance it drew them.

Pure; knows tables and the journal's entries, and must not know where a journal stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Container, Sequence
from itertools import count
from typing import Any

import numpy as np

from da_kd.detections import DetectionTable
from da_kd.events import Job
from da_kd.hashing import hash_json
from da_kd.stages.review import overlay
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.journal import Entry, complete, in_force, second_look
from da_kd.stages.review.reviewer import error_rate
from da_kd.stages.review.sample import of_part

HELD_BACK = "kept for the audit"  # why an audited image is not trained on


def truth_of_audit(
    images: DetectionTable, entries: Sequence[Entry], job: Job | None = None
) -> tuple[DetectionTable, dict[str, float]]:
    """Return the complete labels of the audited images that are done, and by content hash their probabilities.

    Only the first images in the order of drawing count, up to the first that is not done: those are a sample as well,
    drawn with the smaller probabilities of :func:`~da_kd.stages.review.sample.of_part`. Where the journal does not tell
    the order, as those of earlier versions, all that are done are taken for the first.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
        job: where it is told that images are left out.
    """
    images = each_once(images)
    done = done_of_audit(images, entries)
    first = _first(entries, done)
    if job is not None and len(first) < len(done):
        job.warn(
            f"{len(done) - len(first)} of {len(done)} audited images that are done do not measure, since images drawn "
            "before them were skipped: complete those too, in the audit's view in 'da-kd review'."
        )
    truth = _truth(images, entries, first)
    chances = of_part(np.array([done[sha] for sha in truth.sha], np.float64), int(images.ok.sum()))
    return truth, dict(zip(truth.sha, chances.tolist(), strict=True))


def done_of_audit(images: DetectionTable, entries: Sequence[Entry]) -> dict[str, float]:
    """Return all audited images that are done, by content hash, and with what probability each was drawn.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
    """
    return {sha: chance for sha, chance in complete(entries, images.sha).items() if chance is not None}


def _first(entries: Sequence[Entry], done: Collection[str]) -> set[str]:
    """Return those of the audited images that are done which were drawn before any that is not."""
    words = [e for e in in_force(entries, done) if e.action == "complete" and e.probability is not None]
    place = {entry.sha: entry.draw for entry in words if entry.draw is not None}
    if len(place) < len(done):
        return set(done)
    # Labels that are made anew may be drawn in another order: what is done in either is not skipped.
    there = {entry.draw for entry in words}
    end = next(at for at in count() if at not in there)
    return {sha for sha, at in place.items() if at < end}


def _truth(images: DetectionTable, entries: Sequence[Entry], shas: Container[str]) -> DetectionTable:
    """Return the complete labels of the images with these content hashes that can be read."""
    rows = [row for row, sha in enumerate(images.sha) if sha in shas and not images.reason[row]]
    return overlay.apply(_blank(images.take(rows)), [entry for entry in entries if entry.sha in shas])


def seen_twice(images: DetectionTable, entries: Sequence[Entry]) -> tuple[DetectionTable, DetectionTable]:
    """Return what people said of the audited images that they completed twice: the first time, and the second.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
    """
    images = each_once(images)
    first = _truth(images, entries, done_of_audit(images, entries))
    again = {second_look(sha) for sha in first.sha}
    # The data set in which a second look was completed last has all of it.
    place = {entry.sha: entry.dataset for entry in in_force(entries, again) if entry.action == "complete"}
    first = first.take([row for row, sha in enumerate(first.sha) if second_look(sha) in place])
    blank = dataclasses.replace(_blank(first), sha=tuple(map(second_look, first.sha)))
    second = overlay.apply(blank, [entry for entry in entries if place.get(entry.sha) == entry.dataset])
    return first, dataclasses.replace(second, sha=first.sha)


def reviewer_errors(images: DetectionTable, entries: Sequence[Entry], *, blind: bool) -> dict[str, Any]:
    """Return how often the reviewer errs, from the images they completed twice; see :func:`error_rate`.

    Args:
        images: the fused labels.
        entries: the review journal.
        blind: the images were shown without these labels.
    """
    first, second = seen_twice(images, entries)
    return error_rate(first, second, None if blind else images)


def _blank(images: DetectionTable) -> DetectionTable:
    """Return the images without boxes, and nothing searched for: what was completed says what was."""
    empty = images.pick_boxes(np.zeros(len(images.xyxy), bool))
    return dataclasses.replace(empty, searched=np.zeros_like(empty.searched))


def audit_digest(images: DetectionTable, entries: Sequence[Entry]) -> str:
    """Return a hash of what the audit says, "" where no image of it is done.

    It is of the objects, not of the decisions: seeing the same image again and agreeing changes nothing.
    """
    truth, chances = truth_of_audit(images, entries)
    if not chances:
        return ""
    return hash_json([truth.vocabulary, sorted((sha, chances[sha], said) for sha, said in _said(truth).items())])


def second_digest(images: DetectionTable, entries: Sequence[Entry]) -> str:
    """Return a hash of what people said of audited images when they saw them again, "" where they did not."""
    _, second = seen_twice(images, entries)
    return hash_json([second.vocabulary, sorted(_said(second).items())]) if len(second) else ""


def _said(truth: DetectionTable) -> dict[str, list[tuple[int, list[float]]]]:
    """Return the objects of every image by content, in an order of their own."""
    return {
        sha: sorted(zip(boxes.label.tolist(), boxes.xyxy.tolist(), strict=True))
        for sha, (_, boxes) in zip(truth.sha, truth, strict=True)
    }


def hold_back(labels: DetectionTable, audited: Container[str]) -> DetectionTable:
    """Return the labels with the audited images, given by content hash, marked as not to be trained on."""
    reason = (old or (HELD_BACK if sha in audited else "") for old, sha in zip(labels.reason, labels.sha, strict=True))
    return dataclasses.replace(labels, reason=tuple(reason))
