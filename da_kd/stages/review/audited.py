"""The audit as the journal has it: complete labels of the images it drew, and with what chance it drew them.

Pure; knows tables and the journal's entries, and must not know where a journal stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from da_kd.detections import DetectionTable
from da_kd.hashing import hash_json
from da_kd.stages.review import overlay
from da_kd.stages.review.journal import Entry, complete

HELD_BACK = "kept for the audit"  # why an audited image is not trained on


def truth_of_audit(images: DetectionTable, entries: Sequence[Entry]) -> tuple[DetectionTable, dict[str, float]]:
    """Return the complete labels of the audited images that are done, and by content hash their probabilities.

    Where only some of the drawn images are done, they are taken for a sample of their own, drawn with smaller
    probabilities: these are scaled so that the images done stand for as many as there are.

    Args:
        images: all images that the audit was drawn from; their boxes do not matter.
        entries: the review journal.
    """
    done = {sha: chance for sha, chance in complete(entries, images.sha).items() if chance is not None}
    rows = [row for row, sha in enumerate(images.sha) if sha in done and not images.reason[row]]
    chances = {images.sha[row]: float(done[images.sha[row]]) for row in rows}
    stand_for = sum(1 / chance for chance in chances.values())
    part = min(1.0, stand_for / max(1, int(images.ok.sum())))
    mine = images.take(rows)
    blank = mine.pick_boxes(np.zeros(len(mine.xyxy), bool))
    blank = dataclasses.replace(blank, searched=np.ones_like(blank.searched))
    truth = overlay.apply(blank, [entry for entry in entries if entry.sha in chances])
    return truth, {sha: chance * part for sha, chance in chances.items()}


def audit_digest(images: DetectionTable, entries: Sequence[Entry]) -> str:
    """Return a hash of what the audit says, "" where no image of it is done.

    It is of the objects, not of the decisions: seeing the same image again and agreeing changes nothing.
    """
    truth, chances = truth_of_audit(images, entries)
    if not chances:
        return ""
    said = [
        (sha, chances[sha], sorted(zip(boxes.label.tolist(), boxes.xyxy.tolist(), strict=True)))
        for sha, (_, boxes) in zip(truth.sha, truth, strict=True)
    ]
    return hash_json([truth.vocabulary, sorted(said)])


def hold_back(labels: DetectionTable, chances: dict[str, float]) -> DetectionTable:
    """Return the labels with the audited images marked as not to be trained on."""
    reason = (old or (HELD_BACK if sha in chances else "") for old, sha in zip(labels.reason, labels.sha, strict=True))
    return dataclasses.replace(labels, reason=tuple(reason))
