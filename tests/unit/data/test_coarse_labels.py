"""A set's class that may be any of several of the recipe's: its boxes are ignored in each."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from da_kd.data import fingerprint
from da_kd.detections import State
from da_kd.errors import DataError


@pytest.fixture
def road(tmp_path: Path, picture) -> None:
    """Write two pictures: one with a vehicle and a person, one with nothing."""
    for index, text in enumerate(["0 0.25 0.5 0.2 0.2\n1 0.75 0.5 0.2 0.2\n", ""]):
        picture(tmp_path / "set" / "images" / f"{index}.png", seed=index)
        (tmp_path / "set" / "labels").mkdir(exist_ok=True)
        (tmp_path / "set" / "labels" / f"{index}.txt").write_text(text)
    names = {0: "vehicle", 1: "person"}
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": names}))


def boxes(table):
    return [(table.vocabulary[k], State(s).name) for k, s in zip(table.label, table.state, strict=True)]


def test_its_boxes_are_ignored_in_each_class(road, load) -> None:
    table = load("car", "truck", "person", path="set", classes={"vehicle": ["car", "truck"]}).table
    assert boxes(table) == [("car", "IGNORED"), ("truck", "IGNORED"), ("person", "KEPT")]
    assert table.xyxy[0].tolist() == table.xyxy[1].tolist()
    assert table.offsets.tolist() == [0, 3, 3]
    assert table.searched.all()  # where there is no vehicle, there is neither


def test_it_stays_unclear_where_one_of_the_classes_is_not_labelled(road, load) -> None:
    one = {"path": "set", "classes": {"vehicle": ["car", "truck"]}, "labelled_classes": ["car", "person"]}
    image_set = load("car", "truck", "person", **one)
    assert boxes(image_set.table) == [("car", "IGNORED"), ("person", "KEPT")]
    assert image_set.table.searched[0].tolist() == [True, False, True]
    clear = load("car", "truck", "person", **{**one, "classes": {"vehicle": "car"}})
    assert fingerprint(clear) != fingerprint(image_set)


def test_a_list_with_an_unknown_class_is_told(road, load) -> None:
    with pytest.raises(DataError, match=r"maps 'vehicle' to 'lorry'.* did you mean 'truck'"):
        load("car", "truck", "person", path="set", classes={"vehicle": ["car", "lorry"]})
