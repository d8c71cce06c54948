"""A detector that is shown larger objects than it learned looks at them at the size it knows."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from da_kd.data import ScanCache, load_images
from da_kd.events import Job
from da_kd.recipe import Images
from da_kd.teachers.ultralytics import load_detector
from da_kd.training import adapt, train

SIDE, INPUT = 192, 96  # of a picture, and of the detector's input, in pixels


def discs(folder, zoom, name="data.source"):
    """Return 24 pictures of dark discs, a tenth of the picture wide, or ``zoom`` times that."""
    chance = np.random.default_rng(int(zoom * 10))
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [disc]\n")
    for number in range(24):
        picture, lines = Image.new("RGB", (SIDE, SIDE), (230, 220, 210)), []
        draw = ImageDraw.Draw(picture)
        for column, row in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
            x, y = column + chance.uniform(-0.06, 0.06), row + chance.uniform(-0.06, 0.06)
            side = 0.14 * zoom * chance.uniform(0.9, 1.1)
            draw.ellipse(
                [(x - side / 2) * SIDE, (y - side / 2) * SIDE, (x + side / 2) * SIDE, (y + side / 2) * SIDE], 80
            )
            lines.append(f"0 {x} {y} {side} {side}")
        picture.save(folder / "images" / "train" / f"{number}.png")
        (folder / "labels" / "train" / f"{number}.txt").write_text("\n".join(lines))
    spec = Images(path=str(folder), split="train")
    return load_images(
        spec, folder, ("disc",), labels=True, cache=ScanCache(None), frames=folder / "f", job=Job(), name=name
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return discs(tmp_path_factory.mktemp("home"), 1.0)


@pytest.fixture(scope="module")
def knowing(home, tmp_path_factory):
    """A detector that knows discs of one size."""
    from da_kd.recipe import Architecture, Schedule
    from da_kd.training import Setting, TrainingTask
    from da_kd.training.signals import GROUND_TRUTH

    folder = tmp_path_factory.mktemp("knowing")
    schedule = Schedule(steps=180, batch=8, lr=0.004, args={"scale": 0.5, "mosaic": 0.0})
    architecture = Architecture(model="yolo11n.yaml", width=0.125, imgsz=INPUT)
    train(TrainingTask("discs", architecture, None, schedule, home, Setting(0, "cpu"), GROUND_TRUTH), folder, Job())
    return folder / "weights.pt"


@pytest.mark.usefixtures("one_thread")
def test_the_input_shrinks_as_objects_grow_and_stays_where_they_do_not(knowing, home, tmp_path, weights_of):
    for name, zoom, batch_norm in (("larger", 1.5, True), ("alike", 1.0, False)):
        out = tmp_path / name
        out.mkdir()
        adapt(knowing, discs(tmp_path / f"{name}-images", zoom), home, "cpu", out, Job(), batch_norm=batch_norm)
    told = json.loads((tmp_path / "larger" / "scale.json").read_text())
    assert told["trained_px"] == INPUT and told["input_px"] == 64
    assert 1.25 < told["ratio"] < 1.75
    assert load_detector(tmp_path / "larger" / "weights.pt").overrides["imgsz"] == 64  # plain YOLO goes by it
    told = json.loads((tmp_path / "alike" / "scale.json").read_text())
    assert told["input_px"] == INPUT and 0.9 < told["ratio"] < 1.1
    assert weights_of(tmp_path / "alike" / "weights.pt") == weights_of(knowing)


@pytest.mark.usefixtures("one_thread")
def test_where_nothing_is_found_the_size_stays_and_a_warning_says_so(knowing, home, tmp_path):
    nothing = discs(tmp_path / "nothing", 0.05)
    said = []
    adapt(knowing, nothing, home, "cpu", tmp_path, Job(said.append), batch_norm=False)
    assert any("Too few objects" in getattr(event, "text", "") for event in said)
    assert json.loads((tmp_path / "scale.json").read_text()) == {"ratio": None, "trained_px": INPUT, "input_px": INPUT}
