"""The whole pipeline, for real, on the tiny demo: what it leaves behind, and what a second run does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import da_kd
from da_kd.data import read_image
from da_kd.detections import State, read_table
from da_kd.events import Job
from da_kd.pipeline import RunResult, load_inputs
from da_kd.store import Store

RECIPE = Path(__file__).parents[3] / "recipes" / "demo-tiny.yaml"
ROWS = ["source_only", "teacher:tiny", "student", "finetuned", "oracle"]
FIGURES = {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "per_class"}


@pytest.fixture
def copy(finished: RunResult, tmp_path: Path) -> Path:
    """A copy of the finished run's workspace that a test may change; returns the run's folder in it."""
    shutil.copytree(finished.folder.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / finished.folder.name


def test_metrics_json_has_the_promised_shape(finished: RunResult) -> None:
    tree = json.loads((finished.folder / "report" / "metrics.json").read_text())
    assert tree["schema"] == 1
    assert list(tree["models"]) == ROWS
    more = {"intervals", "errors", "confusion"}
    assert all(set(row) == FIGURES | more for row in tree["models"].values())
    assert all(row["intervals"]["AP"][0] <= row["AP"] <= row["intervals"]["AP"][1] for row in tree["models"].values())
    assert set(tree["differences"]["finetuned"]) == set(ROWS) - {"finetuned"}
    assert tree["resampling"] == {"resamples": 1000, "seed": 0, "level": 0.95}
    assert all(set(row["per_class"]) == {"RBC", "WBC", "Platelets"} for row in tree["models"].values())
    assert set(tree["gap_recovered"]) == {"student", "finetuned"}
    assert tree["classes"] == ["RBC", "WBC", "Platelets"]
    assert tree["seed"] == 0
    assert tree["absent"] == {}
    assert set(tree["seconds"]) == {"teach", "predict", "fuse", "review", "distill", "finetune", "evaluate", "report"}
    assert {"python", "torch", "ultralytics"} <= set(tree["versions"])
    numbers = [row[name] for row in tree["models"].values() for name in FIGURES - {"per_class"}]
    assert all(0 <= number <= 1 for number in numbers if number is not None)


def test_models_really_learned(finished: RunResult) -> None:
    models = finished.metrics.models
    assert models["teacher:tiny"].AP50 > 0.2
    assert models["oracle"].AP50 > 0.2
    assert models["student"].AP > 0


def test_pseudo_labels_carry_scores_states_and_provenance(finished: RunResult) -> None:
    labels = read_table(finished.labels)
    assert labels.teachers == ("tiny",)
    assert labels.searched[:, 0].all()
    assert (labels.searched.all(axis=0) | ~labels.searched.any(axis=0)).all()  # the guard may have demoted a class
    kept = labels.state == State.KEPT
    assert kept.any()
    assert (labels.score[kept] >= np.float32(0.3)).all()
    assert (labels.agreement == 1).all()
    assert not np.isnan(labels.teacher_score).any()


def test_the_report_stands_alone(finished: RunResult) -> None:
    page = finished.report.read_text(encoding="utf-8")
    assert finished.report == finished.folder / "report" / "index.html"
    assert "demo-tiny" in page
    assert page.count("data:image/") >= 3


def test_the_students_checkpoint_loads_without_da_kd(finished: RunResult) -> None:
    code = (
        "import sys; sys.modules['da_kd'] = None\n"
        "from ultralytics import YOLO\n"
        "model = YOLO(sys.argv[1]); print(model.task, sorted(model.names.values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished.weights["student"])], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("detect ['Platelets', 'RBC', 'WBC']")


def test_a_finished_run_does_nothing_and_imports_no_torch(finished: RunResult) -> None:
    code = (
        "import sys, da_kd\n"
        "result = da_kd.run(sys.argv[1], sys.argv[2])\n"
        "print(result.did_nothing, 'torch' in sys.modules, 'fiftyone' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(RECIPE), str(finished.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]


def test_a_changed_threshold_reuses_teachers_and_predictions(finished: RunResult, copy: Path) -> None:
    result = da_kd.run(da_kd.load_recipe(RECIPE, ["fuse.keep.default=0.4"]), copy, until="review")
    ran = {step.name: step.why for step in result.steps if not step.reused}
    assert set(ran) == {"fuse", "review"}
    assert ran["fuse"] == "fuse.keep.default: 0.3 -> 0.4"
    assert ran["review"] == "fuse changed"


def test_a_killed_predict_gives_the_same_shards(finished: RunResult, copy: Path) -> None:
    folder = next((copy.parent / "store" / "predict").iterdir())
    before = {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}
    assert len(before) == 3
    folder.rename(partial := folder.with_suffix(".partial"))
    (partial / "output.json").unlink()
    (partial / "shards" / "00001.parquet").unlink()
    kept = (partial / "shards" / "00000.parquet").stat().st_mtime_ns
    result = da_kd.run(RECIPE, copy, until="predict")
    assert [step.why for step in result.steps if not step.reused] == ["goes on where it was interrupted"]
    assert {path.name: path.read_bytes() for path in (folder / "shards").iterdir()} == before
    assert (folder / "shards" / "00000.parquet").stat().st_mtime_ns == kept


def test_the_target_labels_are_never_opened(finished: RunResult, copy: Path) -> None:
    recipe = da_kd.load_recipe(RECIPE)
    inputs = load_inputs(recipe, Store(copy.parent), Job())
    target = inputs.get("target")
    assert len(target.table.xyxy) == 0
    assert not target.table.searched.any()
    assert read_image(target.path(0)).shape == (192, 192, 3)


def test_until_stops_after_a_stage(tmp_path: Path) -> None:
    small = ["data.source.count=4", "teach.steps=2", "data.target.count=4", "data.target_labelled.count=4"]
    recipe = da_kd.load_recipe(RECIPE, [*small, "data.test.count=2"])
    result = da_kd.run(recipe, tmp_path / "runs" / "a", until="teach")
    assert [step.name for step in result.steps] == ["teach:tiny", "adapt:tiny"]
    assert result.report is None
