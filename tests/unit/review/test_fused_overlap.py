"""The queue knows the overlap that labels were fused with: below it two boxes of a class may be one object."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, ImageRecord, read_table, table_of
from da_kd.events import Job
from da_kd.pipeline import load_inputs, review_input
from da_kd.pipeline.run import run
from da_kd.recipe import Simulate
from da_kd.stages import review
from da_kd.stages.review import journal, overlay
from da_kd.stages.review.choice import known_by_now
from da_kd.stages.review.stage import most_doubtful
from da_kd.store import Store

NAMES = ("RBC",)
APART, SURE = 0, 1  # images: two boxes of different teachers with an IoU of 0.45, and a box with a low score


@pytest.fixture
def given(tmp_path: Path) -> review.ReviewInput:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for at in range(2):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / "images" / f"{at}.png")
    boxes = {
        "0.png": Detections(NAMES, [[10, 10, 50, 50], [25, 10, 65, 50]], [0.95, 0.95], [0, 0]),
        "1.png": Detections(NAMES, [[10, 10, 50, 50]], [0.6], [0]),
    }
    records = [ImageRecord(key, f"sha-{key}", 80, 60) for key in boxes]
    score = np.array([[0.95, np.nan], [np.nan, 0.95], [0.6, 0.6]], np.float32)
    agreement = np.array([0.5, 0.5, 1], np.float32)
    table = table_of(NAMES, records, boxes)
    columns = {"teachers": ("a", "b"), "teacher_score": score, "agreement": agreement}
    return review.ReviewInput(tmp_path / "images", replace(table, **columns), "cells", "print")


@pytest.mark.parametrize(("overlap", "first"), [(0.55, APART), (0.3, SURE)])
def test_two_boxes_are_two_objects_where_fusion_would_have_made_one_of_them(given, tmp_path, overlap, first):
    given = replace(given, fuse_iou=overlap)
    assert most_doubtful(given.table, 1, given.fuse_iou).tolist() == [first]
    config = Simulate(budget=1, order="queue")
    review.simulated(config, given, given.table, 0, tmp_path, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.image_index[table.protected].tolist() == [first]


def test_what_is_known_of_disputed_boxes_goes_by_the_overlap_as_well(given):
    entries = [journal.Entry("sha-0.png", "complete", journal.image_id("sha-0.png"), "cells@1")]
    said = overlay.apply(given.table, entries)
    cells = [np.flatnonzero(known_by_now(given.table, said, entries, iou).boxes).tolist() for iou in (0.55, 0.3)]
    assert cells[0] != cells[1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((), False),
        (("fuse.iou=0.55",), False),
        (("fuse.iou=0.4",), True),
        (("fuse.iou=0.4", "review.simulate.order=random"), False),
    ],
)
def test_a_simulated_review_is_made_anew_only_where_its_queue_changes(recipe, steps, changes, told):
    made = steps(recipe("review.mode=simulate", "review.simulate.budget=1", *changes))["review"].output.parts
    assert made.get("fuse.iou") == (0.4 if told else None)


def test_the_review_gets_the_overlap_of_the_recipe(recipe, steps, tmp_path):
    mine, store = recipe("fuse.iou=0.4"), Store(tmp_path / "runs")
    run(mine, tmp_path / "runs" / "small", until="fuse")
    assert review_input(mine, load_inputs(mine, store, Job()), store, steps(mine)).fuse_iou == 0.4
