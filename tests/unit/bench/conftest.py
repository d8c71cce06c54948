"""A small grid on the disk, and finished outputs written by hand, so that every figure of its table is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from da_kd.bench.cells import Cell, plan_cells
from da_kd.bench.grid import GridFile, load_grid
from da_kd.detections import Detections, DetectionTable, ImageRecord, table_of
from da_kd.events import Job

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
  - {name: big, architecture: {model: yolo11n.yaml, imgsz: 64}, adapt: batch_norm}
teach: {steps: 6, batch: 4}
distill: {steps: 4, batch: 4, init: source}
finetune: {steps: 2, batch: 4, fraction: 0.5}
evaluate: {}
"""
ROWS: list[dict[str, Any]] = [
    {"name": "source", "model": "source_only", "set": {"distill.steps": 8}, "target_labels": "none"},
    {"name": "student", "model": "student", "target_labels": "none", "defaults": True},
    {"name": "oracle", "model": "oracle", "steps": "own"},
]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the rendered sets of two seeds are drawn."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "small.yaml").write_text(RECIPE)
    (folder / "grid.yaml").write_text(yaml.safe_dump(_tree(ROWS)))
    plan_cells(load_grid(folder / "grid.yaml"), folder / "runs", Job(), final=False)
    return folder / "runs"


def _tree(rows: list[dict[str, Any]]) -> dict[str, Any]:
    develop = {"data.test.split": "val"}
    return {"schema": 1, "name": "table", "recipe": "small.yaml", "seeds": [0, 1], "develop": develop, "rows": rows}


@pytest.fixture
def grid(tmp_path: Path) -> Callable[..., GridFile]:
    """Return a grid file with these rows, and other keys."""
    (tmp_path / "small.yaml").write_text(RECIPE)

    def make(rows: list[dict[str, Any]] = ROWS, changes: tuple[str, ...] = (), **keys: Any) -> GridFile:
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump({**_tree(rows), **keys}))
        return load_grid(tmp_path / "grid.yaml", changes)

    return make


@pytest.fixture
def cells(tmp_path: Path, drawn: Path, grid: Callable[..., GridFile]) -> Callable[..., list[Cell]]:
    """Return the cells of a grid."""
    shutil.copytree(drawn, tmp_path / "runs")

    def make(rows: list[dict[str, Any]] = ROWS, **keys: Any) -> list[Cell]:
        return plan_cells(grid(rows, **keys), tmp_path / "runs", Job(), final=False)

    return make


@pytest.fixture
def finished() -> Callable[..., None]:
    """Write the outputs of a cell: AP, the steps its trainings took where they are not those planned, their curves.

    A model finds the first ``AP`` of the test images' boxes exactly, and nothing else, so its AP is about that share.
    """

    def make(cell: Cell, ap: float, steps: Mapping[str, int] = {}, curves: Sequence[dict[str, float]] = ()) -> None:
        for name, step in cell.steps.items():
            if name == cell.score.name:
                cell.store.make(step.output, lambda out, _: _scored(out, cell, ap), Job())
            else:
                taken = steps.get(name, step.training_steps)
                cell.store.make(step.output, lambda out, _, taken=taken: _trained(out, taken, curves), Job())

    return make


def _trained(out: Path, steps: int, curves: Sequence[dict[str, float]]) -> None:
    if steps:
        tree = {"epochs": steps // 2, "steps": steps, "images": 8, "boxes": 9, "device": "cpu", "seconds": 1.0}
        last = {"resumed_from": [], "curves": list(curves), "best_epoch": None}
        (out / "training.json").write_text(json.dumps({**tree, **last}))


def _scored(out: Path, cell: Cell, ap: float) -> None:
    truth = cell.inputs.get("test").table
    tree = {"AP": ap, "AP50": ap, "per_class": dict.fromkeys(truth.vocabulary, ap)}
    (out / "metrics.json").write_text(json.dumps(tree))
    perfect(truth, ap or 0.0).write(out / "predictions.parquet")


def perfect(truth: DetectionTable, share: float) -> DetectionTable:
    """Return predictions that hold the first share of every image's boxes."""
    records = [ImageRecord(key, truth.sha[i], *truth.size[i].tolist(), "") for i, key in enumerate(truth.key)]
    found = {}
    for index, key in enumerate(truth.key):
        mine = truth.at(index)
        rows = slice(round(share * len(mine.score)))
        found[key] = Detections(truth.vocabulary, mine.xyxy[rows], mine.score[rows], mine.label[rows])
    return table_of(truth.vocabulary, records, found, searched=list(truth.vocabulary), teachers=("model",))
