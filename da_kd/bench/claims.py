"""What a table was made to prove, held against its figures: each claim of a grid holds, holds in part, or does not.

A claim is made of comparisons, each a figure with its 95 % interval, its value in every seed, and the least it is to
be. The interval is over images and says nothing of other trainings, so that a claim is sure only where every seed says
the same. Knows claims and the resampled APs; must not know cells, files, or how a verdict is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from da_kd.bench.grid import Claim
from da_kd.bench.intervals import Draws, Span, difference, span

Tree = dict[str, Any]
Values = Sequence[float | None]

HOLDS = "holds"
BARELY = "holds, by less than the interval"
UNEVEN = "holds on the average, not in every seed"
IN_PART = "in part"
NEARLY = "does not hold, by less than the interval"
UNEVENLY_NOT = "does not hold on the average, but in a seed"
FAILS = "does not hold"
NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Shown:
    """What a table has to judge its claims by.

    Attributes:
        rows: the rows of the tree, with ``name``, ``line``, ``x``, ``AP``, ``per_class``, ``recovered`` and
            ``stopped``.
        means: the mean AP of each row over its seeds.
        drawn: (R,) the resampled AP of each row.
        of_class: gives the resampled AP of a row in one class.
        classes: of the table.
        lines: by line, the rows of all its points in the order of x, also of those that the table lacks.
        gap: the rows between which a share is recovered, also where the table lacks them.
    """

    rows: Sequence[Tree]
    means: Mapping[str, float | None]
    drawn: Mapping[str, Draws]
    of_class: Callable[[str, str], Draws]
    classes: Sequence[str]
    lines: Mapping[str, Mapping[float, str]]
    gap: tuple[str, str] | None = None


def judge(claims: Sequence[Claim], shown: Shown) -> list[Tree]:
    """Return for each claim what it ``says``, the ``verdict``, and the comparisons (``found``) that it stands on.

    A comparison has ``what`` it is, ``value``, ``low`` and ``high``, the value ``by_seed``, the least ``wanted``,
    whether it is a ``share`` (else a difference in AP), and whether it is known only what that is ``at_most``. A claim
    about rows that the table lacks is not shown.
    """
    told = []
    for claim in claims:
        found = list(_comparisons(claim, shown))
        whole = bool(found) and all(one["value"] is not None for one in found)
        verdict = _verdict(found) if whole else NOT_SHOWN
        if verdict in (HOLDS, BARELY, UNEVEN) and any(one["at_most"] for one in found):
            verdict += ", beside an oracle that may not be done"
        told.append({"says": claim.says, "verdict": verdict, "found": found})
    return told


def _verdict(found: Sequence[Tree]) -> str:
    """Return the verdict of comparisons, each of which is there; one without an interval is not sure."""
    held = [one["value"] >= one["wanted"] for one in found]
    in_seeds = [[value >= one["wanted"] for value in one["by_seed"] if value is not None] for one in found]
    if all(held):
        sure = all(one["low"] is not None and one["low"] >= one["wanted"] for one in found)
        return BARELY if not sure else HOLDS if all(map(all, in_seeds)) else UNEVEN
    if any(held):
        return IN_PART
    near = all(one["high"] is not None and one["high"] >= one["wanted"] for one in found)
    return NEARLY if near else UNEVENLY_NOT if all(map(any, in_seeds)) else FAILS


def _comparisons(claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim; none where a row is missing."""
    there = {row["name"] for row in shown.rows}
    points = [shown.lines.get(line or "", {}).values() for line in (claim.line, claim.not_below_line)]
    wanted = {claim.row, *claim.not_below} if claim.row is not None else {name for line in points for name in line}
    if claim.recovers is not None:
        wanted |= set(shown.gap or ())
    if not wanted <= there:
        return
    yield from _along(claim, shown) if claim.row is None else _of_row(claim.row, claim, shown)


def _of_row(own: str, claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim about a row, of which all rows are there."""
    rows = {row["name"]: row for row in shown.rows}
    if claim.recovers is not None:
        share = rows[own]["recovered"] or {"value": None, "low": None, "high": None}
        ends = [rows[name] for name in shown.gap or ()]
        unfinished = any(not one["by_itself"] for row in ends for one in row["stopped"])
        told = {"by_seed": _shares(rows[own], *ends), "share": True, "at_most": unfinished}
        yield {"what": f"recovered by {own}", **share, "wanted": claim.recovers, **told}
    elif claim.each_class:
        for name in shown.classes:
            if not _counts(name, [rows[row] for row in (own, *claim.not_below)]):
                continue
            in_class = {row: _in_class(rows[row], name) for row in (own, *claim.not_below)}
            best = max(claim.not_below, key=lambda row: in_class[row])
            drawn = shown.of_class(own, name) - shown.of_class(best, name)
            by_seed = _by_seed(rows[own]["per_class"].get(name, ()), rows[best]["per_class"].get(name, ()))
            yield _less(f"{name}, {own} less {best}", span(in_class[own] - in_class[best], drawn), by_seed, claim)
    else:
        for other in claim.not_below:
            yield _beside(own, other, claim, shown)


def _along(claim: Claim, shown: Shown) -> Iterator[Tree]:
    """Yield the comparisons of a claim about a line of points, of which all are there, in the order of x."""
    own, other = (shown.lines.get(line or "", {}) for line in (claim.line, claim.not_below_line))
    if claim.rises:
        for before, after in pairwise(own.values()):
            yield _beside(after, before, claim, shown)
    else:
        for x in [x for x in own if x in other]:
            yield _beside(own[x], other[x], claim, shown)


def _beside(own: str, other: str, claim: Claim, shown: Shown) -> Tree:
    """Return the comparison of a row with another."""
    aps = {row["name"]: row["AP"] for row in shown.rows if row["name"] in (own, other)}
    found = difference(own, other, shown.means, shown.drawn)
    return _less(f"{own} less {other}", found, _by_seed(aps[own], aps[other]), claim)


def _less(what: str, found: Span, by_seed: Values, claim: Claim) -> Tree:
    return {"what": what, **found, "by_seed": by_seed, "wanted": -claim.margin, "share": False, "at_most": False}


def _by_seed(own: Values, other: Values) -> Values:
    """Return the difference in every seed, None where one side has no figure."""
    return [None if a is None or b is None else a - b for a, b in zip(own, other, strict=False)]


def _shares(row: Tree, low: Tree, high: Tree) -> Values:
    """Return the share of the gap that a row recovers in every seed, None where there is no gap."""
    won, wide = _by_seed(row["AP"], low["AP"]), _by_seed(high["AP"], low["AP"])
    return [None if a is None or b is None or b <= 0 else a / b for a, b in zip(won, wide, strict=True)]


def _counts(name: str, rows: Sequence[Tree]) -> bool:
    """Return whether the scored images hold objects of a class; where they do not, no row has a figure."""
    return any(value is not None for row in rows for value in row["per_class"].get(name, ()))


def _in_class(row: Tree, name: str) -> float:
    """Return the mean AP of a row in a class, over the seeds whose images hold it; of one that it does not know, 0."""
    values = [value for value in row["per_class"].get(name, ()) if value is not None]
    return float(sum(values) / len(values)) if values else 0.0
