"""Labels out to another program and back: what was done there is found by place, exactly and once."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, ImageRecord, State, stack, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review import ReviewInput, journal, overlay
from da_kd.stages.review.elsewhere import take_coco, write_labels
from da_kd.stages.review.journal import Box, Entry

CLASSES = ("RBC", "WBC")
NEXT = "WBC"


@pytest.fixture
def given(tmp_path: Path) -> ReviewInput:
    (tmp_path / "images").mkdir()
    records, found = [], {}
    for number in range(3):
        Image.new("RGB", (200, 100), (50 * number, 90, 90)).save(tmp_path / "images" / f"{number}.png")
        records.append(ImageRecord(f"{number}.png", f"{number:02d}" * 8, 200, 100))
        left = np.array([10, 60, 110, 150], np.float32) + np.float32(1 / 3)
        boxes = np.column_stack([left, left, left + 30, left + 20])[: 4 - number]
        boxes[:, [1, 3]] = 10.1, 40.7
        found[f"{number}.png"] = Detections(CLASSES, boxes, np.full(len(boxes), 0.5), np.zeros(len(boxes), int))
    state = {"0.png": np.array([0, 1, 0, 3], np.int8)}
    return ReviewInput(tmp_path / "images", table_of(CLASSES, records, found, state=state), "cells", "print")


def written(given: ReviewInput, folder: Path) -> tuple[Path, dict]:
    path = folder / "out.json"
    assert write_labels(given, folder, path, Job()) == 8  # the dropped one stays at home
    return path, json.loads(path.read_text())


def test_a_file_that_comes_back_untouched_accepts_everything_to_the_last_bit(given, tmp_path):
    path, _ = written(given, tmp_path)
    assert take_coco(given, path, tmp_path, Job()) == 8 + 3
    assert take_coco(given, path, tmp_path, Job()) == 0
    table = overlay.apply(given.table, journal.read(tmp_path))
    np.testing.assert_array_equal(table.xyxy, given.table.xyxy)
    assert table.state.tolist() == [0, 0, 0, 3, 0, 0, 0, 0, 0]
    assert table.protected.all()


def test_what_was_done_elsewhere_is_found_and_another_version_takes_it_back(given, tmp_path):
    path, content = written(given, tmp_path)
    boxes = content["annotations"]
    untouched = json.dumps(content)
    boxes[0]["category_id"] = 2
    boxes[1]["bbox"][0] += 6
    boxes[3]["bbox"] = [round(value) for value in boxes[3]["bbox"]]  # other programs round
    content["annotations"] = [box for box in boxes if box["id"] != boxes[2]["id"]]
    content["annotations"].append({"id": 99, "image_id": 3, "category_id": 2, "bbox": [150, 60, 20, 20], "iscrowd": 0})
    path.write_text(json.dumps(content))
    assert take_coco(given, path, tmp_path, Job()) == 9 + 3
    entries = journal.read(tmp_path)
    assert [e.action for e in entries if e.sha == given.table.sha[0]] == ["relabelled", "moved", "rejected", "complete"]
    assert [e.action for e in entries if e.sha == given.table.sha[1]] == ["accepted"] * 3 + ["complete"]
    assert [e.action for e in entries if e.sha == given.table.sha[2]] == ["accepted"] * 2 + ["added", "complete"]
    table = overlay.apply(given.table, entries)
    assert (table.state == State.KEPT).sum() == 8
    path.write_text(untouched)
    assert take_coco(given, path, tmp_path, Job()) == 4  # three are accepted now, and what was added is withdrawn
    table = overlay.apply(given.table, journal.read(tmp_path))
    np.testing.assert_array_equal(table.xyxy, given.table.xyxy)


def test_a_class_that_the_file_does_not_have_is_left_alone(given, tmp_path):
    path, content = written(given, tmp_path)
    gone = content["categories"].pop(0)
    content["annotations"] = [box for box in content["annotations"] if box["category_id"] != gone["id"]]
    path.write_text(json.dumps(content))
    take_coco(given, path, tmp_path, Job())
    table, label = overlay.apply(given.table, journal.read(tmp_path)), given.table.vocabulary.index(gone["name"])
    theirs = given.table.label == label
    assert theirs.any()
    assert table.state[theirs].tolist() == given.table.state[theirs].tolist()
    assert not table.protected[theirs].any()
    content["categories"] = [{"id": gone["id"], "name": "another"}]
    content["annotations"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="named like the classes"):
        take_coco(given, path, tmp_path, Job())


def test_images_of_another_run_are_told_and_a_place_that_is_taken_too(given, tmp_path):
    path, content = written(given, tmp_path)
    with pytest.raises(DataError, match="there already"):
        write_labels(given, tmp_path, path, Job())
    other = dataclasses.replace(given, root=tmp_path / "other")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "other" / "9.png")
    content["images"], content["annotations"] = [{**content["images"][0], "file_name": "9.png"}], []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="none of its images"):
        take_coco(other, path, tmp_path, Job())


def test_a_yolo_folder_has_what_is_kept(given, tmp_path):
    write_labels(given, tmp_path, tmp_path / "yolo", Job())
    lines = [path.read_text().splitlines() for path in sorted((tmp_path / "yolo/labels").rglob("*.txt"))]
    assert [len(text) for text in lines] == [2, 3, 2]


def test_a_large_set_goes_out_in_parts_the_most_doubtful_first(tmp_path):
    number = [1, 2, 3, 4]
    found = {f"{n}.png": Detections(CLASSES, np.array([[10, 10, 40, 40.0]]), [0.95 - 0.1 * n], [0]) for n in number}
    records = [ImageRecord(f"{n}.png", f"{n:064x}", 100, 80) for n in number]
    (tmp_path / "images").mkdir()
    for n in number:
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / f"{n}.png")
    given = ReviewInput(tmp_path / "images", table_of(CLASSES, records, found), "cells", "print")
    parts = []
    for turn in range(3):
        path = tmp_path / f"{turn}.json"
        write_labels(given, tmp_path, path, Job(), most=2)
        parts.append([image["file_name"] for image in json.loads(path.read_text())["images"]])
        if parts[-1]:
            take_coco(given, path, tmp_path, Job())
    assert parts == [["3.png", "4.png"], ["1.png", "2.png"], []]
    assert set(journal.complete(journal.read(tmp_path), given.table.sha)) == set(given.table.sha)


def boxes_of(content: dict, name: str) -> dict:
    """Return the file as another program writes it for one class alone."""
    (one,) = [category for category in content["categories"] if category["name"] == name]
    boxes = [box for box in content["annotations"] if box["category_id"] == one["id"]]
    return {**content, "categories": [one], "annotations": boxes}


def test_two_people_review_a_class_each_and_what_the_first_said_stands(given, tmp_path):
    path, content = written(given, tmp_path)
    content["annotations"][1]["bbox"][0] += 6
    content["annotations"].append({"id": 98, "image_id": 3, "category_id": 1, "bbox": [150, 60, 20, 20], "iscrowd": 0})
    path.write_text(json.dumps(boxes_of(content, "RBC")))
    take_coco(given, path, tmp_path, Job())
    before = overlay.apply(given.table, journal.read(tmp_path))
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [20, 60, 20, 20], "iscrowd": 0})
    path.write_text(json.dumps(boxes_of(content, "WBC")))
    assert take_coco(given, path, tmp_path, Job()) == 1 + 3  # the box, and each image's word that both are complete
    after = overlay.apply(given.table, journal.read(tmp_path))
    red = after.pick_boxes(after.label == 0)
    np.testing.assert_array_equal(red.xyxy, before.xyxy)
    np.testing.assert_array_equal(red.state, before.state)
    said = journal.in_force(journal.read(tmp_path), given.table.sha)
    assert {entry.classes for entry in said if entry.action == "complete"} == {CLASSES}


def test_labels_made_anew_in_another_order_take_no_decision_for_another(given, tmp_path):
    path, content = written(given, tmp_path)
    content["annotations"][0]["bbox"][0] += 6
    path.write_text(json.dumps(content))
    take_coco(given, path, tmp_path, Job())
    backwards = given.table.take([0]).pick_boxes(np.array([3, 2, 1, 0]))
    again = dataclasses.replace(given, table=backwards)
    assert take_coco(again, path, tmp_path, Job()) == 0


def test_copies_of_an_image_are_reviewed_once_and_what_is_decided_holds_for_all(given, tmp_path):
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    twice = stack([given.table, dataclasses.replace(given.table.take([0]), key=("copy.png",))])
    both = dataclasses.replace(given, table=twice)
    for round_ in range(2):
        path = tmp_path / f"{round_}.json"
        assert write_labels(both, tmp_path, path, Job()) == 8
        take_coco(both, path, tmp_path, Job())
        table = overlay.apply(twice, journal.read(tmp_path))
        assert np.bincount(table.image_index).tolist() == [4, 3, 2, 4]
        assert table.protected.all()


FREE = (20.0, 60.0, 50.0, 95.0)


def decided_in_the_app(given: ReviewInput, folder: Path, action: str, after: Box) -> None:
    """A box was added in FiftyOne, or the first one of the first image got another class or place."""
    before = None if action == "added" else Box("RBC", tuple(given.table.xyxy[0].tolist()), 0.5)
    journal.append(folder, [Entry(given.table.sha[0], action, "1", "cells@1", before, after)])


def standing(given: ReviewInput, folder: Path) -> list[tuple[str, tuple[float, ...]]]:
    """Return the boxes of the first image that stand, by what the journal says."""
    table = overlay.apply(given.table, journal.read(folder))
    kept = table.at(0)
    return sorted(
        (CLASSES[label], tuple(xyxy)) for label, xyxy in zip(kept.label.tolist(), kept.xyxy.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("action", "after", "becomes"),
    [
        ("added", Box("RBC", FREE), None),
        ("added", Box("WBC", FREE), "RBC"),
        ("moved", Box("RBC", FREE), None),
        ("moved", Box("RBC", FREE), "WBC"),
        ("relabelled", Box("WBC", (10 + 1 / 3, 10.1, 40 + 1 / 3, 40.7)), None),
    ],
)
def test_a_box_that_was_decided_in_the_app_is_deleted_or_renamed_elsewhere(given, tmp_path, action, after, becomes):
    decided_in_the_app(given, tmp_path, action, after)
    before, path = standing(given, tmp_path), tmp_path / "out.json"
    mine = next(box for box in before if box[0] == after.name and np.allclose(box[1], after.xyxy))
    write_labels(given, tmp_path, path, Job())
    content = json.loads(path.read_text())
    x1, y1, x2, y2 = after.xyxy
    (box,) = [
        one
        for one in content["annotations"]
        if one["image_id"] == 1
        and one["category_id"] == 1 + CLASSES.index(after.name)
        and np.allclose(one["bbox"], (x1, y1, x2 - x1, y2 - y1), atol=1e-3)
    ]
    if becomes is None:
        content["annotations"].remove(box)
    else:
        box["category_id"] = 1 + CLASSES.index(becomes)
    path.write_text(json.dumps(content))
    take_coco(given, path, tmp_path, Job())
    wanted = [one for one in before if one != mine] + ([(becomes, mine[1])] if becomes else [])
    uncertain = ("RBC", tuple(given.table.xyxy[1].tolist()))  # the file says that it is right
    assert standing(given, tmp_path) == sorted([*wanted, uncertain])
    assert take_coco(given, path, tmp_path, Job()) == 0
    decided_in_the_app(given, tmp_path, action, after)  # nothing new
    assert take_coco(given, path, tmp_path, Job()) == 0


def test_what_stands_untouched_elsewhere_stays_as_it_was_decided_in_the_app(given, tmp_path):
    decided_in_the_app(given, tmp_path, "moved", Box("RBC", FREE))
    path = tmp_path / "out.json"
    write_labels(given, tmp_path, path, Job())
    assert take_coco(given, path, tmp_path, Job()) == 8 + 3
    entries = journal.read(tmp_path)[1:]
    assert {entry.action for entry in entries} == {"accepted", "complete"}
    assert ("RBC", FREE) in standing(given, tmp_path)
    assert len(standing(given, tmp_path)) == 3
