"""What a review is worth over seeds: labels and students by budget, in the order of the queue and in a random one.

    python benchmarks/review_value.py [--recipe recipes/review_value.yaml] [--seeds 0 1 2] [--budgets 325 650 ...]
        [--labels-only] [--workspace runs] [--set KEY=VALUE ...] [--json FILE]

Runs the recipe once a seed, as a run of one workspace, so that a second call goes on where the first was stopped. Each
run spends every budget in both orders and shows them in its report; this prints means over seeds and what the queue is
above random: F1 of the labels (of all boxes together, and the mean over classes) and, unless ``--labels-only``, AP and
AP50 of the student. Ends with 1 where the queue is not above random in one of them, on the average over seeds and
budgets.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from da_kd.events import Job
from da_kd.pipeline import build_steps, load_inputs
from da_kd.pipeline.steps import review_value
from da_kd.recipe import load_recipe
from da_kd.store import Store

FIGURES = {"F1": "F1 of labels", "class_F1": "mean F1 of classes", "AP": "student AP", "AP50": "student AP50"}


def main() -> int:
    """Run every seed, and compare."""
    asked = _arguments()
    points = [{"seed": seed, **point} for seed in asked.seeds for point in _points(asked, seed)]
    if asked.json:
        asked.json.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    gains = [_compare(points, figure) for figure in FIGURES if _known(points, figure)]
    return int(min(gains) <= 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("recipes/review_value.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=int, nargs="+", help="boxes; those of the recipe by default")
    parser.add_argument("--labels-only", action="store_true", help="train no student")
    parser.add_argument("--workspace", type=lambda text: Path(text).resolve(), default=Path("runs").resolve())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further changes of the recipe")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _points(asked: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Make the run of a seed, or find it made; return its points."""
    changes = [f"seed={seed}", "review.mode=simulate", *asked.set]
    changes += [f"review.simulate.budgets={asked.budgets}"] if asked.budgets else []
    folder = asked.workspace / f"{asked.recipe.stem}-seed{seed}"
    command = ["run", str(asked.recipe), "--run", str(folder), "--quiet"]
    command += ["--until", "review"] if asked.labels_only else []
    command += [word for change in changes for word in ("--set", change)]
    subprocess.run([sys.executable, "-m", "da_kd", *command], check=True, stdout=subprocess.DEVNULL)
    recipe, store = load_recipe(asked.recipe, changes), Store(asked.workspace)
    points = [
        dict(point)
        for point in review_value(recipe, build_steps(recipe, load_inputs(recipe, store, Job()), store), store)
    ]
    for point in points:
        print(f"seed {seed}  " + "  ".join(f"{key} {value}" for key, value in point.items()), flush=True)
    return points


def _known(points: list[dict[str, Any]], figure: str) -> bool:
    return bool(points) and all(point[figure] is not None for point in points)


def _compare(points: list[dict[str, Any]], figure: str) -> float:
    """Print means over seeds by budget; return what the queue is above random, on the average over budgets."""
    gains = []
    for budget in sorted({point["budget"] for point in points}):
        here = [point for point in points if point["budget"] == budget]
        queue, random = (
            sum(values) / len(values)
            for order in ("queue", "random")
            for values in [[point[figure] for point in here if not budget or point["order"] == order]]
        )
        print(f"{FIGURES[figure]:20} {budget:6} boxes  queue {queue:.4f}  random {random:.4f}  {queue - random:+.4f}")
        gains += [queue - random] if budget else []
    mean = sum(gains) / len(gains) if gains else 0.0
    print(f"{FIGURES[figure]:20}  mean over budgets  {mean:+.4f}")
    return mean


if __name__ == "__main__":
    sys.exit(main())
