"""Boxes of a class that may be one of several: they tell where not to learn, and never what is there. Pure."""

from __future__ import annotations

import numpy as np

from da_kd.detections import BoolArray, State
from da_kd.merging.merge import MergedPool, Panel, Pool, join, merge_pool
from da_kd.merging.pairs import Bools, overlapping
from da_kd.stages.fuse.thresholds import Cuts, Int8


def regions(
    boxes: Pool, may: Bools, panel: Panel, merged: MergedPool, state: Int8, overlap: float, cuts: Cuts
) -> tuple[MergedPool, Int8]:
    """Return what remains of coarse boxes once others are merged: one region per class that a box may be.

    A box goes where a merged box that is kept, of a class it may be, overlaps it by more than ``overlap``: what it is
    has been found out. Of the regions of a class that overlap each other the best stays.

    Args:
        boxes: N coarse boxes, labels of no meaning.
        may: (N, C) bool, the classes each may be.
        panel: which of C classes each of T teachers has coarse boxes for, its weights, the images it read.
        merged: merged boxes.
        state: what is to become of them.
        overlap: an IoU in [0, 1].
        cuts: a region scoring below ``drop`` of its class is dropped, any other uncertain.

    Returns:
        The M regions, and their (M,) states.
    """
    open_ = np.flatnonzero(~_explained(boxes, may, merged, state == State.KEPT, overlap))
    row, label = np.nonzero(may[open_])
    row = open_[row]
    each = Pool(boxes.xyxy[row], boxes.score[row], boxes.image[row], label, boxes.owner[row])
    left = merge_pool(panel, each, "nms", overlap)
    told = cuts.states(left.score, left.label)
    return left, np.where(told == State.DROPPED, told, np.int8(State.UNCERTAIN))


def _explained(boxes: Pool, may: Bools, merged: MergedPool, kept: BoolArray, overlap: float) -> Bools:
    """Return (N,) bool: whether a kept merged box says what a coarse box is."""
    known = np.flatnonzero(kept)
    xyxy = np.concatenate([boxes.xyxy, merged.xyxy[known].astype(np.float64)])
    image = np.concatenate([boxes.image, merged.image[known]])
    order = np.argsort(image, kind="stable")
    pairs = overlapping(np.ascontiguousarray(xyxy[order].T), image[order], overlap)
    first, second = order[pairs.first], order[pairs.second]
    count = len(boxes.score)
    one, other = np.minimum(first, second), np.maximum(first, second)
    mixed = (one < count) & (other >= count)
    one, other = one[mixed], known[other[mixed] - count]
    explained = np.zeros(count, bool)
    explained[one[may[one, merged.label[other]]]] = True
    return explained


def together(merged: MergedPool, state: Int8, more: MergedPool, more_state: Int8) -> tuple[MergedPool, Int8]:
    """Return two pools and their states as one, by image, the best score first."""
    both = join((merged, more), merged.teacher_score.shape[1])
    order = np.lexsort((-both.score, both.image))
    return both.pick(order), np.concatenate([state, more_state])[order]
