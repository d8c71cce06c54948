"""A target that grows, through the pipeline with a real detector: what was said is copied, what is new is predicted."""

import numpy as np
import pytest
from PIL import Image

import da_kd
from da_kd.events import Event, Job, Note
from da_kd.recipe import parse_recipe
from da_kd.stages.predict import read_predictions


@pytest.fixture
def place(tmp_path):
    """A folder with untrained weights and a way to add random pictures to ``target``."""
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    from ultralytics import YOLO

    YOLO("yolo11n.yaml").save(str(tmp_path / "w.pt"))
    (tmp_path / "target").mkdir()
    return tmp_path


def add(place, *numbers):
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "target" / f"{number:02}.png")


def run(place, workspace, *changes):
    """Run until *predict*; return what was said of the images, and the sentences for a person."""
    tree = {
        "schema": 1,
        "name": "growing",
        "device": "cpu",
        "classes": ["person"],
        "data": {"target": {"path": "target"}},
        "teachers": [{"name": "t", "weights": "w.pt", "options": {"imgsz": 64, "max_boxes": 9}}],
        "predict": {"floor": 1e-5, "shard": 3, "batch": 1},
    }
    told: list[Event] = []
    result = da_kd.run(
        parse_recipe(tree, changes, place), place / workspace / "run", until="predict", job=Job(told.append)
    )
    return read_predictions(result.steps[0].folder), [event.text for event in told if isinstance(event, Note)]


def test_only_what_is_new_is_predicted(place):
    add(place, 10, 20, 30, 40)
    _, notes = run(place, "runs")
    assert notes == []
    add(place, 15)  # in the first shard; every later image moves up
    grown, notes = run(place, "runs")
    assert notes == ["4 of 5 images were answered before; 1 is predicted."]
    anew, notes = run(place, "other")
    assert notes == []
    assert (grown.key, grown.sha, grown.reason) == (anew.key, anew.sha, anew.reason)
    assert grown.offsets.tolist() == anew.offsets.tolist()
    assert all(np.diff(grown.offsets) > 0)
    for column in ("xyxy", "score", "label", "teacher_score"):
        assert np.array_equal(getattr(grown, column), getattr(anew, column)), column


@pytest.mark.parametrize("change", ["predict.floor=1e-4", "teachers=[{name: u, weights: w.pt, options: {imgsz: 64}}]"])
def test_another_floor_or_teacher_begins_anew(place, change):
    add(place, 10, 20)
    run(place, "runs")
    _, notes = run(place, "runs", change)
    assert not any("answered before" in note for note in notes)
