"""How much of the gap is where boxes end: what two labellers do differently, and no label-free method can know.

    python benchmarks/box_habits.py [--workspace runs] [--out DIR]

Reads the finished runs of ``recipes/bench/labels_optional.yaml`` (``--final``, rows source_only, teacher, defaults,
source_mix and oracle; ``DA_KD_DATA``) and trains nothing. Where the edges of an object end is measured beside every
side of the labels of both domains' training images (``teachers.edges``); the medians of a class differ by how much more
room one labeller leaves than the other. Then boxes are moved by that difference and scored again: the test labels and
the oracle's boxes to where the source's labels would end, everybody else's to where the target's would. The first say
what a detector can have at most that knows everything but how the target is labelled; the second what the others would
have if they were told. The difference is read from labels of the target, so nothing here is a way to adapt; it tells
why adaptation ends where it does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from da_kd.bench.cells import Cell, plan_cells, truths_of
from da_kd.bench.figures import said_of
from da_kd.bench.files import machine, note_sitting, write_measured
from da_kd.bench.grid import load_grid
from da_kd.bench.intervals import Draws, Span, drawn_ap, recovered, span
from da_kd.boxes import clip
from da_kd.data import ImageSet, read_image
from da_kd.detections import DetectionTable
from da_kd.errors import DaKdError, DataError
from da_kd.events import Job
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.teachers.edges import moved, whole_ends

GRID = Path(__file__).parents[1] / "recipes" / "bench" / "labels_optional.yaml"
LOW, HIGH = "source_only", "oracle"
ROWS = (LOW, "teacher", "defaults", "source_mix", HIGH)
MOST = 100  # boxes per image and class that count, as in the grid's recipe
HEAD = ("boxes", "AP", "AP50", "moved to end as", "AP then", "difference", "AP50 then", "recovered then")

Scored = Sequence[tuple[DetectionTable, DetectionTable]]
Habits = Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """Boxes of all seeds, scored.

    Attributes:
        AP: the mean over seeds.
        AP50: likewise.
        per_class: AP by class, likewise.
        drawn: (R,) the AP of every resample of the images.
        images: how many there are.
    """

    AP: float
    AP50: float
    per_class: Mapping[str, float]
    drawn: Draws
    images: int


def main() -> int:
    """Score what is there twice, print the table and write its files; return the exit code."""
    asked, began, here = _arguments(), time.time(), machine()
    try:
        cells = _cells(asked.workspace)
    except DaKdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    inputs = next(cell for cell in cells if cell.row.name == "defaults").inputs
    source, target = habits_of(inputs.get("source")), habits_of(inputs.get("target_labelled"))
    there = {name: target[name] - source[name] for name in source}  # outwards, from the target's habit to the source's
    back = {name: -by for name, by in there.items()}
    rows = _rows(cells, there, back)
    out = asked.out or asked.workspace / "bench" / "box_habits"
    note_sitting(out, {**here, "jobs": 1, "worked": round(time.time() - began, 1)})
    tree = {**_words(rows, source, target), "head": HEAD, "lines": [_line(row) for row in rows], "rows": rows}
    _show(tree)
    for path in write_measured(tree, out, time.time() - began):
        print(path)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("runs"), help="where the grid's runs are")
    parser.add_argument("--out", type=Path, help="where the table goes; default: in the workspace")
    return parser.parse_args()


def _cells(workspace: Path) -> list[Cell]:
    """Return the finished cells of the grid.

    Raises:
        DataError: some are not made yet.
    """
    cells = plan_cells(load_grid(GRID), workspace.resolve(), Job(), rows=ROWS, final=True)
    if missing := [cell.name for cell in cells if cell.missing]:
        raise DataError(
            f"Expected finished runs of {GRID.name} in {workspace}; {len(missing)} of {len(cells)} are missing, e.g. "
            f"'{missing[0]}'. Make them first: da-kd bench {GRID} --rows {','.join(ROWS)} --final."
        )
    return cells


def habits_of(images: ImageSet) -> dict[str, float]:
    """Return where the edges end, seen from the sides of the labels: a class's median, in widths or heights of the box.

    Boxes at the border of their picture are left out; negative is inside of the box, so that its labels leave room.
    """
    seen: dict[str, list[Any]] = {name: [] for name in images.vocabulary}
    for row in range(len(images)):
        pixels, labels = read_image(images.path(row)), images.table.at(row)
        whole, ends = whole_ends(pixels, labels.xyxy)
        for label, name in enumerate(images.vocabulary):
            seen[name].append(ends[labels.label[whole] == label])
    return {name: float(np.nanmedian(np.concatenate(ends))) for name, ends in seen.items()}


def drawn_like(table: DetectionTable, by: Habits) -> DetectionTable:
    """Return boxes whose sides lie farther out by a class's share of their width or height; not those at the border."""
    boxes = table.xyxy.astype(np.float64)
    shift = np.array([by.get(name, 0.0) for name in table.vocabulary])[table.label]
    for row, (wide, high) in enumerate(table.size):
        mine = slice(table.offsets[row], table.offsets[row + 1])
        boxes[mine] = clip(moved(boxes[mine], np.tile(shift[mine, None], 4), wide, high), wide, high)
    return replace(table, xyxy=boxes.astype(np.float32))


def _rows(cells: Sequence[Cell], there: Habits, back: Habits) -> list[dict[str, Any]]:
    """Return every row's figures as they are and with its boxes moved."""
    truths = truths_of(cells)
    scored: dict[str, Scored] = {
        row: [(truths[cell.seed], said_of(cell)) for cell in cells if cell.row.name == row] for row in ROWS
    }
    labels = next(iter(truths.values()))
    perfect = [(labels, replace(labels, score=np.ones(len(labels.xyxy), np.float32)))]
    plain = {row: _measured(pairs) for row, pairs in scored.items()}
    ends = plain[LOW], plain[HIGH]
    rows = [_row("the test labels", _measured(perfect), _measured(_moved(perfect, there)), "the source's labels", ends)]
    rows += [_row(HIGH, plain[HIGH], _measured(_moved(scored[HIGH], there)), "the source's labels", ends)]
    for name in ROWS[1:-1]:
        rows.append(_row(name, plain[name], _measured(_moved(scored[name], back)), "the target's labels", ends))
    return rows


def _moved(pairs: Scored, by: Habits) -> Scored:
    return [(truth, drawn_like(said, by)) for truth, said in pairs]


def _measured(pairs: Scored) -> Measured:
    metrics = [score_tables(truth, said) for truth, said in pairs]
    classes = {name: float(np.mean([one.per_class[name] for one in metrics])) for name in metrics[0].per_class}
    ap, ap50 = (float(np.mean([getattr(one, key) for one in metrics])) for key in ("AP", "AP50"))
    return Measured(ap, ap50, classes, drawn_ap(pairs, MOST), len(pairs[0][0]))


def _row(name: str, plain: Measured, then: Measured, like: str, ends: tuple[Measured, Measured]) -> dict[str, Any]:
    low, high = ends
    return {
        "name": name,
        "like": like,
        "images": plain.images,
        "AP": plain.AP,
        "AP50": plain.AP50,
        "per_class": plain.per_class,
        "then": {"AP": then.AP, "AP50": then.AP50, "per_class": then.per_class},
        "difference": span(then.AP - plain.AP, then.drawn - plain.drawn),
        "recovered": recovered((then.AP - low.AP) / (high.AP - low.AP), then.drawn - low.drawn, high.drawn - low.drawn),
    }


def _line(row: Mapping[str, Any]) -> list[str]:
    """Return a line of the table as text."""
    then = row["then"]
    figures = [f"{row['AP']:.3f}", f"{row['AP50']:.3f}", row["like"], f"{then['AP']:.3f}"]
    return [row["name"], *figures, _signed(row["difference"]), f"{then['AP50']:.3f}", _percent(row["recovered"])]


def _signed(one: Span) -> str:
    return f"{one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"


def _percent(one: Span) -> str:
    return f"{one['value']:.0%} [{one['low']:.0%}, {one['high']:.0%}]"


def _words(rows: Sequence[Mapping[str, Any]], source: Habits, target: Habits) -> dict[str, Any]:
    """Return what stands around the table."""
    best = next(row for row in rows if row["name"] == HIGH)
    habits = "; ".join(f"{name} {source[name]:+.3f} and {target[name]:+.3f}" for name in source)
    then = best["then"]["per_class"]
    classes = ", ".join(f"{name} {then[name]:.3f} ({ap:.3f})" for name, ap in best["per_class"].items())
    return {
        "name": "box_habits",
        "scored_on": "test",
        "title": "Where boxes end, which no image tells",
        "about": (
            "Blood smears, BCCD to PBC, the models of the table 'Labels are optional'. Those who label leave more room "
            "around an object or less. Here every box is moved by what the two labellers differ by, a class's median, "
            "and scored again. That is read from labels of PBC's training images, so it is no way to adapt: it tells "
            "what a model can have that knows everything but how the target is labelled."
        ),
        "command": "python benchmarks/box_habits.py",
        "images": rows[0]["images"],
        "sentences": [
            "In brackets 95 % intervals, from 1,000 resamples of the images in which all rows see the same draws and "
            "the seeds' APs are averaged. Recovered is the share of the AP between source_only and the unmoved oracle.",
            f"Where the edge ends beside a label's sides, in widths or heights of the box (BCCD and PBC; negative: "
            f"the label leaves room): {habits}.",
            f"An oracle that ends its boxes as BCCD's labels do wins {_percent(best['recovered'])} of the gap, and by "
            f"class {classes}. More than that asks for labels of the target, or for a better detector than this one.",
        ],
    }


def _show(tree: Mapping[str, Any]) -> None:
    table = Table(title=str(tree["title"]))
    for name in tree["head"]:
        table.add_column(name, overflow="fold")
    for line in tree["lines"]:
        table.add_row(*line)
    console = Console(width=160)
    console.print(table)
    for sentence in tree["sentences"]:
        console.print(sentence)


if __name__ == "__main__":
    sys.exit(main())
