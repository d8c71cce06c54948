from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from da_kd.data import ScanCache, load_images, write_coco
from da_kd.data.naming import class_names
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.events import Job, Note
from da_kd.recipe import Images


def coco(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 3, "file_name": "sub/b.png", "width": 40, "height": 30},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 5, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 20]},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [30, 20, 20, 20], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 5], "ignore": 1},
        ],
    }
    return content | changes


BOX = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20]}


@pytest.fixture
def dataset(tmp_path: Path, picture) -> Path:
    picture(tmp_path / "images/a.png", seed=1)
    picture(tmp_path / "images/sub/b.png", seed=2)
    return tmp_path


def write(folder: Path, content: Any) -> None:
    (folder / "labels.json").write_text(json.dumps(content))


def test_ids_crowd_and_clipping(dataset: Path, load) -> None:
    write(dataset, coco())
    table = load("cat", "dog", path="labels.json").table
    assert table.key == ("a.png", "sub/b.png")
    assert table.at(0).xyxy.tolist() == [[1, 2, 11, 22]]
    assert table.at(0).label.tolist() == [1]
    assert table.at(0, [State.IGNORED]).xyxy.tolist() == [[30, 20, 40, 30], [0, 0, 5, 5]]
    assert table.searched.all()


def test_images_in_nested_folders_are_found_by_name(dataset: Path, load, picture) -> None:
    content = coco()
    content["images"][1]["file_name"] = "b.png"
    write(dataset, content)
    assert load("cat", "dog", path="labels.json", images="images").table.key == ("a.png", "sub/b.png")
    picture(dataset / "images/other/b.png", seed=3)
    with pytest.raises(DataError, match=r"'other/b.png' and 'sub/b.png'"):
        load("cat", "dog", path="labels.json", images="images")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"annotations": [{"id": 4, "image_id": 8, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "image_id 8"),
        ({"annotations": [{"id": 4, "image_id": [], "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "annotation 4"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "category_id 1"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 5, "bbox": [0, 0, 1]}]}, "four numbers"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 5, "bbox": [0, 0, -1, 1]}]}, "at least 0"),
        ({"annotations": [BOX | {"category_id": 5, "bbox": [0, 0, 1, 10**400]}]}, r"four numbers in pixels, found \[0"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 5, "bbox": [90, 0, 5, 5]}]}, "inside the image"),
        ({"annotations": None}, "expected 'annotations'"),
        ({"categories": []}, "expected 'categories'"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, "of its own"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 40}]}, "30x40"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": "40"}]}, "numbers as width and height, found '40'"),
        ({"images": [{"id": 1, "file_name": "a.png", "da_kd": {"searched": 5}}]}, "class names as 'searched', found 5"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}, "again"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "./a.png"}]}, "more than once"),
        ({"images": None}, "no list of images"),
        ({"images": []}, "found none"),
        ({"images": [{"id": 1, "file_name": "a\0.png"}]}, r"'a\\x00.png': expected the name of a file"),
        ({"images": [{"id": 1, "file_name": "\ud800.png"}]}, "expected the name of a file"),
        ({"images": [{"id": 1, "file_name": f"{'x' * 300}.png"}]}, r"x.png: cannot be opened \(File name too long\)"),
    ],
)
def test_mistakes(dataset: Path, load, changes: dict[str, Any], expected: str) -> None:
    write(dataset, coco(**changes))
    with pytest.raises(DataError, match=expected):
        load("cat", "dog", path="labels.json", images="images")


PROJECT = {"id": 0, "name": "fish", "supercategory": "none"}  # as Roboflow puts it before the classes


@pytest.mark.parametrize("name", ["fish", "trout"])
def test_the_project_that_roboflow_puts_before_the_classes_is_none(dataset: Path, load, name: str) -> None:
    own = {"id": 1, "name": name, "supercategory": "fish"}
    write(dataset, coco(categories=[PROJECT, own], annotations=[BOX]))
    assert class_names(dataset / "labels.json") == (name,)
    assert load(name, path="labels.json").table.label.tolist() == [0]


@pytest.mark.parametrize(
    "categories",
    [
        [PROJECT | {"supercategory": "animal"}, {"id": 1, "name": "trout", "supercategory": "fish"}],
        [PROJECT | {"supercategory": "fish"}, {"id": 1, "name": "trout", "supercategory": "fish"}],
        [PROJECT, {"id": 1, "name": "trout", "supercategory": "none"}],
        [PROJECT | {"id": 1}, {"id": 0, "name": "trout", "supercategory": "fish"}],  # the box is of it
    ],
)
def test_other_classes_stay_whatever_they_stand_under(dataset: Path, categories: list[dict[str, Any]]) -> None:
    write(dataset, coco(categories=categories, annotations=[BOX]))
    assert sorted(class_names(dataset / "labels.json")) == ["fish", "trout"]


def test_broken_json_names_the_line(dataset: Path, load) -> None:
    (dataset / "labels.json").write_text('{"images": [\n,]}')
    with pytest.raises(DataError, match="line 2"):
        load("cat", path="labels.json")


def test_json_that_is_nested_too_deeply(dataset: Path, load) -> None:
    (dataset / "labels.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        load("cat", path="labels.json")


def test_flat_boxes_stay_dropped_and_are_told(dataset: Path, load, events: list) -> None:
    write(dataset, coco(annotations=[{"id": 1, "image_id": 7, "category_id": 5, "bbox": [3, 3, 5, 0]}]))
    table = load("cat", "dog", path="labels.json").table
    assert table.state.tolist() == [State.DROPPED]
    assert any(isinstance(event, Note) and "1 boxes have no width" in event.text for event in events)


def test_unlabelled_looks_at_no_annotation(dataset: Path, load) -> None:
    write(dataset, coco(annotations="rubbish", categories=None))
    found = load("cat", labels=False, path="labels.json")
    assert len(found) == 2
    assert not found.table.searched.any()


def test_a_missing_image_of_a_labelled_set_is_told(dataset: Path, load) -> None:
    content = coco()
    content["images"].append({"id": 1, "file_name": "gone.png"})
    write(dataset, content)
    with pytest.raises(DataError, match=r"gone\.png: missing file"):
        load("cat", "dog", path="labels.json")


def test_a_coco_file_has_no_splits(dataset: Path, load) -> None:
    write(dataset, coco())
    with pytest.raises(DataError, match="is one split"):
        load("cat", "dog", path="labels.json", split="train")


WIDTH, HEIGHT = 64, 48
CLASSES = ("cat", "dog", "bird")


@st.composite
def tables(draw: st.DrawFn) -> DetectionTable:
    """Draw boxes of every state on up to three images; some have none, some were not searched."""
    images = [ImageRecord(f"{index}.png", "", WIDTH, HEIGHT) for index in range(draw(st.integers(1, 3)))]
    inside = st.tuples(*(st.floats(0, 1, width=32) for _ in range(4)))
    found, state = {}, {}
    for image in images:
        if draw(st.booleans()):
            corners = np.array(draw(st.lists(inside, max_size=4)), np.float32).reshape(-1, 2, 2)
            xyxy = np.sort(corners * np.array([WIDTH, HEIGHT], np.float32), axis=1).reshape(-1, 4)
            xyxy = xyxy[(xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)]
            many = len(xyxy)
            score = np.array(draw(st.lists(st.floats(0, 1, width=32), min_size=many, max_size=many)), np.float32)
            label = draw(st.lists(st.integers(0, 2), min_size=many, max_size=many))
            found[image.key] = Detections(CLASSES, xyxy, score, np.array(label, np.int32))
            state[image.key] = np.array(draw(st.lists(st.sampled_from(list(State)), min_size=many, max_size=many)), int)
    return table_of(CLASSES, images, found, searched=draw(st.sets(st.sampled_from(CLASSES), min_size=1)), state=state)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_what_we_write_reads_back_to_the_last_bit(table: DetectionTable, tmp_path: Path) -> None:
    for key in ("0.png", "1.png", "2.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / key)
    write_coco(table, tmp_path / "ours.json")
    spec, place = Images(path="ours.json"), {"cache": ScanCache(None), "frames": tmp_path, "job": Job(), "name": "x"}
    back = load_images(spec, tmp_path, CLASSES, labels=True, **place).table
    assert back.key == table.key
    for column in ("offsets", "xyxy", "score", "label", "state", "searched"):
        assert np.array_equal(getattr(back, column), getattr(table, column)), column
