"""How right the labels of a simulated review are: F1 against the truth that the reviewer goes by. Pure."""

from __future__ import annotations

import numpy as np

from da_kd.detections import DetectionTable, State
from da_kd.merging.matching import inside, paired


def label_f1(labels: DetectionTable, truth: DetectionTable) -> dict[str, float]:
    """Return F1 of the kept boxes, in [0, 1], on the images that the truth knows; images are matched by content.

    A box is right where it meets an object of its own: its class, IoU at least 0.5. A class does not count in an image
    whose truth does not cover it, nor a false box in a region that the truth ignores.

    Returns:
        ``F1`` of all boxes together, and ``class_F1``, the mean over the classes that have objects.
    """
    rows = {sha: row for row, sha in enumerate(truth.sha) if sha and not truth.reason[row]}
    counts = np.zeros((3, len(labels.vocabulary)))  # right boxes, boxes, objects
    for ours, sha in enumerate(labels.sha):
        if sha in rows:
            covered, boxes, objects = truth.searched[rows[sha]], labels.at(ours), truth.at(rows[sha])
            boxes, objects = boxes.pick(covered[boxes.label]), objects.pick(covered[objects.label])
            right = paired(objects, boxes)
            told = right | ~inside(truth.at(rows[sha], (State.IGNORED, State.UNCERTAIN)), boxes)
            for row, label in enumerate((boxes.label[right], boxes.label[told], objects.label)):
                counts[row] += np.bincount(label, minlength=counts.shape[1])
    there = counts[2] > 0
    by_class = 2 * counts[0] / np.maximum(counts[1] + counts[2], 1)
    right, boxes, objects = counts.sum(axis=1)
    return {
        "F1": round(float(2 * right / max(boxes + objects, 1)), 5),
        "class_F1": round(float(by_class[there].mean()), 5) if there.any() else 0.0,
    }
