"""The demo's ladder over seeds: is it in order, and is there a gap to close?

    python benchmarks/ladder.py [--recipe recipes/demo.yaml] [--seeds 0 1 2 10 11 12] [--workspace runs] [--json FILE]

Runs the recipe once a seed, as ordinary runs (so a second call only reads them), and prints one line a seed, means and
ranges. Ends with 1 where a rule is broken: source-only < student < fine-tuned in AP, and source-only at least 0.15
below the oracle in AP50.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROWS = ("source_only", "teacher", "student", "finetuned", "oracle")
LEAST_GAP = 0.15  # AP50 between source-only and oracle


def main() -> int:
    """Run all seeds and judge them."""
    asked = _arguments()
    table = {}
    for seed in asked.seeds:
        folder = asked.workspace / f"{asked.recipe.stem}-seed{seed}"
        command = ["run", str(asked.recipe), "--run", str(folder), "--set", f"seed={seed}", "--quiet"]
        subprocess.run([sys.executable, "-m", "da_kd", *command], check=True, stdout=subprocess.DEVNULL)
        table[seed] = _figures(json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8")))
        print(_line(f"seed {seed}", table[seed], _broken(table[seed])), flush=True)
    for figure in ("AP", "AP50"):
        print(_summary(figure, list(table.values())))
    if asked.json:
        asked.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 1 if any(_broken(row) for row in table.values()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 10, 11, 12])
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return AP and AP50 by row, the first teacher standing for all, and the run's seconds."""
    models = {row.split(":")[0]: figures for row, figures in reversed(list(metrics["models"].items()))}
    figures = {name: {row: models[row][name] for row in ROWS} for name in ("AP", "AP50")}
    return {**figures, "gap_recovered": metrics["gap_recovered"], "seconds": sum(metrics["seconds"].values())}


def _broken(row: dict[str, Any]) -> list[str]:
    ap, ap50 = row["AP"], row["AP50"]
    rules = {
        "student is not above source-only": ap["source_only"] < ap["student"],
        "fine-tuned is not above student": ap["student"] < ap["finetuned"],
        "the gap is too small": ap50["oracle"] - ap50["source_only"] >= LEAST_GAP,
    }
    return [rule for rule, holds in rules.items() if not holds]


def _line(name: str, row: dict[str, Any], broken: list[str]) -> str:
    figures = "  ".join(f"{key} {row['AP'][key]:.3f}/{row['AP50'][key]:.3f}" for key in ROWS)
    return f"{name:8} {figures}  {row['seconds']:.0f} s  {'; '.join(broken) or 'in order'}"


def _summary(figure: str, rows: list[dict[str, Any]]) -> str:
    parts = []
    for key in ROWS:
        values = [row[figure][key] for row in rows]
        parts.append(f"{key} {sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return f"{figure:5} mean (range): " + ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
