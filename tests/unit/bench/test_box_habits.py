"""What two labellers differ by: discs labelled closely and with room, and boxes moved from the one to the other."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import da_kd
from da_kd.boxes import iou
from da_kd.data import ImageSet
from da_kd.detections import Detections, ImageRecord, table_of

ROOT = Path(da_kd.__file__).parents[1]


@pytest.fixture
def habits(monkeypatch):
    spec = importlib.util.spec_from_file_location("box_habits", ROOT / "benchmarks" / "box_habits.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "box_habits", module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def labelled(folder, room):
    """Return pictures of one disc in the middle and one at the border, whose labels leave so much room."""
    records, found = [], {}
    for number, side in enumerate((60, 70, 80)):
        discs = np.array([[60, 50, 60 + side, 50 + side], [0, 150, 40, 190]], float)
        drawn = Image.new("RGB", (200, 200), (230, 215, 205))
        for disc in discs:
            ImageDraw.Draw(drawn).ellipse(list(disc), (120, 60, 100))
        drawn.save(folder / f"{number}.png")
        around = np.tile(discs[:, 2:] - discs[:, :2], 2) * room * [-1, -1, 1, 1]
        boxes = np.clip(discs + around, 0, 200).astype(np.float32)
        records.append(ImageRecord(f"{number}.png", str(number), 200, 200, ""))
        found[f"{number}.png"] = Detections(("cell",), boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    return ImageSet(folder, table_of(("cell",), records, found))


def overlap(one, other):
    """Return how far the discs in the middle overlap, picture by picture."""
    middle = [iou(*(table.at(row).xyxy[:1].astype(float) for table in (one, other))) for row in range(3)]
    return np.array(middle)


def test_boxes_moved_by_what_labellers_differ_by_end_as_the_others(habits, tmp_path):
    close, roomy = (labelled(tmp_path, room) for room in (0.0, 0.06))
    ends = [habits.habits_of(images)["cell"] for images in (close, roomy)]
    assert ends[0] - ends[1] == pytest.approx(0.06 / 1.12, abs=0.015)
    moved = habits.drawn_like(close.table, {"cell": ends[0] - ends[1]})
    assert overlap(close.table, roomy.table).max() < 0.85
    assert overlap(moved, roomy.table).min() > 0.96
    assert (moved.xyxy[1::2, 0] == 0).all()  # what ends at the picture's border ends there whoever labels


def test_runs_that_are_not_there_are_named_with_the_command_that_makes_them(
    habits, real_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DA_KD_DATA", str(real_data))
    monkeypatch.setattr("sys.argv", ["box_habits.py", "--workspace", str(tmp_path)])
    assert habits.main() == 2
    told = capsys.readouterr().err
    assert "15 of 15 are missing" in told and "da-kd bench" in told and "--final" in told
    assert not (tmp_path / "bench").exists()
