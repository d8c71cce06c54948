"""The figures of a table, read from the outputs of its cells: one tree of plain values that everything is shown from.

``bench.json`` holds the tree. Knows cells and outputs; must not know how a table is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from da_kd.bench.cells import Cell, most_of, truths_of
from da_kd.bench.claims import Shown, Tree, judge
from da_kd.bench.grid import Grid
from da_kd.bench.intervals import Draws, Span, difference, drawn_ap, recovered, span
from da_kd.detections import DetectionTable, read_table
from da_kd.pipeline.steps import Step
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.training import read_result

TOLERANCE = 0.05  # steps are rounded to whole epochs; rows whose totals differ by a larger share are not equal
_COURSE = (0.5, 0.75, 1.0)  # the parts of a training after which its own validation is told


def tree_of(grid: Grid, cells: Sequence[Cell], *, final: bool) -> Tree:
    """Return everything the table says but where and how it was made.

    ``rows`` holds for each row the lists by seed (``AP``, ``AP50``, ``per_class``, ``steps``, ``teacher_steps``), the
    95 % ``interval`` of the mean AP, the paired ``difference`` to the reference, ``beside_defaults`` and ``recovered``
    (each ``value``, ``low``, ``high``, or None), the ``labels`` of the target used (of ``label_images`` images in all),
    how an oracle ``stopped``, and the fingerprints of the ``outputs`` that its figures were read from.
    ``claims`` says which of the grid's claims hold.
    """
    by_row: dict[str, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell.row.name, []).append(cell)
    truths = truths_of(cells)
    drawn = {name: _drawn(found, truths) for name, found in by_row.items()}
    rows = [_row(found, truths) for found in by_row.values()]
    means = {row["name"]: _mean(row["AP"]) for row in rows}
    defaults = next((cell.row.name for cell in cells if cell.row.defaults), None)
    equal = _standard(rows, defaults)
    for row in rows:
        name = row["name"]
        row["unequal"] = _counted(row) and abs((_mean(row["steps"]) or 0) - equal) > TOLERANCE * equal
        row["interval"] = span(means[name], drawn[name])
        row["difference"] = _difference(name, grid.reference_row, means, drawn)
        row["beside_defaults"] = _difference(name, defaults, means, drawn)
        row["recovered"] = _recovered(name, grid, means, drawn)
    first, classes = cells[0], list(truths[cells[0].seed].vocabulary)
    gap = None if grid.gap is None else (grid.gap.low, grid.gap.high)
    shown = Shown(rows, means, drawn, lambda name, one: _drawn(by_row[name], truths, one), classes, grid.lines, gap)
    return {
        "schema": 1,
        "name": grid.name,
        "title": grid.title or grid.name,
        "about": grid.about,
        "scored_on": "test" if final else "development",
        "images": len(first.inputs.get("test").table),
        "images_by_seed": len({tuple(truth.sha) for truth in truths.values()}) > 1,
        "seeds": list(dict.fromkeys(cell.seed for cell in cells)),
        "all_seeds": list(grid.seeds),
        "classes": classes,
        "reference": grid.reference_row,
        "defaults": defaults,
        "gap": list(gap) if gap and set(gap) <= set(by_row) else None,
        "frozen": grid.frozen if final else None,
        "x": grid.x,
        "steps": equal,
        "rows": rows,
        "claims": judge(grid.claims, shown),
    }


def seconds_of(cells: Sequence[Cell]) -> float:
    """Return what all outputs took when they were made, each counted once."""
    outputs = {
        step.output.fingerprint: cell.store.manifest(step.output)["seconds"]
        for cell in cells
        for step in cell.steps.values()
    }
    return round(sum(map(float, outputs.values())), 1)


def _row(cells: Sequence[Cell], truths: Mapping[int, DetectionTable]) -> Tree:
    """Return what a row's outputs say themselves."""
    row, figures = cells[0].row, [_figures(cell, truths[cell.seed]) for cell in cells]
    known = cells[0].recipe.classes
    return {
        "name": row.name,
        "model": row.model,
        "line": row.line,
        "x": row.x,
        "note": row.note,
        "own_steps": row.steps == "own",
        "claims_no_labels": row.target_labels == "none",
        "set": row.set,
        "seeds": [cell.seed for cell in cells],
        "AP": [tree["AP"] for tree in figures],
        "AP50": [tree["AP50"] for tree in figures],
        "per_class": {name: [tree["per_class"][name] for tree in figures] for name in figures[0]["per_class"]},
        "steps": [_steps(cell, cell.trained) for cell in cells],
        "teacher_steps": [_steps(cell, cell.taught) for cell in cells],
        "images": [_images(cell) for cell in cells],
        "labels": cells[0].labels,
        "label_images": cells[0].label_images,
        "outputs": [cell.score.output.fingerprint for cell in cells],
        "unknown": [name for name in truths[cells[0].seed].vocabulary if name not in known],
        "stopped": [_stopped(cell) for cell in cells] if row.steps == "own" else [],
    }


def _figures(cell: Cell, truth: DetectionTable) -> Tree:
    """Return a cell's figures; a class of the table that its model does not know is one it never finds."""
    if set(cell.recipe.classes) != set(truth.vocabulary):
        return score_tables(truth, said_of(cell), most_of(cell)).as_json()
    tree: Tree = json.loads((cell.store.path(cell.score.output) / "metrics.json").read_text(encoding="utf-8"))
    return tree


def said_of(cell: Cell) -> DetectionTable:
    """Return all boxes that a finished cell's model found on the scored images."""
    return read_table(cell.store.path(cell.score.output) / "predictions.parquet")


def _steps(cell: Cell, trainings: Mapping[str, Step]) -> int:
    """Return the optimiser steps that trainings took."""
    return sum(read_result(cell.store.path(step.output)).steps for step in trainings.values())


def _images(cell: Cell) -> int | None:
    """Return how many images the last training of the scored model saw, None where it was not trained."""
    last = list((cell.trained or cell.taught).values())
    return read_result(cell.store.path(last[-1].output)).images if last else None


def _stopped(cell: Cell) -> Tree:
    """Return how the last training of a model ended: the epoch taken, the last one, and the most it was allowed.

    ``validation`` is its own validation AP after half, three quarters and all of its epochs, where these were scored.
    """
    step = list(cell.trained.values())[-1]
    result = read_result(cell.store.path(step.output))
    most = round(step.training_steps * result.epochs / result.steps)
    scored = {int(one["epoch"]): one["val_AP"] for one in result.curves if "val_AP" in one}
    at = sorted({max(1, round(result.epochs * share)) for share in _COURSE})
    return {
        "best": result.best_epoch,
        "last": result.epochs,
        "most": most,
        "by_itself": result.epochs < most,
        "validation": [[epoch, scored[epoch]] for epoch in at if epoch in scored],
    }


def _drawn(cells: Sequence[Cell], truths: Mapping[int, DetectionTable], only: str | None = None) -> Draws:
    """Return the resampled AP of a row, or of one class of it."""
    return drawn_ap([(truths[cell.seed], said_of(cell)) for cell in cells], most_of(cells[0]), only)


def _counted(row: Tree) -> bool:
    """Return whether a row's steps are to be those of the others: an oracle has its own, a teacher no student's."""
    return not row["own_steps"] and not row["model"].startswith("teacher:")


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) and defined else None


def _standard(rows: Sequence[Tree], defaults: str | None) -> int:
    """Return the steps that all rows are to take: those of the defaults, else those that most rows nearly take."""
    steps = {row["name"]: round(_mean(row["steps"]) or 0) for row in rows if _counted(row)}
    if defaults in steps:
        return steps[defaults]
    near = {name: sum(abs(other - own) <= TOLERANCE * own for other in steps.values()) for name, own in steps.items()}
    return steps[max(near, key=lambda name: near[name])] if steps else 0


def _difference(
    name: str, other: str | None, means: Mapping[str, float | None], drawn: Mapping[str, Draws]
) -> Tree | None:
    """Return the AP of a row less that of another, None where there is nothing to compare."""
    if other is None or other == name or other not in means:
        return None
    found = difference(name, other, means, drawn)
    return None if found["value"] is None else dict(found)


def _recovered(name: str, grid: Grid, means: Mapping[str, float | None], drawn: Mapping[str, Draws]) -> Span | None:
    """Return the share of the gap that a row recovers, None where there is no such row or no gap."""
    gap = grid.gap
    if gap is None or name in (gap.low, gap.high) or gap.low not in means or gap.high not in means:
        return None
    low, own, high = means[gap.low], means[name], means[gap.high]
    if low is None or own is None or high is None or high <= low:
        return None
    return recovered((own - low) / (high - low), drawn[name] - drawn[gap.low], drawn[gap.high] - drawn[gap.low])
