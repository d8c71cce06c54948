from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from da_kd.data.yolo import label_path
from da_kd.errors import DataError
from da_kd.events import Note


@pytest.fixture
def dataset(tmp_path: Path, picture) -> Path:
    """Two splits, nested folders with equal names, one image without a label file."""
    root = tmp_path / "set"
    for seed, key in enumerate(["train/a/1.png", "train/b/1.png", "train/b/2.png", "val/1.png"]):
        picture(root / "images" / key, (40, 20), seed)
    write(root / "labels/train/a/1.txt", "0 0.5 0.5 0.5 0.5\n\n1 0.1 0.1 0.2 0.2\n")
    write(root / "labels/train/b/1.txt", "1 0.25 0.5 0.5 1\n")
    write(root / "labels/val/1.txt", "1 0 0 0.5 0 0.5 1 0 1\n")
    write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_boxes_splits_and_images_without_labels(dataset: Path, load) -> None:
    found = load("cat", "dog", path="set", split="train")
    assert found.table.key == ("images/train/a/1.png", "images/train/b/1.png", "images/train/b/2.png")
    assert found.table.at(0).xyxy.tolist() == [[10, 5, 30, 15], [0, 0, 8, 4]]
    assert found.table.at(0).label.tolist() == [0, 1]
    assert len(found.table.at(2)) == 0
    assert found.table.searched.all()
    assert found.path(1) == dataset / "images/train/b/1.png"


def test_no_split_means_all_and_polygons_become_boxes(dataset: Path, load) -> None:
    table = load("cat", "dog", path="set/data.yaml").table
    assert len(table) == 4
    assert table.at(3).xyxy.tolist() == [[0, 0, 20, 20]]


def test_unlabelled_opens_no_label_file(dataset: Path, load) -> None:
    write(dataset / "labels/train/a/1.txt", "rubbish")
    found = load("cat", labels=False, path="set", split="train")
    assert len(found) == 3
    assert not found.table.searched.any()
    assert len(found.table.xyxy) == 0


def test_names_as_mapping_path_key_and_lists(dataset: Path, load, tmp_path: Path) -> None:
    write(dataset / "list.txt", "./images/val/1.png\nimages/train/b/1.png\nimages/val/1.png\n")
    write(tmp_path / "other.yaml", "path: set\nsome: [list.txt, images/train/a]\nnames: {1: dog, 0: cat}\n")
    table = load("cat", "dog", path="other.yaml", split="some").table
    assert table.key == ("images/val/1.png", "images/train/b/1.png", "images/train/a/1.png")
    assert table.at(1).label.tolist() == [1]


def test_all_mistakes_are_told_at_once(dataset: Path, load) -> None:
    rows = ["2 .5 .5 .1 .1", "0 .5 .5 .1", "0 a .5 .1 .1", "0 1.2 .5 .1 .1", "0 .5 .5 0 .1", "0.5 .5 .5 .1 .1"]
    write(dataset / "labels/train/b/1.txt", "\n".join([*rows, "0 nan .5 .1 .1", *["-1 .5 .5 .1 .1"] * 5]))
    with pytest.raises(DataError) as error:
        load("cat", "dog", path="set")
    text = str(error.value)
    assert "found 12 mistakes" in text
    assert "labels/train/b/1.txt:1: expected a class id in 0..1, found 2" in text
    assert "1.txt:2: expected 5 columns" in text
    assert "found 'a'" in text
    assert "found 1.2" in text
    assert "... and 2 more." in text


def test_a_little_outside_is_cut(dataset: Path, load) -> None:
    write(dataset / "labels/val/1.txt", "0 0.5 0.5 1.0005 1.0005\n0 0.05 0.5 0.2 1\n")
    table = load("cat", "dog", path="set", split="val").table
    assert table.at(0).xyxy.tolist() == [[0, 0, 40, 20], [0, 0, 6, 20]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a list", "found no mapping"),
        ("train: [", "found a mistake"),
        ("train: images/train", "expected 'names'"),
        ("train: images/train\nnames: [cat, cat]", "more than once"),
        ("train: images/train\nnames: {1: cat}", "count 0, 1, 2"),
        ("train: images/train\nnames: [no, dog]", "quotes"),
        ("train: nowhere\nnames: [cat]", "found nothing there"),
        ("path: nowhere\ntrain: .\nnames: [cat]", "key 'path'"),
        ("names: [cat]", "expected splits"),
        (
            "train: .\nnames: [2024-02-30]",
            r"line 2, column 9: expected a date; found '2024-02-30'; put a text in quotes",
        ),
        ("train: .\nnames: [0x_]", "expected a whole number; found '0x_'"),
        (f"train: .\nnames: {'[' * 2000}", "too deep inside each other"),
        (f"train: {'x' * 300}\nnames: [cat]", "found nothing there"),
        (f"path: {'x' * 300}\ntrain: .\nnames: [cat]", "key 'path'"),
    ],
)
def test_mistakes_in_the_yaml(dataset: Path, load, text: str, expected: str) -> None:
    write(dataset / "data.yaml", text)
    with pytest.raises(DataError, match=expected):
        load("cat", path="set")


@pytest.mark.parametrize(
    ("name", "expected"), [("a\0.png", r"list.txt:2: .*found 'a\\x00.png'"), ("x" * 300, "missing")]
)
def test_a_list_of_names_that_no_file_can_have(dataset: Path, load, name: str, expected: str) -> None:
    write(dataset / "data.yaml", "train: list.txt\nnames: [cat, dog]")
    write(dataset / "list.txt", f"images/val/1.jpg\n{name}\n")
    with pytest.raises(DataError, match=expected):
        load("cat", "dog", path="set")


def test_a_split_that_is_not_there_lists_those_that_are(dataset: Path, load) -> None:
    with pytest.raises(DataError, match=r"'tests'.*it has \['train', 'val'\]"):
        load("cat", "dog", path="set", split="tests")


def test_label_files_without_an_image_are_told(dataset: Path, load, events: list) -> None:
    write(dataset / "labels/train/a/lost.txt", "0 .5 .5 .1 .1")
    load("cat", "dog", path="set")
    assert any(isinstance(event, Note) and "1 label files have no image" in event.text for event in events)


@pytest.mark.parametrize("beside", [True, False])
def test_a_labelled_set_without_one_label_file_is_refused(dataset: Path, load, beside: bool) -> None:
    shutil.move(dataset / "labels", dataset / "elsewhere")
    if beside:  # as LabelImg puts them
        write(dataset / "images/val/1.txt", "0 .5 .5 .1 .1")
    with pytest.raises(DataError, match=r"label files such as .*set/labels/train/a/1\.txt; found none") as error:
        load("cat", "dog", path="set")
    assert ("images/val/1.txt beside its image" in str(error.value)) == beside
    assert "one empty file is enough" in str(error.value)
    assert len(load("cat", labels=False, path="set")) == 4


def test_one_empty_label_file_says_that_nothing_is_there(dataset: Path, load) -> None:
    shutil.rmtree(dataset / "labels")
    write(dataset / "labels/train/b/2.txt", "")
    table = load("cat", "dog", path="set").table
    assert len(table.xyxy) == 0 and table.searched.all()
    assert len(load("cat", "dog", path="set", fraction=0.25)) == 1  # a part need not hold the file


def test_only_the_last_images_folder_becomes_labels() -> None:
    assert label_path(Path("/images/x/images/a/images.png")) == Path("/images/x/labels/a/images.txt")
    assert label_path(Path("/plain/a.b.jpg")) == Path("/plain/a.b.txt")


def test_real_cells(real_data: Path, load) -> None:
    found = load("WBC", "RBC", "Platelets", path=str(real_data / "cells/bccd"), split="train")
    assert len(found) == 150
    assert found.table.ok.all()
    boxes, size = found.table.xyxy, found.table.size[found.table.image_index]
    assert len(boxes) > 1000
    assert (boxes[:, 2:] <= size).all()
    assert np.isin([0, 1, 2], found.table.label).all()
