"""A teacher that cannot be adapted, under fog, darkness, noise, blur and JPEG: what views and merging do for it.

    python benchmarks/corruptions.py [--by fog ...] [--strengths 1 2 3] [--workspace runs-corruptions] [--out DIR]

Runs ``recipes/coco_corrupted.yaml`` (``DA_KD_DATA``) until *fuse*, for every damage at every strength and for clean
images, with one teacher as it is, with the same teacher and views (mirror image, larger tiles), and with both merged by
*fuse*. Every row is an ordinary run, so a second call only reads what is there. Told are AP and AP50 of what was said
(merged: of what *fuse* makes of it, dropped boxes included, by its scores), and precision and recall of the labels
that *fuse* keeps at the recipe's own thresholds: class and IoU of at least 0.5, all boxes together.

Both teachers are one model: an honest second opinion would be another one. What merging both gains is what a second
look at the image itself gains. Batch-norm adaptation is not among the rows: weights in an ONNX file are fixed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from da_kd import pipeline
from da_kd.bench.files import machine, note_sitting, write_measured
from da_kd.bench.intervals import drawn_ap, span
from da_kd.detections import DetectionTable, State, read_table
from da_kd.events import Job
from da_kd.merging.matching import paired
from da_kd.recipe import Recipe, load_recipe
from da_kd.stages import predict
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.store import Store

RECIPE = Path(__file__).parents[1] / "recipes" / "coco_corrupted.yaml"
KINDS = ("fog", "darkness", "noise", "blur", "jpeg")
WAYS = {"plain": ("plain",), "views": ("views",), "merged": ("plain", "views")}
HEAD = (
    *("damage", "strength", "plain AP", "AP50", "precision", "recall"),
    *("views AP", "less plain's", "AP50", "precision", "recall"),
    *("merged AP", "less plain's", "AP50", "precision", "recall"),
)


@dataclass(frozen=True)
class Damage:
    """What is done to the images; a strength of 0 is nothing."""

    by: str
    strength: int

    @property
    def name(self) -> str:
        """What its runs are called."""
        return f"{self.by}_{self.strength}" if self.strength else "clean"

    def changes(self) -> list[str]:
        """Return what it changes in the recipe."""
        value = f"{{by: {self.by}, strength: {self.strength}}}" if self.strength else "null"
        return [f"data.{name}.corrupt={value}" for name in ("target", "target_labelled", "test")]


def main() -> int:
    """Run what is missing, then print the table and write its files."""
    asked, began, here = _arguments(), time.time(), machine()
    out = asked.out or asked.workspace / "bench" / "corruptions"
    damages = [Damage("clean", 0), *(Damage(by, strength) for by in asked.by for strength in asked.strengths)]
    rows, made = [], False
    for damage in damages:
        row, fresh = _row(asked, damage)
        made |= fresh
        rows.append(row)
        print(" | ".join(_line(row)), flush=True)
    if made:
        note_sitting(out, {**here, "jobs": 1, "worked": round(time.time() - began, 1)})
    _show(rows)
    tree = {**_words(rows, asked), "head": HEAD, "lines": [_line(row) for row in rows], "rows": rows}
    for path in write_measured(tree, out, sum(row["seconds"] for row in rows)):
        print(path)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--by", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--strengths", nargs="+", type=int, default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--workspace", type=Path, default=Path("runs-corruptions"))
    parser.add_argument("--out", type=Path, help="where the table goes; default: in the workspace")
    return parser.parse_args()


def _row(asked: argparse.Namespace, damage: Damage) -> tuple[dict[str, Any], bool]:
    """Return the figures of all ways to ask the teacher, and whether anything was made for them."""
    recipe = load_recipe(RECIPE, damage.changes())
    results = {way: _run(asked.workspace, recipe, damage, way) for way in WAYS}
    truth = pipeline.load_inputs(recipe, Store(asked.workspace.resolve()), Job()).get("test").table
    said = {way: _said(results[way], way, truth) for way in WAYS}
    drawn = {way: drawn_ap([(truth, table)], 100) for way, table in said.items()}
    ways: dict[str, Any] = {}
    for way, table in said.items():
        metrics = score_tables(truth, table)
        ways[way] = {"AP": metrics.AP, "AP50": metrics.AP50, **_labels(results[way], truth)}
        ways[way]["difference"] = span(metrics.AP - ways["plain"]["AP"], drawn[way] - drawn["plain"])
    steps = {step.folder: step for result in results.values() for step in result.steps}
    seconds = sum(_seconds(folder) for folder in steps)
    row = {"by": damage.by, "strength": damage.strength, "images": len(truth), "ways": ways, "seconds": seconds}
    return row, any(not step.reused for step in steps.values())


def _run(workspace: Path, recipe: Recipe, damage: Damage, way: str) -> pipeline.RunResult:
    teachers = tuple(teacher for teacher in recipe.teachers if teacher.name in WAYS[way])
    chosen = recipe.model_copy(update={"teachers": teachers})
    return pipeline.run(chosen, workspace / f"{damage.name}.{way}", until="fuse")


def _folder(result: pipeline.RunResult, name: str) -> Path:
    return next(step.folder for step in result.steps if step.name == name)


def _said(result: pipeline.RunResult, way: str, truth: DetectionTable) -> DetectionTable:
    """Return all that was said of the images, as predictions in the names of the truth's images."""
    if way == "merged":
        table = read_table(_folder(result, "fuse") / "labels.parquet")
        table = replace(table, state=np.full(len(table.xyxy), State.KEPT, np.int8))
    else:
        table = predict.read_predictions(_folder(result, f"predict:{way}"))
    return table.take([table.key.index(key) for key in truth.key])


def _labels(result: pipeline.RunResult, truth: DetectionTable) -> Mapping[str, float | None]:
    """Return precision and recall of the labels that *fuse* keeps."""
    labels = read_table(_folder(result, "fuse") / "labels.parquet")
    rows = {key: row for row, key in enumerate(truth.key)}
    right = kept = objects = 0
    for index, key in enumerate(labels.key):
        boxes, there = labels.at(index), truth.at(rows[key])
        right += int(paired(there, boxes).sum())
        kept, objects = kept + len(boxes), objects + len(there)
    return {"precision": right / kept if kept else None, "recall": right / objects, "kept": kept, "objects": objects}


def _seconds(folder: Path) -> float:
    return float(json.loads((folder / "output.json").read_text(encoding="utf-8"))["seconds"])


def _line(row: Mapping[str, Any]) -> list[str]:
    """Return a line of the table as text."""
    cells = [row["by"], str(row["strength"] or "-")]
    for way, one in row["ways"].items():
        cells.append(_figure(one["AP"]))
        cells += [] if way == "plain" else [_signed(one["difference"])]
        cells += [_figure(one[key]) for key in ("AP50", "precision", "recall")]
    return cells


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(one: Mapping[str, float | None]) -> str:
    ends = "" if one["low"] is None else f" [{one['low']:+.3f}, {one['high']:+.3f}]"
    return f"{one['value']:+.3f}{ends}"


def _words(rows: Sequence[Mapping[str, Any]], asked: argparse.Namespace) -> dict[str, Any]:
    """Return what stands around the table."""
    command = ["python benchmarks/corruptions.py"]
    command += [f"--by {' '.join(asked.by)}"] if tuple(asked.by) != KINDS else []
    command += [f"--strengths {' '.join(map(str, asked.strengths))}"] if list(asked.strengths) != [1, 2, 3] else []
    return {
        "name": "corruptions",
        "scored_on": "test",
        "title": "A COCO teacher in fog, darkness, noise, blur and JPEG",
        "about": (
            "YOLOX-Nano (ONNX, 416 px, trained on COCO) labels photographs of COCO's validation set under simulated "
            f"damage of strength {', '.join(map(str, asked.strengths))} (docs/data.md has the formulas). Nothing is "
            "trained and nothing is chosen on these images: thresholds are the recipe's own."
        ),
        "command": " ".join(command),
        "images": rows[0]["images"],
        "x": "strength of the damage; 0 is clean",
        "y": "AP",
        "panels": [_panel(by, rows) for by in asked.by],
        "sentences": list(_sentences(rows)),
    }


def _panel(by: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one damage's panel of the plot; it begins with the clean images."""
    mine = [row for row in rows if row["by"] in ("clean", by)]
    lines = {way: [row["ways"][way]["AP"] for row in mine] for way in WAYS}
    return {"title": by, "x": [row["strength"] for row in mine], "lines": lines}


def _sentences(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what a reader has to know, and what the table shows."""
    yield (
        f"On {rows[0]['images']} images. In brackets 95 % intervals of the difference, from 1,000 resamples of the "
        "images. Precision and recall are those of the labels kept by *fuse* from a score of 0.5 on; class and IoU of "
        "at least 0.5; all boxes together."
    )
    yield (
        "views: the mirror image and tiles at 1.2 times the size are looked at, too, and merged by WBF. merged: plain "
        "and views, as two teachers, merged by *fuse*. Both are one model; there are no weights of a second COCO "
        "detector in this data set, so nothing is said here about merging different teachers. Batch-norm adaptation "
        "does not apply to an ONNX file, whose weights are fixed."
    )
    for way in ("views", "merged"):
        sure = {side: [one for one in rows if _side(one["ways"][way]["difference"]) == side] for side in (1, -1)}
        told = [f"{'above' if side > 0 else 'below'} plain in {len(sure[side])}" for side in (1, -1)]
        names = ", ".join(Damage(one["by"], one["strength"]).name for one in sure[-1])
        yield f"{way}: {' and '.join(told)} of {len(rows)} rows beyond the interval{f' ({names})' if names else ''}."


def _side(one: Mapping[str, Any]) -> int:
    """Return 1 or -1 where an interval leaves out 0, and on which side; else 0."""
    if one["low"] is None:
        return 0
    return int(one["low"] > 0) - int(one["high"] < 0)


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title="A COCO teacher under damage")
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*_line(row))
    Console(width=200).print(table)


if __name__ == "__main__":
    sys.exit(main())
