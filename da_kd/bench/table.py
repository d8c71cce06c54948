"""The table as Markdown and CSV, and the sentences below it. Knows the tree of figures alone."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from da_kd.bench.claims import Tree
from da_kd.bench.figures import TOLERANCE
from da_kd.words import count, figure

_DEFAULTS, _UNEQUAL, _OWN, _ABOVE = "(d)", "(!)", "(o)", "(+)"


def markdown(tree: Tree) -> str:
    """Return the table and the sentences below it."""
    return _markdown(cells_of(tree), sentences(tree))


def measured_markdown(tree: Tree) -> str:
    """Return likewise the table of a measurement that is no grid's; its cells and sentences are ready."""
    return _markdown([tree["head"], *tree["lines"]], tree["sentences"])


def _markdown(cells: Sequence[Sequence[str]], told: Sequence[str]) -> str:
    head, *lines = cells
    return piped([head, ["---"] * len(head), *lines]) + "".join(f"\n{sentence}\n" for sentence in told)


def piped(lines: Sequence[Sequence[str]]) -> str:
    """Return the lines of a Markdown table; a bar inside of a cell is none of the table's."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def cells_of(tree: Tree) -> list[list[str]]:
    """Return the table's cells as text; the first line is its head."""
    return [_head(tree), *(_line(row, tree) for row in tree["rows"])]


def as_csv(tree: Tree) -> str:
    """Return one line a row and seed, with plain numbers, as a spreadsheet wants them."""
    out = io.StringIO()
    columns = ["row", "model", "seed", "AP", "AP50", *(f"AP {name}" for name in tree["classes"])]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*columns, "steps", "teacher_steps", "images", "target_labels", "equal_steps"])
    for row in tree["rows"]:
        for index, seed in enumerate(row["seeds"]):
            classes = [row["per_class"][name][index] for name in tree["classes"]]
            cells = [row["name"], row["model"], seed, row["AP"][index], row["AP50"][index], *classes]
            cells += [row[key][index] for key in ("steps", "teacher_steps", "images")]
            writer.writerow([*cells, label_images(row), int(not row["unequal"])])
    return out.getvalue()


def sentences(tree: Tree) -> list[str]:
    """Return what a reader has to know to judge the table."""
    gap = ""
    if tree["gap"]:
        gap = (
            f" Recovered is the share of the AP between {tree['gap'][0]} and {tree['gap'][1]}, and the same share of "
            "the AP50, which asks whether objects are found rather than how closely they are drawn."
        )
    scored = count(tree["images"], f"{tree['scored_on']} image") + (" a seed" if tree.get("images_by_seed") else "")
    own, all_ = tree["seeds"], tree.get("all_seeds") or tree["seeds"]
    seeds = ", ".join(map(str, own)) + ("" if all_ == own else f" (the grid has {', '.join(map(str, all_))})")
    told = [
        f"AP on {scored}: the mean of seeds {seeds}, and each of them in this order. In brackets 95 % intervals, "
        "from 1,000 resamples of the images in which all rows see the same draws and the "
        f"seeds' APs are averaged.{gap} Steps are optimiser steps of the student's architecture, all phases counted, + "
        "those of teachers."
    ]
    return [*told, *_claims(tree), *_marks(tree), *_above(tree), *_notes(tree), *_leaks(tree.get("duplicates", []))]


def _claims(tree: Tree) -> list[str]:
    """Return what was to be shown, and whether it holds."""
    return [f"{one['says']} {one['verdict'].capitalize()}{_because(one)}." for one in tree.get("claims", [])]


def _because(claim: Mapping[str, Any]) -> str:
    return f": {comparisons(claim)}" if claim["found"] else ""


def comparisons(claim: Mapping[str, Any]) -> str:
    """Return the figures that a claim stands on, in words."""
    return "; ".join(_comparison(one) for one in claim["found"])


def _comparison(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return f"{one['what']}: {'there is no gap' if one['share'] else 'no figure'}"
    told = _share(one) if one["share"] else _signed(one)
    wanted = f"{one['wanted']:.0%}" if one["share"] else f"{one['wanted']:+.3f}"
    parts = [f"{one['what']} {told}"]
    parts += [f"wanted at least {wanted}"] if one["wanted"] else []
    parts += ["at most, since the gap's upper end was still rising"] if one.get("at_most") else []
    held = [value >= one["wanted"] for value in one.get("by_seed", ()) if value is not None]
    parts += [f"by seed {_by_seed(one)}"] if any(held) and not all(held) else []
    return ", ".join(parts)


def _by_seed(one: Mapping[str, Any]) -> str:
    spelt = "{:.0%}" if one["share"] else "{:+.3f}"
    return " ".join("-" if value is None else spelt.format(value) for value in one["by_seed"])


def _marks(tree: Tree) -> list[str]:
    told, rows = [], tree["rows"]
    if tree["defaults"]:
        told.append(f"{_DEFAULTS} da_kd's method, as this table asks about it.")
    unequal = [row["name"] for row in rows if row["unequal"]]
    if unequal:
        told.append(
            f"{_UNEQUAL} Not the same number of steps as the others ({tree['steps']}, within {TOLERANCE:.0%}): "
            f"{', '.join(unequal)}. Do not compare."
        )
    told += [f"{_OWN} {row['name']}: {_stops(row)}." for row in rows if row["own_steps"]]
    told += [
        f"{row['name']} knows no {' and no '.join(row['unknown'])}, which counts as an AP of 0 there."
        for row in rows
        if row.get("unknown")
    ]
    return told


def _stops(row: Mapping[str, Any]) -> str:
    """Return how an oracle ended, seed by seed."""
    ends = [
        f"took epoch {one['best'] or one['last']} of {one['last']}"
        + ("" if one["by_itself"] else f", the most it was allowed ({one['most']}): it may not be done")
        + _course(one.get("validation", []))
        for one in row["stopped"]
    ]
    alone = all(one["by_itself"] for one in row["stopped"])
    why = "trained until its own validation stopped improving" if alone else "its own schedule"
    return f"{why}; {'; '.join(ends)}"


def _course(scored: Sequence[tuple[int, float]]) -> str:
    """Return how the validation of a training went, by which a reader can judge whether it was done."""
    if not scored:
        return ""
    epochs, values = ([str(epoch) for epoch, _ in scored], [figure(value) for _, value in scored])
    return f" (its own validation AP after {', '.join(epochs)} epochs: {', '.join(values)})"


def _above(tree: Tree) -> list[str]:
    """Return which rows beat the defaults, whatever that says about them."""
    better = better_than_defaults(tree)
    sure = [row for row in better if (row["beside_defaults"]["low"] or 0) > 0]
    told = []
    if sure:
        told.append(f"{_ABOVE} Above the defaults, which are therefore not the best here: {_beside(sure)}.")
    if rest := [row for row in better if row not in sure]:
        told.append(f"{_ABOVE} Above the defaults by less than its interval: {_beside(rest)}.")
    if others := above_on_other_terms(tree):
        told.append(
            f"Above the defaults on other terms: {'; '.join(f'{_beside([row])} ({why})' for row, why in others)}."
        )
    return told


def _beside(rows: Sequence[Tree]) -> str:
    return "; ".join(f"{row['name']} {_signed(row['beside_defaults'])}" for row in rows)


def better_than_defaults(tree: Tree) -> list[Tree]:
    """Return the rows that are above the defaults on no better terms: no more labels of the target, nor more steps."""
    return [row for row, why in _above_defaults(tree) if not why]


def above_on_other_terms(tree: Tree) -> list[tuple[Tree, str]]:
    """Return the other rows above the defaults but the oracles, and what each of them has that the defaults lack."""
    return [(row, why) for row, why in _above_defaults(tree) if why]


def _above_defaults(tree: Tree) -> list[tuple[Tree, str]]:
    """Return the rows above the defaults, and of each what it has more, "" for nothing; oracles are left out."""
    own = next((row for row in tree["rows"] if row["name"] == tree["defaults"]), None)
    if own is None:
        return []
    above = [row for row in tree["rows"] if (row["beside_defaults"] or {"value": 0})["value"] > 0]
    return [(row, _advantage(row, own)) for row in above if not row["own_steps"]]


def _advantage(row: Tree, own: Tree) -> str:
    """Return what a row has that the defaults lack, in words."""
    if row["model"].startswith("teacher:"):
        return "a teacher"
    found = [f"{count(label_images(row), 'labelled image')}"] if label_images(row) > label_images(own) else []
    more = row["unequal"] and statistics.fmean(row["steps"]) > statistics.fmean(own["steps"])
    return ", ".join([*found, *(["more steps"] if more else [])])


def label_images(row: Tree) -> int:
    """Return of how many images of the target a row uses labels; tables of before knew only the sum over sets."""
    found: int = row.get("label_images", sum(row["labels"].values()))
    return found


def _notes(tree: Tree) -> list[str]:
    return [f"{row['name']}: {row['note']}" for row in tree["rows"] if row["note"]]


def _leaks(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was found of look-alikes between the test images and what was learned from."""
    if not found:
        return []
    bad = [f"{one['alike']} of {one['test']} in {one['set']} ({_examples(one)})" for one in found if one["alike"]]
    clean = sorted({one["set"] for one in found} - {one["set"] for one in found if one["alike"]})
    told = [f"Scored images with a near-duplicate: {'; '.join(bad)}."] if bad else []
    return [*told, *([f"No near-duplicates of scored images in {', '.join(clean)}."] if clean else [])]


def _examples(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{test} and {other}" for test, other, _ in one["examples"])


def _head(tree: Tree) -> list[str]:
    gap = ["recovered", "of AP50"] if tree["gap"] else []
    beside = f"AP less {tree['reference']}'s"
    return ["row", "AP", "by seed", "AP50", *tree["classes"], beside, *gap, "steps", "target labels"]


def _line(row: Tree, tree: Tree) -> list[str]:
    gap = [_share(row["recovered"]), _recovered_of_ap50(row, tree)] if tree["gap"] else []
    return [
        name_and_marks(row, tree),
        _between(row["interval"]),
        ", ".join(map(figure, row["AP"])),
        _mean(row["AP50"]),
        *(_mean(row["per_class"][name]) for name in tree["classes"]),
        _signed(row["difference"]),
        *gap,
        _steps(row),
        _labels(row),
    ]


def _recovered_of_ap50(row: Tree, tree: Tree) -> str:
    """Return the share of the gap in AP50, "" where the one in AP is not told."""
    if row["recovered"] is None:
        return ""
    means = {other["name"]: other["AP50"] for other in tree["rows"]}
    low, high = (statistics.fmean(means[name]) for name in tree["gap"])
    return f"{(statistics.fmean(row['AP50']) - low) / (high - low):.0%}" if high > low else "-"


def name_and_marks(row: Tree, tree: Tree) -> str:
    """Return a row's name with the marks that the sentences below the table explain."""
    marks = {
        _DEFAULTS: row["name"] == tree["defaults"],
        _UNEQUAL: row["unequal"],
        _OWN: row["own_steps"],
        _ABOVE: row["name"] in [better["name"] for better in better_than_defaults(tree)],
    }
    return " ".join([row["name"], *(mark for mark, given in marks.items() if given)])


def _labels(row: Tree) -> str:
    used = row["labels"]
    told = " + ".join(f"{images} ({place.removeprefix('data.')})" for place, images in used.items()) or "0"
    return told if label_images(row) == sum(used.values()) else f"{told}, {label_images(row)} images in all"


def _steps(row: Tree) -> str:
    own, teachers = (_one_or_range(row[key]) for key in ("steps", "teacher_steps"))
    return own if teachers == "0" else f"{own} + {teachers}"


def _one_or_range(values: Iterable[int]) -> str:
    ordered = sorted(set(values))
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _mean(values: Sequence[float | None]) -> str:
    defined = [value for value in values if value is not None]
    return figure(sum(defined) / len(defined)) if defined and len(defined) == len(values) else "-"


def _between(one: Mapping[str, float | None]) -> str:
    """Return a mean with its interval."""
    ends = "" if one["low"] is None else f" [{one['low']:.3f}, {one['high']:.3f}]"
    return "-" if one["value"] is None else f"{figure(one['value'])}{ends}"


def _signed(one: Mapping[str, float | None] | None) -> str:
    """Return a difference with its interval, '' for none."""
    if one is None or one["value"] is None:
        return ""
    ends = "" if one["low"] is None else f" [{one['low']:+.3f}, {one['high']:+.3f}]"
    return f"{one['value']:+.3f}{ends}"


def _share(one: Mapping[str, float | None] | None) -> str:
    if one is None or one["value"] is None:
        return ""
    ends = "" if one["low"] is None else f" [{one['low']:.0%}, {one['high']:.0%}]"
    return f"{one['value']:.0%}{ends}"
