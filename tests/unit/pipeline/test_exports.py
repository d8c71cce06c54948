"""What is exported of a run, and what is told of it, where one format of several cannot be written."""

import json
from pathlib import Path

import pytest

from da_kd.errors import DaKdError, SetupError
from da_kd.events import Job, Note
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


@pytest.mark.parametrize("name", ["small-student.pt", "recipe.yaml", "MODEL.md"])
def test_a_disk_that_is_full_leaves_no_file_half_written(place, written, monkeypatch, name):
    def full(path, content, **how):
        with path.open("wb") as file:
            file.write(content[:3] if isinstance(content, bytes) else content[:3].encode())
        if name in path.name:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_bytes", full)
        patch.setattr(Path, "write_text", full)
        export_run(place, [], None, None, Job())
    left = [path.name for path in (place.folder / "export").iterdir()]
    assert not [other for other in left if other.startswith(".") or other == name]


def test_a_file_that_was_compared_with_nothing_is_not_called_the_same(place, monkeypatch):
    def export(weights, kind, images, out, device, job):
        out.write_bytes(b"model")
        return Agreement(4, 0, 0, 0.0, 1.0)

    events, told = [], "not checked, since neither model finds a box in these 4 images"
    monkeypatch.setattr(exports, "export", export)
    export_run(place, ["torchscript"], None, None, Job(events.append))
    (note,) = [event for event in events if isinstance(event, Note) and event.stage == "export"]
    assert (note.level, note.text) == ("warning", f"small-student.torchscript: {told}.")
    assert f"`small-student.torchscript`: compared with the checkpoint: {told}" in (
        place.folder / "export" / "MODEL.md"
    ).read_text(encoding="utf-8")


def test_a_run_of_another_machine_is_exported_where_it_can_be(place, recipe, monkeypatch):
    devices = []

    def export(weights, kind, images, out, device, job):
        devices.append(device)
        out.write_bytes(b"model")
        return Agreement(4, 8, 0, 0.0, 1.0)

    (place.folder / "recipe.yaml").write_text(dump_recipe(recipe("device=cuda:99")))
    monkeypatch.setattr(exports, "export", export)
    monkeypatch.setattr(exports, "resolve_device", lambda wanted: {"auto": "cpu"}.get(wanted, wanted))
    export_run(place, ["torchscript"], None, None, Job())
    export_run(place, ["torchscript"], None, None, Job(), "cuda:1")
    assert devices == ["cpu", "cuda:1"]
