"""Pseudo labels under other thresholds, two models side by side, and files that people upload."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from da_kd.errors import InputError
from da_kd.ui.queries import comparing, drawing, labels, own
from da_kd.ui.queries.comparing import EVERY_CLASS, Pair, View
from da_kd.ui.queries.images import balance, set_facts

ALL = View(0.3, EVERY_CLASS, "all")


@pytest.fixture
def labelled(run, finished, boxes, table):
    """A run with pseudo labels: scores 0.9 and 0.3 of cats, 0.05 of a dog."""
    found = {"0.png": boxes((0, 0, 20, 20, 0.9, 0), (40, 40, 60, 60, 0.3, 0)), "1.png": boxes((0, 0, 50, 50, 0.05, 1))}
    table(found).write(finished("fuse", "fuse") / "labels.parquet")
    return run


def test_a_run_without_labels_says_what_to_do(run):
    with pytest.raises(InputError, match="Make the labels"):
        labels.fused(run)


def test_changes_are_what_the_command_line_takes(labelled):
    from da_kd.recipe import load_recipe

    own_cuts, merging = labels.cuts_of(labelled), labels.merging_of(labelled)
    assert labels.changes(labelled, own_cuts, merging) == []
    moved = {**own_cuts, "cat": (0.25, 0.05)}
    changed = labels.changes(labelled, moved, labels.Merging("nms", 0.6))
    assert changed[0::2] == ["--set"] * (len(changed) // 2)
    recipe = load_recipe(labelled.folder / "recipe.yaml", changed[1::2])
    assert recipe.fuse.keep["cat"] == 0.25 and recipe.fuse.drop["cat"] == 0.05
    assert recipe.fuse.keep["dog"] == own_cuts["dog"][0]
    assert (recipe.fuse.method, recipe.fuse.iou) == ("nms", 0.6)


def test_the_histogram_counts_every_box_of_the_class(labelled):
    chart = labels.histogram(labels.fused(labelled), "cat", {"cat": (0.5, 0.1), "dog": (0.5, 0.1)})
    assert chart is not None
    assert sum(sum(trace["y"]) for trace in chart["data"]) == 2
    assert [shape["x0"] for shape in chart["layout"]["shapes"]] == [0.1, 0.5]


@pytest.fixture
def pair(boxes, table, images):
    """Three images: both right, one side misses and invents, both say nothing."""
    cat = (10, 10, 30, 30)
    truth = table({"0.png": boxes((*cat, 1, 0)), "1.png": boxes((*cat, 1, 0)), "2.png": boxes()})
    left = table({"0.png": boxes((*cat, 0.9, 0)), "1.png": boxes((60, 60, 90, 90, 0.8, 1)), "2.png": boxes()})
    right = table({"0.png": boxes((*cat, 0.7, 0)), "1.png": boxes((*cat, 0.6, 0)), "2.png": boxes((*cat, 0.1, 0))})
    return Pair(images, images, truth, left, right, ("cat", "dog"))


def test_found_false_and_missed_of_both_sides(pair):
    known = comparing.counts(pair, ALL)
    assert known.found.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert known.false.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert known.missed.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert known.difference.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("by", "order"),
    [("differ", [1]), ("false-left", [1]), ("false-right", []), ("missed-left", [1]), ("set", [0, 1, 2])],
)
def test_the_most_telling_images_come_first(pair, by, order):
    assert comparing.order(pair, ALL, by).tolist() == order


def test_class_size_and_score_narrow_what_is_looked_at(pair):
    assert comparing.counts(pair, View(0.3, "dog", "all")).false.sum() == 1
    assert comparing.counts(pair, View(0.3, "cat", "all")).false.sum() == 0
    assert comparing.counts(pair, View(0.3, EVERY_CLASS, "medium")).missed.sum() == 0
    assert comparing.counts(pair, View(0.05, EVERY_CLASS, "all")).false[2].tolist() == [0, 1]


def test_the_boxes_of_an_image_stand_in_rows(pair):
    assert comparing.matches(comparing.look(pair, 0, ALL)) == [("cat", "0.90", "0.70", "object")]
    rows = comparing.matches(comparing.look(pair, 1, ALL))
    assert [(row[0], row[3]) for row in rows] == [("dog", "false positive"), ("cat", "object")]


def test_a_missed_object_is_drawn(pair, boxes):
    side = comparing.look(pair, 1, ALL)[0]
    assert len(side.missed) == 1
    path = pair.root / "1.png"
    plain = drawing.large(path, boxes(), boxes(), pair.classes)
    marked = drawing.large(path, boxes(), side.missed, pair.classes)
    assert plain.size == marked.size and plain.tobytes() != marked.tobytes()


def test_an_uploaded_image_is_taken(images):
    with own.pictures_of(images / "0.png", images) as found:
        assert found == [images / "0.png"]
    assert (images / "0.png").exists()


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.mp4", "x.svg", "x.html", "x.py", "x"])
def test_a_file_that_does_not_decode_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"<script>" * 10)
    with pytest.raises(InputError, match="Expected a"), own.pictures_of(tmp_path / name, tmp_path / "frames"):
        pytest.fail("it does not decode")


@pytest.mark.parametrize(("name", "codec"), [("x.mp4", "mp4v"), ("x.avi", "MJPG")])
def test_an_uploaded_video_is_taken_apart(tmp_path, name, codec):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    with own.pictures_of(tmp_path / name, tmp_path / "frames") as found:
        assert len(found) == 2  # two seconds
        assert [drawing.scaled(path, drawing.LARGE)[0].shape for path in found] == [(620, 827, 3)] * 2
    with own.pictures_of(tmp_path / name, tmp_path / "frames", 1) as found:
        assert len(found) == len(list((tmp_path / "frames").rglob("*.jpg"))) == 1  # no more than is asked for
    assert list((tmp_path / "frames").iterdir()) == []  # and none stays


def test_a_picture_is_scaled_to_what_is_shown_and_its_boxes_with_it(images, boxes):
    pixels, scale = drawing.scaled(images / "0.png", (50, 80))
    assert pixels.shape == (50, 50, 3) and scale == 0.5
    source, alt, caption = drawing.small(images / "0.png", boxes((10, 10, 60, 60, 0.9, 1)), ("cat", "dog"), "x", True)
    assert source.startswith("data:image/jpeg")
    assert alt == "x: 1\N{NO-BREAK SPACE}box (1 dog)" and "1\N{NO-BREAK SPACE}box" in caption


def test_a_picture_that_was_replaced_is_read_again(images):
    before = drawing.scaled(images / "0.png", (50, 80))[0]
    Image.new("RGB", (100, 100), (0, 0, 250)).save(images / "0.png")
    assert before[0, 0].tolist() == [200, 150, 0]
    assert drawing.scaled(images / "0.png", (50, 80))[0][0, 0].tolist() == [0, 0, 250]


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (8_000, 8_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="megapixels"), own.pictures_of(tmp_path / "bomb.png", tmp_path):
        pytest.fail("it is too large")


def test_weights_are_taken_only_where_the_operator_allows_it(tmp_path):
    with pytest.raises(InputError, match="--allow-weights"):
        own.uploaded_model(tmp_path / "x.pt", allowed=False)
    with pytest.raises(InputError, match="Expected weights"):
        own.uploaded_model(tmp_path / "x.exe", allowed=True)
    assert own.uploaded_model(tmp_path / "x.onnx", allowed=True).kind == "onnx"


def test_figures_of_a_set(table, boxes, images, settings):
    from da_kd.data import ImageSet
    from da_kd.pipeline import Inputs

    found = {"0.png": boxes((0, 0, 10, 10, 1, 0), (0, 0, 30, 30, 1, 0)), "1.png": boxes((0, 0, 10, 10, 1, 1))}
    inputs = Inputs({"source": ImageSet(settings.start / "images", table(found))})
    (facts,) = set_facts(inputs)
    assert (facts.images, facts.boxes, facts.width, facts.by_class) == (2, 3, 100, {"cat": 2, "dog": 1})
    assert facts.side == pytest.approx(10)
    assert balance([facts])["data"][0]["y"] == [pytest.approx(2 / 3, abs=1e-3), pytest.approx(1 / 3, abs=1e-3)]
