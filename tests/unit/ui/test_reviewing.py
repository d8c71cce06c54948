"""What page 4 knows of a review: what people decided so far, and what is still worth a look."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from da_kd.errors import InputError
from da_kd.stages.review import journal, overlay
from da_kd.stages.review.journal import Box, Entry
from da_kd.stages.review.queue import build_queue, learned
from da_kd.ui.queries import reviewing
from da_kd.ui.queries.runs import exported_files

CAT = (0.0, 0.0, 20.0, 20.0)


@pytest.fixture
def labelled(run, finished, boxes, table):
    """A run with pseudo labels: a doubtful cat in one image, a doubtful dog in another."""
    found = {"0.png": boxes((*CAT, 0.4, 0)), "1.png": boxes((30, 30, 60, 60, 0.4, 1))}
    table(found).write(finished("fuse", "fuse") / "labels.parquet")
    return run


def decide(run, action, label, sha="sha-0.png"):
    box = None if action == "complete" else Box("cat", CAT)
    journal.append(run.workspace, [Entry(sha, action, label, "x", box, box, "2026-01-01T00:00:00", "eve")])


def test_a_run_without_labels_says_where_they_are_made(run):
    assert not reviewing.ready(run)
    with pytest.raises(InputError, match="page 3"):
        reviewing.queue(run)


def test_nothing_is_decided_at_first_and_everything_is_worth_a_look(labelled):
    assert reviewing.ready(labelled)
    assert reviewing.decided(labelled).total() == 0
    table, queue = reviewing.queue(labelled)
    assert len(table) == 2 and all(queue.why)


def test_what_people_decide_is_counted_at_once_and_leaves_the_queue(labelled):
    reviewing.queue(labelled)
    before = reviewing.version(labelled)
    decide(labelled, "accepted", "1")
    decide(labelled, "complete", journal.image_id("sha-0.png"))
    decide(labelled, "accepted", "2", sha="of-another-set")
    assert reviewing.version(labelled) != before
    assert dict(reviewing.decided(labelled)) == {"accepted": 1, "complete": 1}
    _, queue = reviewing.queue(labelled)
    assert [bool(why) for why in queue.why] == [False, True]


def test_the_queue_learns_from_what_is_done_as_fiftyone_does(run, finished, boxes, table):
    """Cats turn out wrong again and again: a cat comes before a dog that scores as much."""
    found = {f"{at}.png": boxes((*CAT, 0.6, 0)) for at in range(9)}
    fused = table({**found, "dog.png": boxes((*CAT, 0.58, 1)), "cat.png": boxes((*CAT, 0.6, 0))})
    fused.write(finished("fuse", "fuse") / "labels.parquet")
    for at in range(9):
        decide(run, "rejected", f"box-{at}", sha=f"sha-{at}.png")
        decide(run, "complete", journal.image_id(f"sha-{at}.png"), sha=f"sha-{at}.png")
    said, queue = reviewing.queue(run)
    assert [said.key[at] for at in queue.order[:2]] == ["cat.png", "dog.png"]
    expected = build_queue(said, known=learned(fused, overlay.apply(fused, journal.read(run.workspace)), range(9)))
    assert queue.order.tolist() == expected.order.tolist()
    assert [said.key[at] for at in build_queue(said).order[:2]] == ["dog.png", "cat.png"]


@pytest.mark.parametrize(("overlap", "differ"), [(0.55, True), (0.3, False)])
def test_the_queue_knows_how_much_fused_boxes_overlap_and_has_copies_once(run, finished, boxes, table, overlap, differ):
    recipe = run.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("drop: 0.1", f"drop: 0.1, iou: {overlap}"))
    pair = table({"0.png": boxes((*CAT, 0.9, 0), (8, 0, 28, 20, 0.9, 0)), "copy.png": boxes((*CAT, 0.9, 0))})
    saw = np.array([[0.9, np.nan], [np.nan, 0.9], [0.9, 0.9]], np.float32)
    fused = dataclasses.replace(pair, teachers=("a", "b"), teacher_score=saw, sha=("same", "same"))
    fused.write(finished("fuse", "fuse") / "labels.parquet")
    said, queue = reviewing.queue(run)
    assert said.key == ("0.png",)
    assert ("teachers differ in place" in queue.box_why) == differ


def test_a_rules_decisions_are_told_where_people_made_none(labelled, finished):
    (finished("review", "review") / "review.json").write_text('{"accepted": 7, "images": 2, "rejected": 1}')
    assert dict(reviewing.decided(labelled)) == {"accepted": 7, "rejected": 1}


def test_what_an_export_wrote_can_be_saved_and_nothing_else(run, tmp_path):
    assert exported_files(run) == []
    place = run.folder / "export"
    (place / "x_openvino").mkdir(parents=True)
    (place / ".x.onnx.tmp").write_text("")
    (place / "x.onnx").write_text("")
    (place / "secret.onnx").symlink_to(tmp_path)
    assert [path.name for path in exported_files(run)] == ["x.onnx"]
