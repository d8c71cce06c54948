"""Which boxes are right, where the truth is known. Decides nothing; must not know whose boxes they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, Detections, DetectionTable, State
from da_kd.merging.matching import inside, paired
from da_kd.merging.merge import MergedPool, Pool
from da_kd.merging.pairs import Doubles


@dataclass(frozen=True)
class Judged:
    """N boxes that truth has an opinion about.

    Attributes:
        score: (N,) in [0, 1].
        label: (N,) index into the C classes of the truth.
        image: (N,) index into its images.
        right: (N,) bool, whether the box is an object of its class.
        objects: (C,) how many objects there were to find.
    """

    score: Doubles
    label: IntArray
    image: IntArray
    right: BoolArray
    objects: IntArray

    def pick(self, rows: BoolArray) -> Judged:
        """Return some of the boxes, and all objects."""
        return Judged(self.score[rows], self.label[rows], self.image[rows], self.right[rows], self.objects)


def judge(truth: DetectionTable, searched: BoolArray, boxes: Pool | MergedPool) -> Judged:
    """Compare boxes with the truth.

    A box is right when it has an IoU of at least 0.5 with an object of its class that no better box took. A wrong box
    half of which lies in an ignored region of its class is left out, and so is what one of the sides did not search.

    Args:
        truth: I labelled images of C classes.
        searched: (I, C) bool, what the other side looked for.
        boxes: what it found in these images and classes.
    """
    both = truth.searched & searched
    order = np.argsort(boxes.image, kind="stable")
    begins = np.searchsorted(boxes.image[order], np.arange(len(truth) + 1))
    right, heard = np.zeros(len(order), bool), both[boxes.image, boxes.label]
    for image in range(len(truth)):
        rows = order[begins[image] : begins[image + 1]]
        if len(rows):
            own = Detections(
                truth.vocabulary,
                boxes.xyxy[rows].astype(np.float32),
                boxes.score[rows].astype(np.float32),
                boxes.label[rows].astype(np.int32),
            )
            right[rows] = paired(truth.at(image), own)
            heard[rows] &= right[rows] | ~inside(truth.at(image, (State.IGNORED, State.UNCERTAIN)), own)
    there = (truth.state == State.KEPT) & both[truth.image_index, truth.label]
    objects = np.bincount(truth.label[there], minlength=len(truth.vocabulary)).astype(np.int64)
    columns = (boxes.score.astype(np.float64), boxes.label.astype(np.int64), boxes.image, right)
    return Judged(*columns, objects).pick(heard)
