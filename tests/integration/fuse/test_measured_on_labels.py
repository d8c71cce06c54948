"""*fuse* measures a real detector on labelled photographs, and labels others by what it found out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from da_kd.detections import DetectionTable, State, read_table
from da_kd.events import Event, Job
from da_kd.pipeline import run
from da_kd.recipe import parse_recipe
from da_kd.stages import fuse

CLASSES = ("person", "car", "motorcycle")


@pytest.fixture
def place(real_data: Path) -> Path:
    pytest.importorskip("onnxruntime")
    if not (real_data / "weights" / "yolox_nano.onnx").is_file() or not (real_data / "coco128").is_dir():
        pytest.skip(f"no coco128 and yolox_nano.onnx below {real_data}")
    return real_data


def recipe_of(place: Path, **fuse_keys: Any) -> dict[str, Any]:
    weights = str(place / "weights" / "yolox_nano.onnx")
    photographs = {"path": "coco128/data.yaml", "classes": {"*": None}}
    return {
        "schema": 1,
        "name": "photographs",
        "device": "cpu",
        "classes": CLASSES,
        "data": {
            "root": str(place),
            "source_val": {**photographs, "split": "train", "fraction": 0.3},
            "target": {**photographs, "split": "val", "fraction": 0.2},
        },
        "teachers": [
            {"name": "fine", "kind": "onnx", "weights": weights, "options": {"names": "coco"}},
            {
                "name": "coarse",
                "kind": "onnx",
                "weights": weights,
                "options": {"names": "coco"},
                "classes": {"truck": ["car", "motorcycle"], "person": None, "car": None, "motorcycle": None},
            },
        ],
        "fuse": fuse_keys,
    }


def test_thresholds_and_curves_come_from_held_out_labels(place: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[Event] = []

    def labels(**keys: Any) -> tuple[DetectionTable, Path]:
        result = run(parse_recipe(recipe_of(place, **keys)), until="fuse", job=Job(told.append))
        (step,) = [step for step in result.steps if step.name == "fuse"]
        return read_table(step.folder / "labels.parquet"), step.folder

    plain, _ = labels()
    table, out = labels(calibrate="logistic", thresholds={"by": "f_beta"})
    assert [event.name for event in told if event.kind == "stage_done" and not event.reused].count("predict:fine") == 1
    assert len(table) == len(plain) > 20
    assert fuse.labels_used(out).keys() == {"calibration", "thresholds"}
    assert all(where.startswith("source_val (") for where in fuse.labels_used(out).values())
    curves = json.loads((out / "calibration.json").read_text())["teachers"]["fine"]
    assert curves["classes"]["person"]["fitted_on"] == "class"
    assert curves["error_after"] < curves["error_before"]
    cuts = json.loads((out / "thresholds.json").read_text())["classes"]
    assert cuts["person"]["computed"]
    people = table.label == 0
    assert ((table.state == State.KEPT) == (table.score >= cuts["person"]["keep"]))[people].all()
    # Trucks may be cars: marked twice, never kept.
    unclear = plain.teacher_score[:, 0] != plain.teacher_score[:, 0]
    assert set(plain.label[unclear].tolist()) == {1, 2}
    assert not (plain.state[unclear] == State.KEPT).any()
    assert plain.searched.all()
