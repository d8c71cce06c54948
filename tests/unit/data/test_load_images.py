from __future__ import annotations

import os
from pathlib import Path

import pytest

from da_kd.errors import DataError
from da_kd.events import Event, Note


@pytest.fixture
def cells(tmp_path: Path, picture) -> Path:
    """A YOLO set with the classes WBC, Platelets and dust."""
    for index in range(3):
        picture(tmp_path / f"cells/images/{index}.png", (100, 100), seed=index)
        label = tmp_path / f"cells/labels/{index}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("".join(f"{name} 0.5 0.5 0.{name + 1} 0.2\n" for name in range(3)))
    (tmp_path / "cells/data.yaml").write_text("train: images\nnames: [WBC, Platelets, dust]\n")
    return tmp_path / "cells"


def test_classes_are_mapped_by_name_and_null_drops(cells: Path, load) -> None:
    table = load("platelet", "RBC", "WBC", path="cells", classes={"Platelets": "platelet", "dust": None}).table
    assert table.vocabulary == ("platelet", "RBC", "WBC")
    assert table.at(0).label.tolist() == [2, 0]
    assert table.at(0).xyxy[1].tolist() == [40, 40, 60, 60]
    assert table.searched.tolist() == [[True, False, True]] * 3  # nobody looked for RBC


def test_labelled_classes_say_what_was_searched(cells: Path, load) -> None:
    spec = {"path": "cells", "classes": {"dust": None}, "labelled_classes": ["Platelets"]}
    assert load("WBC", "Platelets", **spec).table.searched.tolist() == [[False, True]] * 3


def test_an_unknown_class_suggests_the_nearest(cells: Path, load) -> None:
    (cells / "data.yaml").write_text("train: images\nnames: [WBC, platelet, dust]\n")
    with pytest.raises(DataError) as error:
        load("WBC", "Platelets", path="cells")
    text = str(error.value)
    assert "class 'platelet' of data.source is not one of the recipe's classes ['WBC', 'Platelets']" in text
    assert "did you mean 'Platelets'? map it under data.source.classes, to null to leave it out" in text
    assert "class 'dust'" in text
    assert 'leave all others out with "*": null' in text  # as YAML has to have it


def test_wrong_labels_name_the_set(cells: Path, load) -> None:
    (cells / "labels/0.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"^data\.source: The labels of .*found 1 mistake"):
        load("WBC", "Platelets", path="cells", classes={"dust": None})


def test_a_mapping_of_a_class_that_is_not_there(cells: Path, load) -> None:
    with pytest.raises(DataError, match=r"maps 'dusts', which is not one of its classes.*did you mean 'dust'"):
        load("WBC", "Platelets", path="cells", classes={"dusts": None, "dust": None})


def test_a_star_leaves_out_all_classes_that_are_not_named(cells: Path, load) -> None:
    table = load("Platelets", path="cells", classes={"*": None}).table
    named = load("Platelets", path="cells", classes={"dust": None, "WBC": None}).table
    assert table.vocabulary == ("Platelets",)
    assert table.label.tolist() == named.label.tolist()


def test_bad_images_of_a_labelled_set_are_listed(cells: Path, load) -> None:
    (cells / "images/1.png").write_bytes(b"")
    bad = cells / "images/2.png"
    bad.write_bytes(bad.read_bytes()[:-900])
    with pytest.raises(DataError) as error:
        load("WBC", "Platelets", path="cells", classes={"dust": None})
    assert "found 2 mistakes" in str(error.value)
    assert "1.png: empty file" in str(error.value)
    assert "2.png: truncated" in str(error.value)


def test_bad_images_of_an_unlabelled_set_stay_with_their_reason(cells: Path, load) -> None:
    (cells / "images/1.png").write_bytes(b"")
    found = load("WBC", labels=False, path="cells/images")
    assert found.table.reason == ("", "empty file", "")
    assert found.usable().table.key == ("0.png", "2.png")


def test_plain_folders_are_nested_and_in_natural_order(tmp_path: Path, load, picture) -> None:
    for seed, key in enumerate(["x10.png", "x2.PNG", "a/1.jpg", "b/1.jpg", ".hidden/1.png", "b/._1.jpg"]):
        picture(tmp_path / "flat" / key, seed=seed)
    (tmp_path / "flat/notes.txt").touch()
    assert load("cat", labels=False, path="flat").table.key == ("a/1.jpg", "b/1.jpg", "x2.PNG", "x10.png")
    assert load("cat", labels=False, path="flat", split="b").table.key == ("b/1.jpg",)
    with pytest.raises(DataError, match=r"it has \['a', 'b'\]"):
        load("cat", labels=False, path="flat", split="c")


def test_names_that_are_no_text_are_told(tmp_path: Path, load, picture) -> None:
    file = picture(tmp_path / "flat/1.png")
    try:
        Path(os.fsdecode(bytes(tmp_path / "flat") + b"/caf\xe9.png")).write_bytes(file.read_bytes())
    except OSError:
        pytest.skip("this file system has no names but in UTF-8")
    with pytest.raises(DataError, match=r"names in UTF-8; found 1 others, e\.g\. .*/flat/caf\\udce9\.png; rename"):
        load("cat", labels=False, path="flat")


def test_links_that_go_round_end(tmp_path: Path, load, picture) -> None:
    picture(tmp_path / "flat/deep/1.png")
    (tmp_path / "flat/deep/up").symlink_to(tmp_path / "flat", target_is_directory=True)
    (tmp_path / "flat/other").symlink_to(tmp_path / "flat/deep", target_is_directory=True)
    assert "deep/1.png" in load("cat", labels=False, path="flat").table.key
    assert "other/1.png" in load("cat", labels=False, path="flat").table.key


def test_labels_where_there_are_none(tmp_path: Path, load, picture) -> None:
    picture(tmp_path / "flat/1.png")
    with pytest.raises(DataError, match="found images alone"):
        load("cat", path="flat")


def test_nothing_there_says_where_it_looked(tmp_path: Path, load) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data.source: expected images in .*/empty"):
        load("cat", labels=False, path="empty")
    with pytest.raises(DataError, match="closest folder that exists"):
        load("cat", labels=False, path="empty/deeper/still")
    (tmp_path / "weights.pt").touch()
    with pytest.raises(DataError, match="a file of another kind"):
        load("cat", labels=False, path="weights.pt")


@pytest.mark.parametrize("kind", ["auto", "yolo", "coco", "folder"])
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("~nosuchuser/x", "the folder of '~nosuchuser' is unknown; write it out"),
        ("a\0b", r"'a\\x00b', which holds a character that no path can hold"),
        ("x" * 300, "which leads nowhere"),
        ("round/x", "which leads nowhere"),
    ],
)
def test_a_path_that_can_be_none(tmp_path: Path, load, path: str, told: str, kind: str) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(DataError, match=rf"data\.source: Expected a path; found .*{told}"):
        load("cat", labels=False, path=path, format=kind)


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc", "video", "folder"])
def test_a_format_that_does_not_fit(tmp_path: Path, load, kind: str) -> None:
    (tmp_path / "thing").mkdir()
    with pytest.raises(DataError, match="thing"):
        load("cat", labels=False, path="thing", format=kind)


def test_videos_beside_images_are_told(tmp_path: Path, load, picture, events: list) -> None:
    picture(tmp_path / "mixed/1.png")
    (tmp_path / "mixed/a.mp4").touch()
    assert len(load("cat", labels=False, path="mixed")) == 1
    assert any(isinstance(event, Note) and "the videos are left out" in event.text for event in events)


def test_sets_to_render_are_not_loaded_here(load) -> None:
    with pytest.raises(ValueError, match="render the images first"):
        load("cat", render="lab_a", count=3, split="train")


def test_boxes_of_classes_that_are_not_labelled_are_left_out_and_told(cells: Path, load, events: list[Event]) -> None:
    spec = {"path": "cells", "classes": {"dust": None}}
    every = load("WBC", "Platelets", **spec).table
    table = load("WBC", "Platelets", **spec, labelled_classes=["Platelets"]).table
    assert (every.label == 0).any()
    assert set(table.label.tolist()) == {1}
    (note,) = [event for event in events if isinstance(event, Note)]
    assert note.text == f"{(every.label == 0).sum()} boxes of WBC are left out: 'labelled_classes' does not name them."
