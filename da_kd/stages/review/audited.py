"""The audit as the journal has it: complete labels of the images it drew, and with what chance it drew them.

Pure; knows tables and the journal's entries, and must not know where a journal stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from da_kd.detections import DetectionTable
from da_kd.hashing import hash_json
from da_kd.stages.review import overlay
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.journal import Entry, complete, in_force, second_look
from da_kd.stages.review.reviewer import error_rate
from da_kd.stages.review.sample import of_part

HELD_BACK = "kept for the audit"  # why an audited image is not trained on


def truth_of_audit(images: DetectionTable, entries: Sequence[Entry]) -> tuple[DetectionTable, dict[str, float]]:
    """Return the complete labels of the audited images that are done, and by content hash their probabilities.

    Where only some of the drawn images are done, they are taken for the first of the sample, drawn with the smaller
    probabilities of :func:`~da_kd.stages.review.sample.of_part`.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
    """
    images = each_once(images)
    done = {sha: chance for sha, chance in complete(entries, images.sha).items() if chance is not None}
    rows = [row for row, sha in enumerate(images.sha) if sha in done and not images.reason[row]]
    shas = [images.sha[row] for row in rows]
    chances = of_part(np.array([done[sha] for sha in shas], np.float64), int(images.ok.sum()))
    truth = overlay.apply(_blank(images.take(rows)), [entry for entry in entries if entry.sha in set(shas)])
    return truth, dict(zip(shas, chances.tolist(), strict=True))


def seen_twice(images: DetectionTable, entries: Sequence[Entry]) -> tuple[DetectionTable, DetectionTable]:
    """Return what people said of the audited images that they completed twice: the first time, and the second.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
    """
    first, _ = truth_of_audit(images, entries)
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


def hold_back(labels: DetectionTable, chances: dict[str, float]) -> DetectionTable:
    """Return the labels with the audited images marked as not to be trained on."""
    reason = (old or (HELD_BACK if sha in chances else "") for old, sha in zip(labels.reason, labels.sha, strict=True))
    return dataclasses.replace(labels, reason=tuple(reason))
