"""What people decided as numbered COCO files, with who, when and what."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.data.coco import open_coco
from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review import ReviewInput, journal, snapshots
from da_kd.stages.review.journal import Box, Entry, image_id

CLASSES = ("RBC", "WBC")
PLACES = ((0.0, 0.0, 9.5, 9.25), (20.0, 20.0, 30.0, 30.0), (40.0, 40.0, 50.0, 50.0), (60.0, 60.0, 70.0, 70.0))


@pytest.fixture
def given(tmp_path) -> ReviewInput:
    records = [ImageRecord(f"{number}.png", f"{number:064x}", 100, 100) for number in range(3)]
    boxes = Detections(CLASSES, np.array(PLACES, np.float32), np.full(4, 0.5, np.float32), np.array([0, 0, 1, 1]))
    table = table_of(CLASSES, records, dict.fromkeys(("0.png", "1.png", "2.png"), boxes), teachers=("a",))
    return ReviewInput(tmp_path / "images", table, "cells/of mine", "print")


def entry(given, action, row=0, after=None, image=0, **more) -> Entry:
    sha = given.table.sha[image]
    if action == "complete":
        return Entry(sha, action, image_id(sha), "cells@1", when="2026-01-01T00:00:00+00:00", who="ann", **more)
    before = None if action == "added" else Box(CLASSES[row // 2], PLACES[row], 0.5)
    after = before if action == "accepted" else after
    return Entry(sha, action, f"{image}:{row}", "cells@1", before, after, "2026-01-01T00:00:00+00:00", "ann")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_snapshot_has_every_box_that_stands_and_who_decided_on_it(given, tmp_path):
    drawn = (80.0, 80.0, 95.0, 96.0)
    journal.append(
        tmp_path,
        [
            entry(given, "accepted", 0),
            entry(given, "rejected", 1),
            entry(given, "relabelled", 2, Box("RBC", PLACES[2])),
            entry(given, "added", 9, Box("WBC", drawn)),
            entry(given, "complete", image=1, classes=("WBC",)),
        ],
    )
    path = snapshots.keep(given, tmp_path, Job())
    assert path == tmp_path / "journal" / "snapshots" / "cells_of_mine" / "0001.json"
    tree = read(path)
    assert [image["file_name"] for image in tree["images"]] == ["0.png", "1.png"]  # nobody touched the third
    assert tree["images"][1]["da_kd"]["complete"]["who"] == "ann"
    assert "complete" not in tree["images"][0]["da_kd"]
    first = [box for box in tree["annotations"] if box["image_id"] == 1]
    told = {tuple(box["bbox"]): box["da_kd"].get("decision", {}) for box in first}
    assert {place: one.get("action") for place, one in told.items()} == {
        (0.0, 0.0, 9.5, 9.25): "accepted",
        (40.0, 40.0, 10.0, 10.0): "relabelled",
        (60.0, 60.0, 10.0, 10.0): None,
        (80.0, 80.0, 15.0, 16.0): "added",
    }
    relabelled = told[40.0, 40.0, 10.0, 10.0]
    assert (relabelled["who"], relabelled["when"][:10], relabelled["before"]["class"]) == ("ann", "2026-01-01", "WBC")
    assert [box["xyxy"] for box in (said["before"] for said in tree["info"]["da_kd"]["rejected"])] == [list(PLACES[1])]
    assert tree["info"]["da_kd"]["snapshot"] == 1
    assert tree["info"]["da_kd"]["labels"] == "print"
    # In the second image only one class was asked for: boxes of the other stand, undecided.
    second = [box["category_id"] for box in tree["annotations"] if box["image_id"] == 2]
    assert second == [1, 1]


def test_a_snapshot_is_a_coco_file_that_reads_back_exactly(given, tmp_path):
    journal.append(tmp_path, [entry(given, "accepted", row) for row in range(4)])
    given.root.mkdir()
    Image.new("RGB", (100, 100)).save(given.root / "0.png")
    source = open_coco(snapshots.keep(given, tmp_path, Job()), given.root)
    truth = source.truth([ImageRecord("0.png", given.table.sha[0], 100, 100)])
    (boxes, _), *_ = truth.found().values()
    np.testing.assert_array_equal(boxes.xyxy, np.array(PLACES, np.float32))


def test_numbers_rise_with_what_is_new_and_nothing_new_makes_none(given, tmp_path, told_job):
    assert snapshots.keep(given, tmp_path, Job()) is None  # nothing was decided
    journal.append(tmp_path, [entry(given, "accepted", 0)])
    first = snapshots.keep(given, tmp_path, told_job)
    assert "snapshot 1 of what was decided" in told_job.text
    assert snapshots.keep(given, tmp_path, Job()) is None
    journal.append(tmp_path, [entry(given, "rejected", 1)])
    assert snapshots.keep(given, tmp_path, Job()).name == "0002.json"
    other = dataclasses.replace(given, fingerprint="of other labels")
    assert snapshots.keep(other, tmp_path, Job()).name == "0003.json"
    assert len(read(first)["annotations"]) == 4  # the first stays as it was


def test_a_snapshot_that_cannot_be_read_or_written_costs_no_decision(given, tmp_path):
    journal.append(tmp_path, [entry(given, "accepted", 0)])
    folder = snapshots.folder_of(tmp_path, given.run)
    folder.mkdir(parents=True)
    (folder / "0001.json").write_text("half a fi")
    assert snapshots.keep(given, tmp_path, Job()).name == "0002.json"
    elsewhere = dataclasses.replace(given, run="other")
    snapshots.folder_of(tmp_path, "other").write_text("a file in the way")
    with pytest.raises(DataError, match="The journal has every decision"):
        snapshots.keep(elsewhere, tmp_path, Job())


def test_boxes_in_images_that_are_done_and_that_teachers_find_later_are_not_in_it(given, tmp_path):
    journal.append(tmp_path, [entry(given, "accepted", 0), entry(given, "complete")])
    tree = read(snapshots.keep(given, tmp_path, Job()))
    assert len(tree["annotations"]) == 1
    assert State.DROPPED.name.lower() not in json.dumps(tree["annotations"])


@pytest.fixture
def told_job():
    class Told(Job):
        def __init__(self) -> None:
            self.events: list = []
            super().__init__(self.events.append)

        @property
        def text(self) -> str:
            return "\n".join(getattr(event, "text", "") for event in self.events)

    return Told()
