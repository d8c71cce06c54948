"""What is refused before anything is trained, and checkpoints that are none."""

import pickle
from pathlib import Path

import pytest

from da_kd.errors import RecipeError, WeightsError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.recipe import Architecture, Schedule, parse_recipe
from da_kd.teachers.ultralytics import load_detector
from da_kd.training import train, training_problems
from da_kd.training.architecture import model_source


def recipe(folder: Path, *changes: str):
    tree = {
        "name": "small",
        "classes": ["RBC"],
        "data": {"source": {"path": "s"}, "target": {"path": "t"}, "target_labelled": {"path": "l"}},
        "teachers": [{"name": "big", "architecture": {"imgsz": 64}}],
        "teach": {"steps": 4},
        "distill": {"steps": 4},
        "finetune": {"steps": 4},
    }
    return parse_recipe(tree, changes, folder)


def test_a_right_recipe_has_no_problem(tmp_path: Path) -> None:
    assert training_problems(recipe(tmp_path, "teach.args={mosaic: 0.5, flipud: 0.5}")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("distill.args={moasic: 1}", "distill.args: 'moasic' is not a valid"),
        ("finetune.args={mosaic: high}", "finetune.args: 'mosaic=high' is of invalid type"),
        ("teach.args={degrees: far}", "teach.args: 'degrees=far' is of invalid type"),
        (
            "teachers.big.finetune={steps: 4, args: {moasic: 1}}",
            "teachers.big.finetune.args: 'moasic' is not a valid",
        ),
        ("student.model=gone.pt", "student: Expected weights at"),
        ("student.model=own.yaml", "student: expected a model YAML; "),
        (
            "student.model=yolo11n.ymal",
            "student: expected a model YAML or a '.pt' file; found 'yolo11n.ymal'; did you mean",
        ),
        ("teachers.big.architecture.model=yolo99.yaml", "teachers.big.architecture: expected a model YAML"),
    ],
)
def test_what_would_end_a_training_is_found_before(tmp_path: Path, change: str, told: str) -> None:
    (tmp_path / "own.yaml").write_text("head: [a\n b: : c")
    (problem,) = training_problems(recipe(tmp_path, change))
    assert problem.startswith(told)


def test_the_students_problems_can_wait(tmp_path: Path) -> None:
    wrong = recipe(tmp_path, "student.model=gone.pt", "distill.args={moasic: 1}")
    assert training_problems(wrong, student=False) == []


def test_freezing_everything_is_a_mistake_of_the_recipe(task, tmp_path: Path) -> None:
    assert Schedule(steps=1).freeze == 0
    with pytest.raises(RecipeError, match="'freeze: 500' leaves no layer to train"):
        train(task(epochs=1, freeze=500), tmp_path, Job())


class _Harm:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


@pytest.mark.parametrize("imported", ["by us", "before"])
def test_a_checkpoint_that_runs_code_is_refused_unread(
    imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if imported == "before":  # when nothing asked for the allow-list yet
        from ultralytics.nn import tasks

        monkeypatch.setattr(tasks, "SAFE_LOAD", False)
    trace, path = tmp_path / "trace", tmp_path / "harm.pt"
    torch.save({"model": _Harm(trace)}, path)
    with pytest.raises(WeightsError, match="was not opened, since a pickle can run code"):
        load_detector(path)
    path.write_bytes(pickle.dumps(_Harm(trace), protocol=2))
    with pytest.raises(WeightsError, match="Expected an ultralytics detection checkpoint"):
        load_detector(path)
    assert not trace.exists()


@pytest.mark.parametrize(("wanted", "online"), [("true", False), ("false", True)])
def test_a_library_that_was_imported_before_stays_off_the_network(
    wanted: str, online: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_ultralytics()
    from ultralytics import utils
    from ultralytics.utils import checks, events

    monkeypatch.setenv("YOLO_OFFLINE", wanted)  # what the user set stays
    for module in (utils, checks, events):
        monkeypatch.setattr(module, "ONLINE", True)
    monkeypatch.setattr(events.events, "enabled", True)
    settle_ultralytics()
    assert [utils.ONLINE, checks.ONLINE, events.ONLINE, events.events.enabled] == [online] * 4


def test_a_damaged_checkpoint_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.pt"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"empty, truncated or damaged\. Copy it again") as told:
        load_detector(path)
    assert "yolo predict" not in str(told.value)


@pytest.mark.parametrize(
    ("model", "imgsz", "batch", "told"),
    [
        ("fcos_resnet50_fpn", 160, 1, None),
        ("fcos_resnet50", 160, 1, "did you mean fcos_resnet50_fpn"),
        ("ssdlite320_mobilenet_v3_large", 160, 2, "is fixed; expected 'imgsz: 320'; found 160"),
        ("ssdlite320_mobilenet_v3_large", 320, 2, None),
        ("ssdlite320_mobilenet_v3_large", 320, 1, "expected a 'batch' of 2 or more; found 1"),
    ],
)
def test_torchvision_architectures_are_looked_up_by_name(
    tmp_path: Path, model: str, imgsz: int, batch: int, told: str | None
) -> None:
    made = f"teachers.big={{name: big, kind: torchvision, architecture: {{model: {model}, imgsz: {imgsz}}}}}"
    problems = training_problems(recipe(tmp_path, made, f"teach.batch={batch}", "teach.args={colour: 0.5}"))
    if told is None:
        assert problems == []
    else:
        assert problems[0].startswith("teachers.big.architecture: ")
        assert told in problems[0]


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("yolo11n", "did you mean 'yolo11n.yaml'?"),
        ("yolov8s-p2", "did you mean 'yolov8s-p2.yaml'?"),
        ("yolo11n.ymal", "did you mean 'yolo11n.yaml'?"),
        ("yolov10b", "did you mean 'yolov10b.yaml'?"),
        ("yollo11", "did you mean 'yolo11.yaml'?"),
        ("mine.txt", "the name of a model YAML ends in '.yaml'"),
        ("zzz", "e.g. yolo11n.yaml"),
    ],
)
def test_a_model_yaml_that_is_named_without_its_suffix_is_hinted_at(tmp_path: Path, monkeypatch, model, hint) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("nc: 80")
    with pytest.raises(RecipeError) as error:
        model_source(Architecture(model=model), tmp_path)
    assert error.value.problems == (f"expected a model YAML or a '.pt' file; found '{model}'; {hint}",)
