from __future__ import annotations

from pathlib import Path

import pytest

from da_kd.detections import State
from da_kd.errors import DataError


def xml(*objects: str, size: str = "") -> str:
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def thing(name: str, *corners: float, difficult: int = 0) -> str:
    box = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False)
    )
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


@pytest.fixture
def dataset(tmp_path: Path, picture) -> Path:
    root = tmp_path / "voc"
    for seed, name in enumerate(("a", "b", "c")):
        picture(root / "JPEGImages" / f"{name}.jpg", seed=seed)
    (root / "Annotations").mkdir()
    put(root, "a", xml(thing("dog", 1, 1, 40, 30), thing("cat", 11, 11, 20, 20, difficult=1)))
    put(root, "b", xml(thing("cat", 2, 3, 4, 5)))
    put(root, "c", xml())
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\nc  1\n")
    (root / "ImageSets/Main/val.txt").write_text("b\n")
    return root


def put(root: Path, name: str, text: str) -> None:
    (root / "Annotations" / f"{name}.xml").write_text(text)


def test_pixels_count_from_zero_and_difficult_is_ignored(dataset: Path, load) -> None:
    table = load("cat", "dog", path="voc").table
    assert table.key == ("a.jpg", "b.jpg", "c.jpg")
    assert table.at(0).xyxy.tolist() == [[0, 0, 40, 30]]
    assert table.at(0, [State.IGNORED]).xyxy.tolist() == [[10, 10, 20, 20]]
    assert len(table.at(2)) == 0
    assert table.searched.all()


def test_splits_and_classes_of_the_whole_set(dataset: Path, load) -> None:
    table = load("cat", "dog", path="voc", split="val").table
    assert table.key == ("b.jpg",)
    assert table.searched.all()  # dogs were looked for, though none is in this split
    with pytest.raises(DataError, match=r"\['train', 'val'\]"):
        load("cat", "dog", path="voc", split="test")


@pytest.mark.parametrize("line", ["my own a", "my own a  1", " my own a -1", "my own a.jpg", "b", "b -1", "b  0 0.9"])
def test_lists_may_hold_names_with_blanks_and_a_column(dataset: Path, load, picture, line: str) -> None:
    picture(dataset / "JPEGImages" / "my own a.jpg", seed=3)
    put(dataset, "my own a", xml())
    (dataset / "ImageSets/Main/train.txt").write_text(f"{line}\n")
    assert load("cat", "dog", path="voc", split="train").table.key == (("b" if "b" in line else "my own a") + ".jpg",)


def test_an_image_that_a_list_names_and_is_not_there_is_told(dataset: Path, load) -> None:
    (dataset / "ImageSets/Main/train.txt").write_text("my own d  1\n")
    with pytest.raises(DataError, match=r"'my own d': expected an image of that name"):
        load("cat", "dog", path="voc", split="train")


def test_unlabelled_opens_no_xml(dataset: Path, load) -> None:
    put(dataset, "a", "rubbish")
    assert load("cat", labels=False, path="voc", split="train").table.key == ("a.jpg", "c.jpg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rubbish", "found a mistake"),
        ("<!DOCTYPE x [<!ENTITY y 'z'>]><annotation/>", "document type"),
        (xml("<object/>"), "<name>"),
        (xml("<object><name>cat</name></object>"), "four numbers"),
        (xml(thing("cat", 20, 20, 10, 10)), "area"),
        (xml(thing("cat", 1, 1, "nan", 10)), "area"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>30</width><height>40</height></size>"), "30x40"),
    ],
)
def test_mistakes(dataset: Path, load, text: str, expected: str) -> None:
    put(dataset, "b", text)
    with pytest.raises(DataError, match=expected):
        load("cat", "dog", path="voc")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_document_types_are_refused_in_any_encoding(dataset: Path, load, encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE x [<!ENTITY y 'z'>]><annotation>&y;</annotation>"
    (dataset / "Annotations/b.xml").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"Annotations/b\.xml: expected plain XML, found a document type"):
        load("cat", "dog", path="voc")


def test_images_and_labels_must_meet(dataset: Path, load) -> None:
    (dataset / "Annotations/b.xml").rename(dataset / "Annotations/d.xml")
    with pytest.raises(DataError) as error:
        load("cat", "dog", path="voc")
    assert "expected Annotations/b.xml" in str(error.value)
    assert "Annotations/d.xml: expected an image" in str(error.value)
