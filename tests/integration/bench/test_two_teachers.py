"""The grid of two teachers in small: of two kinds and different classes, the student of each and that of both."""

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from da_kd.cli import app
from da_kd.pipeline import Run

RECIPE = """\
schema: 1
name: small
device: cpu
classes: [WBC, RBC, Platelets]
data:
  source: {render: lab_a, split: train, count: 8}
  source_val: {render: lab_a, split: val, count: 4}
  target: {render: lab_b, split: train, count: 8}
  test: {render: lab_b, split: test, count: 4}
teachers:
  - {name: yolo, learns: [WBC, RBC], architecture: {model: yolo11n.yaml, width: 0.125, imgsz: 96}, adapt: batch_norm}
  - name: other
    kind: torchvision
    learns: [RBC, Platelets]
    architecture: {model: fasterrcnn_mobilenet_v3_large_320_fpn, imgsz: 96}
    adapt: batch_norm
teach: {steps: 4, batch: 4}
predict: {floor: 0.00001}
fuse: {keep: 0.00001, drop: 0.00001, guard: {mode: "off", demote: false}}  # four steps teach no more than that
review: {mode: skip}
student: {model: yolo11n.yaml, width: 0.125, imgsz: 96}
distill: {steps: 4, batch: 4}
evaluate: {source_only: false, oracle: false}
"""


def without(name: str) -> dict[str, dict[str, None]]:
    return {f"data.{one}.classes": {name: None} for one in ("source", "source_val", "test")}


GRID = {
    "schema": 1,
    "name": "pairs",
    "recipe": "small.yaml",
    "seeds": [1],
    "set": {"teachers.other.seed": 0},
    "develop": {"data.test.split": "val"},
    "rows": [
        {"name": "both", "model": "student", "target_labels": "none", "defaults": True},
        {
            "name": "of_yolo",
            "model": "student",
            "teachers": ["yolo"],
            "set": {"classes": ["RBC", "WBC"], **without("Platelets")},
        },
        {
            "name": "of_other",
            "model": "student",
            "teachers": ["other"],
            "set": {"classes": ["Platelets", "RBC"], **without("WBC")},
        },
    ],
}


def test_students_of_one_and_of_two_teachers_are_in_one_table(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    result = CliRunner().invoke(app, ["bench", "grid.yaml", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    tree = json.loads((tmp_path / "runs" / "bench" / "pairs-development" / "bench.json").read_text())
    rows = {row["name"]: row for row in tree["rows"]}
    assert tree["classes"] == ["WBC", "RBC", "Platelets"]
    assert {name: row["unknown"] for name, row in rows.items()} == {
        "both": [], "of_yolo": ["Platelets"], "of_other": ["WBC"]
    }  # fmt: skip
    assert all(set(row["per_class"]) == set(tree["classes"]) for row in rows.values())
    assert "of_yolo knows no Platelets" in result.output
    # Each teacher is trained once, whatever the classes of a row's recipe.
    runs = {name: Run(tmp_path / "runs" / f"pairs.{name}.seed1") for name in rows}
    assert runs["both"].made("teach:yolo") == runs["of_yolo"].made("teach:yolo")
    assert runs["both"].made("teach:other") == runs["of_other"].made("teach:other")
    store = tmp_path / "runs" / "store" / "teach"
    assert len([path for path in store.iterdir() if path.is_dir()]) == 2
