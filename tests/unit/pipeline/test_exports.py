"""What is exported of a run, and what is told of it, where one format of several cannot be written."""

import json

import pytest

from da_kd.errors import DaKdError, SetupError
from da_kd.events import Job
from da_kd.exporting import Agreement
from da_kd.pipeline import Run, export_run, exports
from da_kd.recipe import dump_recipe


@pytest.fixture
def place(recipe, tmp_path):
    """A run whose student is trained."""
    run, student = Run(tmp_path / "runs" / "small"), tmp_path / "runs" / "store" / "distill" / "abc"
    for folder in (run.folder, student):
        folder.mkdir(parents=True)
    (run.folder / "recipe.yaml").write_text(dump_recipe(recipe()))
    (run.folder / "run.json").write_text(json.dumps({"steps": {"student": {"fingerprint": "abc"}}}))
    tree = {"epochs": 1, "steps": 1, "images": 4, "boxes": 4, "device": "cpu", "seconds": 1.0, "best_epoch": None}
    (student / "training.json").write_text(json.dumps({**tree, "resumed_from": [], "curves": []}))
    (student / "weights.pt").write_bytes(b"weights")
    (student / "output.json").write_text("{}")
    return run


@pytest.fixture
def written(monkeypatch):
    """The files that an exporter wrote which knows no ONNX."""
    made = []

    def export(weights, kind, images, out, device, job):
        if kind == "onnx":
            raise DaKdError("The model cannot be written as onnx.")
        out.write_bytes(b"model")
        made.append(out.name)
        return Agreement(4, 8, 0, 0.0, 1.0)

    monkeypatch.setattr(exports, "export", export)
    return made


def test_a_format_that_cannot_be_written_here_is_told_before_anything_is(place, written):
    with pytest.raises(SetupError, match="'engine'"):
        export_run(place, ["torchscript", "engine"], None, None, Job())
    assert written == []
    assert not (place.folder / "export").exists()


def test_what_was_written_before_a_format_failed_is_told(place, written):
    with pytest.raises(DaKdError, match="cannot be written as onnx"):
        export_run(place, ["torchscript", "onnx"], None, None, Job())
    folder = place.folder / "export"
    assert written == ["small-student.torchscript"]
    assert list(json.loads((folder / "checks.json").read_text())["files"]) == written
    assert "- `small-student.torchscript`: compared with the checkpoint" in (folder / "MODEL.md").read_text()
