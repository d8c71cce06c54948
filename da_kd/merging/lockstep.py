"""Greedy grouping of boxes, for many groups of boxes at once: fusion, suppression, merging.

All four methods go through the boxes of a group one after the other, the loudest first, and what they decide depends on
what came before. But groups (the boxes of one class in one image) have nothing to do with each other, so all of them
take their steps together: step k looks at the k-th box of each in one array operation, and only at those of its
neighbours that it overlaps. A loop runs as often as the largest group has boxes, however many groups there are.

Every function returns *homes*: for each box the row of the box that its cluster is named after. Knows rows, numbers and
groups; must not know images, classes, vocabularies or recipes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from da_kd.boxes import IntArray
from da_kd.merging.pairs import (
    Bools,
    Doubles,
    Pairs,
    blocks,
    components,
    everything,
    iou_of,
    overlapping,
    ranked,
    runs,
)

Method = Literal["wbf", "nms", "soft_nms", "nmm"]

TINY = 1e-12  # the voice of a box that has none: a cluster of nothing else still has a mean
_SHARES = (1 / 3, 1 / 8)  # s in _fuse: a larger one follows fewer pairs, and does more groups again
_CELLS = 1 << 15  # boxes in a table; its columns fit into a processor's cache
_MOST = 1 << 22  # pairs that are written down at a time where every box is compared with every other


@dataclass(frozen=True)
class Rows:
    """N boxes in G groups.

    Attributes:
        xyxy: (N, 4) float64 boxes.
        voice: (N,) float64 >= 0, how loud each speaks: its score times its teacher's weight.
        group: (N,) int64 from 0 to 2**31, the group each belongs to.
        owner: (N,) int64, the teacher that said it.
    """

    xyxy: Doubles
    voice: Doubles
    group: IntArray
    owner: IntArray

    def pick(self, rows: IntArray | Bools) -> Rows:
        """Return some of the boxes."""
        return Rows(self.xyxy[rows], self.voice[rows], self.group[rows], self.owner[rows])


def homes(rows: Rows, method: Method, overlap: float) -> tuple[IntArray, Doubles]:
    """Return what clusters the boxes form.

    Boxes are taken by voice, the loudest first; equally loud ones by place and teacher, never by row. Boxes are one
    object where their IoU is above ``overlap``; a box without area overlaps nothing.

    - ``wbf``: a box joins the cluster whose weighted mean so far it overlaps most, or begins one (Solovyev, Wang and
      Gabruseva 2021, as in the package ensemble_boxes).
    - ``nms``: a box overlapped by a louder surviving one goes; its home is the survivor it overlaps most.
    - ``nmm``: as ``nms``, but its home is the loudest survivor that it overlaps (greedy non-maximum merging, as in
      Akyon, Altinuc and Temizel 2022).
    - ``soft_nms``: the loudest box claims, of each other teacher, the box it overlaps most; all others that it overlaps
      are multiplied by ``1 - IoU`` (Bodla et al. 2017, the linear rule, equation 1; with one teacher exactly that).

    Returns:
        (N,) int64, the row of the box that each box's cluster is named after; and (N,) float64 in [0, 1], what
        ``soft_nms`` leaves of each score (1 with the other methods).
    """
    order = ranked(rows.group, rows.voice, (*rows.xyxy.T, rows.owner))
    ordered = rows.pick(order)
    left = np.ones(len(order))
    if method == "wbf":
        home = _fuse(ordered, overlap)
    else:
        pairs = overlapping(np.ascontiguousarray(ordered.xyxy.T), ordered.group, overlap)
        if method == "soft_nms":
            home, left = _soften(ordered, pairs)
        else:
            home = _suppress(ordered.group, pairs, nearest=method == "nms")
    back_home, back_left = np.empty_like(home), np.empty_like(left)
    back_home[order], back_left[order] = order[home], left
    return back_home, back_left


def _steps(group: IntArray, first: IntArray, second: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the pairs in steps, by second row, then first; in one step a group has pairs of one second row only."""
    starts, length = runs(group)
    step = np.arange(len(group)) - np.repeat(starts, length)
    bits = len(group).bit_length()
    keys = np.sort((((step[second] << bits) | second) << bits) | first)
    first, second = keys & ((1 << bits) - 1), (keys >> bits) & ((1 << bits) - 1)
    for begin, count in zip(*(part.tolist() for part in runs(keys >> (2 * bits))), strict=True):
        yield first[begin : begin + count], second[begin : begin + count]


def _suppress(group: IntArray, pairs: Pairs, nearest: bool) -> IntArray:
    """Return the row of the survivor that each sorted row stands for; survivors stand for themselves."""
    alive = np.ones(len(group), bool)
    for first, second in _steps(group, pairs.first, pairs.second):
        alive[second[alive[first]]] = False
    forth, back = alive[pairs.first] & ~alive[pairs.second], alive[pairs.second] & ~alive[pairs.first]
    if not nearest:
        back[:] = False  # a survivor claims what comes after it
    keeper = np.concatenate([pairs.first[forth], pairs.second[back]])
    gone = np.concatenate([pairs.second[forth], pairs.first[back]])
    near = np.concatenate([pairs.iou[forth], pairs.iou[back]])
    worst_first = np.lexsort((-keeper, near)) if nearest else np.argsort(-keeper)
    home = np.arange(len(group))
    home[gone[worst_first]] = keeper[worst_first]  # the last one written stays
    return home


def _fuse(rows: Rows, overlap: float, shares: Sequence[float] = _SHARES) -> IntArray:
    """Return the row of the box that began each sorted row's cluster, by weighted boxes fusion.

    A cluster's mean box moves, so it is not enough to compare the boxes themselves. But 1 - IoU is a metric (the
    Jaccard distance): while the mean's IoU with the box that began it is at least 1 - (1 - s) overlap, a box that
    overlaps the mean by more than ``overlap`` overlaps that first box by more than s overlap, so only such pairs are
    followed. Groups in which a mean moves further are done again with the next s of ``shares``, at last with all pairs.
    """
    if not shares:
        return _fuse_all(rows, overlap)
    boxes = np.ascontiguousarray(rows.xyxy.T)
    pairs = overlapping(boxes, rows.group, shares[0] * overlap * (1 - 1e-6))
    home, least = _follow(rows, pairs.first, pairs.second, overlap)
    far = np.flatnonzero(least < 1 - (1 - shares[0]) * overlap)
    if len(far):
        again = np.flatnonzero(np.isin(rows.group, rows.group[far]))
        home[again] = again[_fuse(rows.pick(again), overlap, shares[1:])]
    return home


def _fuse_all(rows: Rows, overlap: float) -> IntArray:
    """Do what :func:`_fuse` does, comparing every box of a group with every other."""
    home = np.empty(len(rows.group), np.int64)
    for some in _portions(rows.group):
        part = np.arange(some.start, some.stop)
        home[part] = part[_follow(rows.pick(part), *everything(rows.group[part]), overlap)[0]]
    return home


def _portions(group: IntArray) -> Iterator[slice]:
    """Yield slices of whole groups with a bounded number of pairs; a group alone may have more."""
    ends = np.flatnonzero(np.diff(group, append=-1)) + 1
    begin, pairs, last = 0, 0, 0
    for end in ends.tolist():
        pairs += (end - last) ** 2 // 2
        last = end
        if pairs > _MOST:
            yield slice(begin, end)
            begin, pairs = end, 0
    if begin < len(group):
        yield slice(begin, len(group))


def _follow(rows: Rows, first: IntArray, second: IntArray, overlap: float) -> tuple[IntArray, Doubles]:
    """Fuse along the pairs; return each row's home, and the least IoU of a cluster's mean with its first box."""
    boxes, voice = rows.xyxy, np.maximum(rows.voice, TINY)
    # Sums of voices, of boxes times voices, and the mean boxes, in the row of the box that began the cluster.
    heard, moment, mean = voice.copy(), boxes * voice[:, None], boxes.copy()
    home, least = np.arange(len(voice)), np.ones(len(voice))
    for one, other in _steps(rows.group, first, second):
        begins = np.flatnonzero(home.take(one) == one)
        cluster, row = one.take(begins), other.take(begins)
        near = iou_of(mean.take(cluster, axis=0).T, boxes.take(row, axis=0).T)
        chosen = _best(row, near, np.flatnonzero(near > overlap))
        cluster, row = cluster.take(chosen), row.take(chosen)
        home[row] = cluster
        more = voice.take(row)
        total = heard.take(cluster) + more
        sums = moment.take(cluster, axis=0) + more[:, None] * boxes.take(row, axis=0)
        now = sums / total[:, None]
        heard[cluster], moment[cluster], mean[cluster] = total, sums, now
        least[cluster] = np.minimum(least.take(cluster), iou_of(now.T, boxes.take(cluster, axis=0).T))
    return home, least


def _best(row: IntArray, near: Doubles, some: IntArray) -> IntArray:
    """Return, of ``some`` positions, that of the largest ``near`` of each run of equal rows, the earliest of equals."""
    mine, close = row.take(some), near.take(some)
    if not (mine[1:] == mine[:-1]).any():
        return some
    starts, length = runs(mine)
    top = np.flatnonzero(close == np.repeat(np.maximum.reduceat(close, starts), length))
    return some.take(top.take(runs(mine.take(top))[0]))


def _told_apart(numbers: Doubles) -> Doubles:
    """Return the numbers without their last digits, so that rounding never decides between equals."""
    return np.round(numbers, 9)


def _soften(rows: Rows, pairs: Pairs) -> tuple[IntArray, Doubles]:
    """Return the row of the box that claimed each sorted row, itself where none did, and what is left of its score."""
    count = len(rows.voice)
    home, left = np.arange(count), np.ones(count)
    label = components(count, pairs.first, pairs.second)
    order = np.argsort(label, kind="stable")
    for places, filled in blocks(label[order], _CELLS):
        cells = order[places]
        voice = np.where(filled, rows.voice[cells], 0)
        column, gain = _soften_block(rows.xyxy[cells], voice, rows.owner[cells], filled, float(pairs.iou.min()))
        home[cells[filled]] = np.take_along_axis(cells, column, axis=1)[filled]
        left[cells[filled]] = gain[filled]
    return home, left


def _soften_block(
    xyxy: Doubles, voice: Doubles, owner: IntArray, filled: Bools, least: float
) -> tuple[IntArray, Doubles]:
    """Return for each of (S, K) cells the column of the box that claimed it, and what is left; ``least`` is an IoU."""
    groups, width = voice.shape
    boxes = np.moveaxis(xyxy, 2, 0)
    alive, gain, group = filled.copy(), np.ones((groups, width)), np.arange(groups)
    column = np.tile(np.arange(width), (groups, 1))
    teachers = np.unique(owner[filled])
    for _ in range(width):
        pick = np.where(alive, _told_apart(voice * gain), -1).argmax(axis=1)
        picked = alive[group, pick]
        alive[group, pick] = False
        near = iou_of(boxes, boxes[:, group, pick][:, :, None])
        near[~(alive & (near >= least) & picked[:, None])] = 0
        for teacher in teachers:
            theirs = np.where((owner == teacher) & (owner[group, pick] != teacher)[:, None], near, 0)
            best = _told_apart(theirs).argmax(axis=1)
            claimed = group[theirs[group, best] > 0]
            column[claimed, best[claimed]] = pick[claimed]
            alive[claimed, best[claimed]] = False
            near[claimed, best[claimed]] = 0
        gain *= 1 - near
    return column, gain
