"""What a table was made to prove, held against its figures: each claim of a grid holds, holds in part, or does not.

A claim is made of comparisons, each a figure with its 95 % interval and the least it is to be. Knows claims and the
resampled APs; must not know cells, files, or how a verdict is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from da_kd.bench.grid import Claim
from da_kd.bench.intervals import Draws, Span, difference, span

Tree = dict[str, Any]

HOLDS = "holds"
BARELY = "holds, by less than the interval"
IN_PART = "in part"
NEARLY = "does not hold, by less than the interval"
FAILS = "does not hold"
NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Shown:
    """What a table has to judge its claims by.

    Attributes:
        rows: the rows of the tree, with ``name``, ``line``, ``x``, ``per_class`` and ``recovered``.
        means: the mean AP of each row over its seeds.
        drawn: (R,) the resampled AP of each row.
        of_class: gives the resampled AP of a row in one class.
        classes: of the table.
        lines: by line, the rows of all its points in the order of x, also of those that the table lacks.
    """

    rows: Sequence[Tree]
    means: Mapping[str, float | None]
    drawn: Mapping[str, Draws]
    of_class: Callable[[str, str], Draws]
    classes: Sequence[str]
    lines: Mapping[str, Mapping[float, str]]


def judge(claims: Sequence[Claim], shown: Shown) -> list[Tree]:
    """Return for each claim what it ``says``, the ``verdict``, and the comparisons (``found``) that it stands on.

    A comparison has ``what`` it is, ``value``, ``low`` and ``high``, the least ``wanted``, and whether it is a
    ``share`` (else a difference in AP). A claim about rows that the table lacks is not shown.
    """
    told = []
    for claim in claims:
        found = list(_comparisons(claim, shown))
        whole = bool(found) and all(one["value"] is not None for one in found)
        told.append({"says": claim.says, "verdict": _verdict(found) if whole else NOT_SHOWN, "found": found})
    return told


def _verdict(found: Sequence[Tree]) -> str:
    """Return the verdict of comparisons, each of which is there; one without an interval is not sure."""
    held = [one["value"] >= one["wanted"] for one in found]
    if all(held):
        sure = all(one["low"] is not None and one["low"] >= one["wanted"] for one in found)
        return HOLDS if sure else BARELY
    if any(held):
        return IN_PART
    near = all(one["high"] is not None and one["high"] >= one["wanted"] for one in found)
    return NEARLY if near else FAILS


def _comparisons(claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim; none where a row is missing."""
    there = {row["name"] for row in shown.rows}
    points = [shown.lines.get(line or "", {}).values() for line in (claim.line, claim.not_below_line)]
    wanted = {claim.row, *claim.not_below} if claim.row is not None else {name for line in points for name in line}
    if not wanted <= there:
        return
    yield from _along(claim, shown) if claim.row is None else _of_row(claim.row, claim, shown)


def _of_row(own: str, claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim about a row, of which all rows are there."""
    rows = {row["name"]: row for row in shown.rows}
    if claim.recovers is not None:
        share = rows[own]["recovered"] or {"value": None, "low": None, "high": None}
        yield {"what": f"recovered by {own}", **share, "wanted": claim.recovers, "share": True}
    elif claim.each_class:
        for name in shown.classes:
            if not _counts(name, [rows[row] for row in (own, *claim.not_below)]):
                continue
            in_class = {row: _in_class(rows[row], name) for row in (own, *claim.not_below)}
            best = max(claim.not_below, key=lambda row: in_class[row])
            drawn = shown.of_class(own, name) - shown.of_class(best, name)
            yield _less(f"{name}, {own} less {best}", span(in_class[own] - in_class[best], drawn), claim)
    else:
        for other in claim.not_below:
            yield _less(f"{own} less {other}", difference(own, other, shown.means, shown.drawn), claim)


def _along(claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim about a line of points, of which all are there, in the order of x."""
    own, other = (shown.lines.get(line or "", {}) for line in (claim.line, claim.not_below_line))
    if claim.rises:
        for before, after in pairwise(own.values()):
            yield _less(f"{after} less {before}", difference(after, before, shown.means, shown.drawn), claim)
    else:
        for x in [x for x in own if x in other]:
            yield _less(f"{own[x]} less {other[x]}", difference(own[x], other[x], shown.means, shown.drawn), claim)


def _less(what: str, found: Span, claim: Claim) -> Tree:
    return {"what": what, **found, "wanted": -claim.margin, "share": False}


def _counts(name: str, rows: Sequence[Tree]) -> bool:
    """Return whether the scored images hold objects of a class; where they do not, no row has a figure."""
    return any(value is not None for row in rows for value in row["per_class"].get(name, ()))


def _in_class(row: Tree, name: str) -> float:
    """Return the mean AP of a row in a class; of one that it never finds, 0."""
    values = [value or 0.0 for value in row["per_class"].get(name, [0.0])]
    return float(sum(values) / len(values))
