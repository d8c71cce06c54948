"""Which boxes of a group overlap, for many groups of boxes at once. Knows rows and numbers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_CELLS = 1 << 17  # pairs that are looked at together; they fit into a processor's cache
_TILE = 64  # rows of a group that are compared with all later ones at a time
_NO_AREA = 1e-300  # keeps 0 / 0 at 0


@dataclass(frozen=True)
class Pairs:
    """P pairs of rows of the same group, ``first < second``.

    Attributes:
        first: (P,) int64.
        second: (P,) int64.
        iou: (P,) float64 in [0, 1].
    """

    first: IntArray
    second: IntArray
    iou: Doubles


def iou_of(a: Doubles, b: Doubles) -> Doubles:
    """Return the (N,) IoU of N boxes with N others, both as (4, N) columns; 0 where neither has an area."""
    inter: Doubles = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    np.maximum(inter, 0, out=inter)
    inter *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    inter /= np.maximum(union, _NO_AREA)
    return inter


def overlapping(boxes: Doubles, group: IntArray, above: float) -> Pairs:
    """Return the pairs of boxes of a group with an IoU above ``above``.

    Two intervals of lengths v and w whose IoU is above t have centres closer than (v + w) / 2 * (1 - t) / (1 + t),
    since they share at most (v + w) / 2 less that distance and cover at least as much more. So boxes shrunk by that
    factor still meet, on both axes; most pairs do not, and are never looked at again.

    Args:
        boxes: (4, N) columns of N boxes.
        group: (N,) the group of each, equal ones side by side.
        above: an IoU in [0, 1].
    """
    shrunk = _shrunk(boxes, above * (1 - 1e-6))  # a little more than needed, against rounding
    nowhere = np.array([np.inf, np.inf, -np.inf, -np.inf], np.float32)[:, None, None]
    parts = [Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for rows, filled in blocks(group, _CELLS, _TILE):
        cells = np.where(filled, shrunk.take(rows, axis=1), nowhere)
        for first, second in _meeting(cells, rows[:, 0]):
            near = iou_of(boxes.take(first, axis=1), boxes.take(second, axis=1))
            some = np.flatnonzero(near > above)
            parts.append(Pairs(first[some], second[some], near[some]))
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second", "iou")))


def everything(group: IntArray) -> tuple[IntArray, IntArray]:
    """Return all pairs of rows of a group, first and second, given the group of each row, equal ones side by side."""
    starts, count = runs(group)
    later = np.repeat(starts + count, count) - np.arange(len(group)) - 1
    first = np.repeat(np.arange(len(group)), later)
    begin = np.cumsum(later) - later
    return first, first + 1 + np.arange(len(first)) - begin[first]


def components(count: int, first: IntArray, second: IntArray) -> IntArray:
    """Return for each of ``count`` rows the least row that pairs connect it with."""
    label = np.arange(count)
    while len(first):
        a, b = label[first], label[second]
        apart = a != b
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        label[np.maximum(a, b)] = np.minimum(a, b)  # a root goes below any lesser one it is connected with
        while (label[label] != label).any():
            label = label[label]
    return label


def runs(group: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """Return where each run of equal numbers starts, and how long it is."""
    starts = np.flatnonzero(np.concatenate([[len(group) > 0], group[1:] != group[:-1]]))
    return starts, np.diff(np.concatenate([starts, [len(group)]]))


def ranked(group: IntArray, loud: Doubles, ties: Sequence[npt.NDArray[np.generic]]) -> IntArray:
    """Return the rows by group, the loudest first; equally loud ones by ``ties``, the first of them deciding first.

    Args:
        group: (N,) int64, 0 to 2**31.
        loud: (N,) >= 0.
        ties: arrays of (N,).
    """
    bits = (loud + 0.0).astype(np.float32).view(np.int32)  # as integers, floats from 0 on have the same order
    keys = (group << 32) - bits
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    if same.any():  # also what only half the digits make equal
        places = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
        some = order[places]
        order[places] = some[np.lexsort((*(tie[some] for tie in reversed(ties)), -loud[some], group[some]))]
    return order


def blocks(group: IntArray, cells: int, tile: int = 1) -> Iterator[tuple[IntArray, Bools]]:
    """Yield the groups of two or more rows as tables of S groups by K rows, groups of like size together.

    Args:
        group: the group of each row, equal ones side by side.
        cells: the most numbers a table may lead to, where each of its cells leads to ``tile`` of them, or K if less.
        tile: see there.

    Yields:
        (S, K) int64 rows, and (S, K) bool, False for a cell without a row.
    """
    starts, count = runs(group)
    by_size = np.argsort(-count, kind="stable")[: int((count > 1).sum())]
    begin = 0
    while begin < len(by_size):
        width = int(count[by_size[begin]])
        some = by_size[begin : begin + max(1, cells // (width * min(width, tile)))]
        column = np.arange(width)
        filled = column < count[some][:, None]
        yield starts[some][:, None] + np.where(filled, column, 0), filled
        begin += len(some)


def _shrunk(boxes: Doubles, above: float) -> FloatArray:
    """Return the boxes shrunk about their centres, so that those with an IoU above ``above`` still meet.

    Rounded outwards, since half the digits are compared in half the time.
    """
    half = (boxes[2:] - boxes[:2]) / 2 * ((1 - above) / (1 + above))
    centre = (boxes[2:] + boxes[:2]) / 2
    low, high = (centre - half).astype(np.float32), (centre + half).astype(np.float32)
    return np.concatenate([np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))])


def _meeting(cells: FloatArray, start: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the pairs of rows, first and second, of (4, S, K) boxes that meet, given the first row of each group."""
    width = cells.shape[2]
    for top in range(0, width, _TILE):
        one, other = cells[:, :, top : top + _TILE, None], cells[:, :, None, top:]
        meet = one[0] < other[2]
        meet &= other[0] < one[2]
        meet &= one[1] < other[3]
        meet &= other[1] < one[3]
        _, tall, wide = meet.shape
        meet &= np.arange(wide) > np.arange(tall)[:, None]
        hit, column = np.divmod(np.flatnonzero(meet), wide)
        group, row = np.divmod(hit, tall)
        begin = start[group] + top
        yield begin + row, begin + column
