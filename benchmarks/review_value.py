"""What a review is worth: labels and students by budget, in the order of the queue and in a random one.

    python benchmarks/review_value.py [--recipe recipes/demo.yaml] [--seeds 0 1 2] [--budgets 0 0.05 0.1 0.2 0.4]
        [--labels-only] [--workspace runs] [--set KEY=VALUE ...] [--json FILE] [--plot FILE.html]

Teaches, predicts and fuses once a seed; then a simulated reviewer, who knows the labels of ``data.target_labelled``,
spends each budget (a share of the boxes to look at) in both orders, and a student learns from what comes out. All are
ordinary runs of one workspace, so a second call goes on where the first was stopped. Prints F1 of the labels (all boxes
together, and the mean over classes) and, unless ``--labels-only``, AP of the student. Ends with 1 where the queue is
not above random on the average over seeds and budgets.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, State, read_table
from da_kd.events import Job
from da_kd.merging.matching import paired
from da_kd.pipeline import build_steps, load_inputs
from da_kd.recipe import load_recipe
from da_kd.store import Store

ORDERS = ("queue", "random")
FIGURES = {"f1": "F1 of labels", "class_f1": "mean F1 of classes", "ap": "student AP"}


def main() -> int:
    """Spend every budget in both orders, and compare."""
    asked = _arguments()
    rows = []
    for seed in asked.seeds:
        fused, truth = _run(asked, seed, 0, "queue", train=False)
        boxes = int(np.isin(fused.state, (State.KEPT, State.UNCERTAIN)).sum())
        for share in asked.budgets:
            for order in ORDERS if share else ORDERS[:1]:
                budget = round(share * boxes)
                labels, _ = _run(asked, seed, budget, order, train=not asked.labels_only)
                row = {"seed": seed, "share": share, "order": order, "budget": budget, **_label_f1(labels, truth.table)}
                row["ap"] = None if asked.labels_only else _student(_folder(asked, seed, budget, order))
                rows.append(row)
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    rows += [{**row, "order": "random"} for row in rows if not row["share"]]  # nothing spent is both
    worse = _print_table(rows)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if asked.plot:
        _plot(rows, asked.plot)
    return worse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--error", type=float, default=0.0, help="the share of decisions that come out wrong")
    parser.add_argument("--labels-only", action="store_true", help="train no student")
    parser.add_argument("--workspace", type=lambda text: Path(text).resolve(), default=Path("runs").resolve())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further changes of the recipe")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def _folder(asked: argparse.Namespace, seed: int, budget: int, order: str) -> Path:
    folder: Path = asked.workspace / f"{asked.recipe.stem}-seed{seed}-{order}{budget}"
    return folder


def _changes(asked: argparse.Namespace, seed: int, budget: int, order: str) -> list[str]:
    ours = [f"seed={seed}", "review.mode=simulate", f"review.simulate.budget={budget}", "finetune=null"]
    ours += [f"review.simulate.order={order}", f"review.simulate.error={asked.error}"]
    return [*ours, "evaluate.source_only=false", "evaluate.oracle=false", *asked.set]


def _run(
    asked: argparse.Namespace, seed: int, budget: int, order: str, *, train: bool
) -> tuple[DetectionTable, ImageSet]:
    """Make a run, or find it made; return its reviewed labels and the truth."""
    folder, changes = _folder(asked, seed, budget, order), _changes(asked, seed, budget, order)
    command = ["run", str(asked.recipe), "--run", str(folder), "--quiet", "--until", "report" if train else "review"]
    command += [word for change in changes for word in ("--set", change)]
    subprocess.run([sys.executable, "-m", "da_kd", *command], check=True, stdout=subprocess.DEVNULL)
    recipe, store = load_recipe(asked.recipe, changes), Store(asked.workspace)
    inputs = load_inputs(recipe, store, Job())
    output = build_steps(recipe, inputs, store)["review"].output
    return read_table(store.path(output) / "labels.parquet"), inputs.get("target_labelled")


def _student(folder: Path) -> float:
    metrics = json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))
    return float(metrics["models"]["student"]["AP"])


def _label_f1(labels: DetectionTable, truth: DetectionTable) -> dict[str, float]:
    """Return F1 of the kept boxes against the truth."""
    rows = {sha: row for row, sha in enumerate(truth.sha)}
    counts = np.zeros((3, len(labels.vocabulary)))  # right boxes, boxes, objects
    for ours, sha in enumerate(labels.sha):
        if sha in rows:
            boxes, objects = labels.at(ours), truth.at(rows[sha])
            right = boxes.label[paired(objects, boxes)]
            for row, label in enumerate((right, boxes.label, objects.label)):
                counts[row] += np.bincount(label, minlength=counts.shape[1])
    by_class = 2 * counts[0] / np.maximum(counts[1] + counts[2], 1)
    right, boxes, objects = counts.sum(axis=1)
    return {"f1": round(float(2 * right / (boxes + objects)), 5), "class_f1": round(float(by_class.mean()), 5)}


def _series(rows: list[dict[str, Any]], figure: str, order: str) -> dict[float, float]:
    """Return the mean over seeds by share."""
    shares = sorted({row["share"] for row in rows})
    here = [row for row in rows if row["order"] == order]
    return {share: float(np.mean([row[figure] for row in here if row["share"] == share])) for share in shares}


def _print_table(rows: list[dict[str, Any]]) -> int:
    """Print means over seeds; return 1 where the queue is not above random."""
    worse = 0
    for figure, name in FIGURES.items():
        if any(row[figure] is None for row in rows):
            continue
        queue, random = (_series(rows, figure, order) for order in ORDERS)
        for share in queue:
            gain = queue[share] - random[share]
            print(f"{name:20} {share:5.0%}  queue {queue[share]:.4f}  random {random[share]:.4f}  {gain:+.4f}")
        gains = [queue[share] - random[share] for share in queue if share]
        worse |= bool(gains) and np.mean(gains) <= 0
        if gains:
            print(f"{name:20} mean   {np.mean(gains):+.4f}")
    return int(worse)


def _plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Write a page with a chart for each figure."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    known = [figure for figure in FIGURES if all(row[figure] is not None for row in rows)]
    page = make_subplots(rows=1, cols=len(known), subplot_titles=[FIGURES[figure] for figure in known])
    for column, figure in enumerate(known, start=1):
        for order, colour in zip(ORDERS, ("#0b6e99", "#999999"), strict=True):
            series = _series(rows, figure, order)
            line = go.Scatter(
                x=list(series), y=list(series.values()), name=order, line={"color": colour}, showlegend=column == 1
            )
            page.add_trace(line, row=1, col=column)
    page.update_xaxes(tickformat=".0%", title="boxes looked at")
    page.write_html(file, include_plotlyjs=True)


if __name__ == "__main__":
    sys.exit(main())
