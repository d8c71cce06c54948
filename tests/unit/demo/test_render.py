from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from da_kd.demo import CLASSES, render_set
from da_kd.demo.optics import LABORATORIES
from da_kd.errors import Cancelled, InputError
from da_kd.events import Event, Job, Progress

SIZES_UM = {"RBC": (4.5, 11.5), "WBC": (8.5, 19.0), "Platelets": (1.5, 6.0)}  # whole cells, side of the box


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def labels(folder: Path, split: str) -> list[np.ndarray]:
    files = sorted((folder / "labels" / split).iterdir())
    return [np.array([line.split() for line in f.read_text().splitlines()], float).reshape(-1, 5) for f in files]


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        render_set("lab_a", "train", 3, 4, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_picture_does_not_depend_on_the_count(tmp_path: Path):
    render_set("lab_b", "val", 2, 0, tmp_path / "few")
    render_set("lab_b", "val", 4, 0, tmp_path / "many")
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert {name: many[name] for name in few} == few
    assert len(many) == 1 + 2 * 4


def test_seeds_splits_laboratories_and_indices_all_differ(tmp_path: Path):
    sets: list[tuple[Any, str, int]] = [
        ("lab_a", "train", 0),
        ("lab_a", "train", 1),
        ("lab_a", "val", 0),
        ("lab_b", "train", 0),
    ]
    seen = []
    for number, (lab, split, seed) in enumerate(sets):
        render_set(lab, split, 2, seed, tmp_path / str(number))
        seen += [data for name, data in contents(tmp_path / str(number)).items() if name != "data.yaml"]
    assert len(set(seen)) == len(seen) == 16


def test_the_layout_is_yolos_and_a_second_split_joins(tmp_path: Path):
    render_set("lab_a", "train", 2, 0, tmp_path, size=128)
    render_set("lab_a", "val", 1, 0, tmp_path, size=128)
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content == {"train": "images/train", "val": "images/val", "names": dict(enumerate(CLASSES))}
    assert sorted(contents(tmp_path)) == [
        "data.yaml",
        *(f"images/{name}.jpg" for name in ("train/0000", "train/0001", "val/0000")),
        *(f"labels/{name}.txt" for name in ("train/0000", "train/0001", "val/0000")),
    ]
    with Image.open(tmp_path / "images/train/0000.jpg") as image:
        assert image.size == (128, 128)
        assert image.mode == "RGB"


@pytest.mark.parametrize("lab", ["lab_a", "lab_b"])
def test_forty_pictures_have_every_class_at_plausible_sizes(lab: Any, tmp_path: Path):
    render_set(lab, "train", 40, 0, tmp_path)
    every = labels(tmp_path, "train")
    assert all(7 <= (rows[:, 0] == 0).sum() <= 25 for rows in every)
    rows = np.concatenate(every)
    low, high = rows[:, 1:3] - rows[:, 3:5] / 2, rows[:, 1:3] + rows[:, 3:5] / 2
    assert low.min() >= -1e-6
    assert high.max() <= 1 + 1e-6
    assert (rows[:, 3:5] * 192).min() >= 3 - 1e-3
    whole = ((low > 1e-4) & (high < 1 - 1e-4)).all(axis=1)
    for kind, name in enumerate(CLASSES):
        sides = rows[whole & (rows[:, 0] == kind), 3:5] * LABORATORIES[lab].field_um
        assert len(sides) >= 10, name
        assert SIZES_UM[name][0] < sides.min() <= sides.max() < SIZES_UM[name][1], name


def test_progress_is_told_and_a_stop_is_heard(tmp_path: Path):
    events: list[Event] = []
    render_set("lab_a", "train", 2, 0, tmp_path / "a", Job(events.append), size=64)
    told = [(e.done, e.total) for e in events if isinstance(e, Progress)]
    assert [told[0], told[-1]] == [(0, 2), (2, 2)]
    with pytest.raises(Cancelled):
        render_set("lab_a", "train", 2, 0, tmp_path / "b", Job(cancelled=lambda: True), size=64)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lab": "lab_c"}, "lab_c"),
        ({"count": 0}, "not 0"),
        ({"count": 10_001}, "10000"),
        ({"seed": -1}, "seed"),
        ({"split": "../up"}, "split"),
        ({"split": ""}, "split"),
        ({"size": 10}, "64"),
    ],
)
def test_a_wrong_argument_is_one_sentence(change: dict[str, Any], word: str, tmp_path: Path):
    arguments: dict[str, Any] = {"lab": "lab_a", "split": "train", "count": 1, "seed": 0, "folder": tmp_path / "x"}
    with pytest.raises(InputError, match=word) as caught:
        render_set(**{**arguments, **change})
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()
