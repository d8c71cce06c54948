"""``da-kd bench`` for real, on a few rendered images: made, killed, gone on with, and only read in the end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from da_kd.cli import app
from da_kd.pipeline import Run

RECIPE = """\
schema: 1
name: small
device: cpu
classes: [RBC, WBC, Platelets]
data:
  source: {render: lab_a, split: train, count: 8}
  target: {render: lab_b, split: train, count: 8}
  target_labelled: {render: lab_b, split: train, count: 8}
  test: {render: lab_b, split: test, count: 4}
teachers:
  - {name: big, architecture: {model: yolo11n.yaml, width: 0.125, imgsz: 64}}
teach: {steps: 2, batch: 4}
student: {model: yolo11n.yaml, width: 0.125, imgsz: 64}
distill: {steps: 2, batch: 4}
evaluate: {}
"""
GRID = {
    "schema": 1,
    "name": "table",
    "recipe": "small.yaml",
    "seeds": [0],
    "develop": {"data.test": {"render": "lab_b", "split": "val", "count": 4}},
    "rows": [
        {"name": "source", "model": "source_only", "target_labels": "none"},
        {"name": "oracle", "model": "oracle", "set": {"evaluate.oracle_schedule": {"steps": 40, "batch": 4}}},
    ],
}
RUNS = ("table.source.seed0", "table.oracle.seed0")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a grid and its recipe."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    return tmp_path


def wait_for(what, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def epochs(run: Path) -> int:
    """Return how many epochs an unfinished training of a run has told of."""
    path = run / "events.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return max([json.loads(line)["done"] for line in lines if '"unit": "epochs"' in line], default=0)


def test_a_killed_table_leaves_no_run_behind_and_goes_on(place, monkeypatch):
    runs = [place / "runs" / name for name in RUNS]
    command = [sys.executable, "-m", "da_kd", "bench", "grid.yaml", "--jobs", "1", "--quiet"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_for(lambda: epochs(runs[1]) >= 2 or process.poll() is not None)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    wait_for(lambda: Run(runs[1]).pid() is None)
    assert [Run(run).state().state for run in runs] == ["done", "cancelled"]
    made = (runs[0] / "run.json").stat().st_mtime_ns

    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, ["bench", "grid.yaml", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "1 of 2 runs are done already." in result.stdout
    assert (runs[0] / "run.json").stat().st_mtime_ns == made
    training = json.loads((Run(runs[1]).made("oracle") / "training.json").read_text())
    assert training["resumed_from"]

    folder = place / "runs" / "bench" / "table-development"
    tree = json.loads((folder / "bench.json").read_text())
    told = [json.loads((Run(run).made(f"evaluate:{row}") / "metrics.json").read_text()) for run, row in _scored(runs)]
    assert [row["AP"] for row in tree["rows"]] == [[one["AP"]] for one in told]
    assert [row["steps"] for row in tree["rows"]] == [[2], [40]]
    assert tree["rows"][1]["unequal"]
    assert "(!) Not the same number of steps" in result.output
    assert tree["images"] == 4
    assert tree["sittings"][0]["jobs"] == 1

    table = (folder / "table.md").read_bytes()
    again = CliRunner().invoke(app, ["bench", "grid.yaml"])
    assert again.exit_code == 0
    assert "failed" not in again.output and "done in" not in again.output  # nothing was started
    assert (folder / "table.md").read_bytes() == table
    plan = CliRunner().invoke(app, ["bench", "grid.yaml", "--dry-run"])
    assert "0 of 2 runs to make" in plan.stdout


def _scored(runs):
    return zip(runs, ("source_only", "oracle"), strict=True)


def test_final_is_refused_before_anything_is_made(place, monkeypatch):
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, ["bench", "grid.yaml", "--final"])
    assert result.exit_code == 2
    assert "nothing is frozen yet" in result.stderr
    assert not (place / "runs" / "bench").exists()


def test_a_row_that_fails_is_told_and_the_others_are_made(place, monkeypatch):
    monkeypatch.chdir(place)
    broken = {"name": "broken", "model": "source_only", "set": {"distill.args": {"no_such_argument": 1}}}
    tree = {**GRID, "rows": [GRID["rows"][0], broken]}
    (place / "grid.yaml").write_text(yaml.safe_dump(tree))
    result = CliRunner().invoke(app, ["bench", "grid.yaml", "--jobs", "2"])
    assert result.exit_code == 1
    assert "1 of 2 runs failed" in result.stderr
    assert "no_such_argument" in result.stderr
    assert Run(place / "runs" / RUNS[0]).state().state == "done"
    assert not list((place / "runs" / "bench").glob("*/table.md"))
