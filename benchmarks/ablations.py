"""What each way of treating doubtful labels is worth: the recipes of ``recipes/ablations`` over seeds, as one table.

    python benchmarks/ablations.py [--rows hard ignore ...] [--seeds 0 1 2] [--workspace runs-ablations]
                                   [--final] [--markdown FILE] [--json FILE]

Needs the cells data (``DA_KD_DATA``). Every row is an ordinary run, so a second call only reads what is there, and rows
share the teacher and the baseline of their seed. One process a seed, each with one thread, in a workspace of its own:
so two of them share two cores without hindering each other. Students are scored on a development part of the target's
training split; ``--final`` scores the same weights on the validation and test splits, once choices are made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[1] / "recipes" / "ablations"
ORDER = ("hard", "weighted", "ignore", "mask", "both", "batch_norm", "mix", "rounds")
ORDER = (*ORDER, "strong", "ema", "refresh", "refresh_ema", "combined")
FINAL = "data.test={path: cells/pbc, split: [val, test]}"
Figures = dict[str, Any]


def main() -> int:
    """Run what is missing, then print the table."""
    asked = _arguments()
    with ThreadPoolExecutor(asked.jobs) as pool:
        found = list(pool.map(lambda seed: _seed(asked, seed), asked.seeds))
    rows = {row: [figures[row] for figures in found] for row in ["source_only", "teacher", *asked.rows]}
    _show(rows, asked)
    if asked.json:
        tree = {"seeds": asked.seeds, "scored_on": "test" if asked.final else "development", "rows": rows}
        asked.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(_markdown(rows), encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    there = [row for row in ORDER if (FOLDER / f"{row}.yaml").is_file()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=there, choices=there)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time")
    parser.add_argument("--workspace", type=Path, default=Path("runs-ablations"))
    parser.add_argument("--final", action="store_true", help="score on the test split")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _seed(asked: argparse.Namespace, seed: int) -> dict[str, Figures]:
    """Return the figures of every row of one seed."""
    found: dict[str, Figures] = {}
    for row in asked.rows:
        folder = asked.workspace / f"seed{seed}" / (f"{row}-final" if asked.final else row)
        changes = ["--set", f"seed={seed}", *(["--set", FINAL] if asked.final else [])]
        command = [sys.executable, "-m", "da_kd", "run", str(FOLDER / f"{row}.yaml"), "--run", str(folder), "--quiet"]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, *changes], check=True, stdout=subprocess.DEVNULL, env=one_thread)
        models = json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))["models"]
        teacher = next(name for name in models if name.startswith("teacher:"))
        found.setdefault("source_only", models["source_only"])  # of the first row: it is trained as the student is
        found |= {"teacher": models[teacher], row: models["student"]}
        found[row]["steps"] = _steps(folder)
    return found


def _steps(folder: Path) -> int:
    """Return the optimiser steps of all students of a run, whatever its rounds."""
    steps = json.loads((folder / "run.json").read_text(encoding="utf-8"))["steps"]
    prints = [step["fingerprint"] for name, step in steps.items() if name.partition("@")[0] == "student"]
    trained = [next(folder.parent.glob(f"store/distill/{name}/training.json")) for name in prints]
    return sum(int(json.loads(path.read_text(encoding="utf-8"))["steps"]) for path in trained)


def _columns(rows: dict[str, list[Figures]]) -> dict[str, Any]:
    """Return what each column shows of one seed's figures."""
    classes = next(iter(rows.values()))[0]["per_class"]
    columns: dict[str, Any] = {"AP": lambda one: one["AP"], "AP50": lambda one: one["AP50"]}
    return columns | {name: lambda one, name=name: one["per_class"][name] for name in classes}


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _lines(rows: dict[str, list[Figures]]) -> list[list[str]]:
    """Return the table's cells: mean and range over seeds, and the mean difference to the first ablation."""
    columns, base = _columns(rows), next((row for row in ORDER if row in rows), "")
    lines = []
    for row, seeds in rows.items():
        pairs = [one["AP"] - first["AP"] for one, first in zip(seeds, rows[base], strict=True)]
        beside = _signed(pairs) if row in ORDER and row != base else ""
        steps = "/".join(sorted({str(one["steps"]) for one in seeds if "steps" in one}))
        lines.append([row, steps, *(_spread([get(one) for one in seeds]) for get in columns.values()), beside])
    return lines


def _signed(pairs: list[float]) -> str:
    return f"{sum(pairs) / len(pairs):+.3f} ({min(pairs):+.3f} to {max(pairs):+.3f})"


def _head(rows: dict[str, list[Figures]]) -> list[str]:
    base = next((row for row in ORDER if row in rows), "")
    return ["row", "steps", *_columns(rows), f"AP less {base}'s, by seed"]


def _show(rows: dict[str, list[Figures]], asked: argparse.Namespace) -> None:
    where = "the test split" if asked.final else "the development split"
    table = Table(title=f"AP on {where}: mean (range) over seeds {', '.join(map(str, asked.seeds))}")
    for name in _head(rows):
        table.add_column(name, overflow="fold")
    for line in _lines(rows):
        table.add_row(*line)
    Console(width=160).print(table)


def _markdown(rows: dict[str, list[Figures]]) -> str:
    head = _head(rows)
    lines = [head, ["---"] * len(head), *_lines(rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
