"""Boxes that follow the edges in a picture: discs, whose edges lie where they were drawn, and boxes that do not fit."""

import dataclasses
import json
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw

from da_kd.boxes import iou
from da_kd.data import ScanCache, load_images
from da_kd.detections import Detections
from da_kd.events import Job
from da_kd.recipe import Images
from da_kd.teachers import Failure, Image
from da_kd.teachers.edges import EdgedTeacher, Habit, edge_ends, follow, moved, read_habits, surrounded
from da_kd.training import match_edges

CELL, GHOST = 0, 1
NAMES = ("cell", "ghost")  # of a ghost nothing is seen


def picture(boxes, size=(320, 320), over=4):
    """Return a picture of dark ellipses that fill the boxes, smooth at the edge."""
    wide, high = size
    drawn = Picture.new("RGB", (wide * over, high * over), (232, 214, 205))
    for box in boxes:
        ImageDraw.Draw(drawn).ellipse([v * over for v in box], (150, 60, 90))
    return np.array(drawn.resize(size, Picture.Resampling.BOX))


def grown(boxes, share):
    """Return boxes with every side moved outwards by a share of the box."""
    boxes = np.asarray(boxes, float)
    return boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * share * np.array([-1, -1, 1, 1])


@pytest.mark.parametrize("side", [14, 40, 120, 500])
def test_an_edge_is_found_where_it_ends_in_small_boxes_and_in_large_ones(side):
    margin = side // 2
    box = np.array([[margin, margin, margin + side, margin + 0.8 * side]])
    pixels = picture(box, (side + 2 * margin, side + 2 * margin))
    for share in (-0.1, 0.0, 0.1):
        ends = edge_ends(pixels, grown(box, share))
        # In the middle of a side an ellipse ends a hundredth inside of its box; a pixel is as fine as pictures are.
        expected = -share / (1 + 2 * share) - 0.01
        assert np.abs(ends - expected).max() < 0.03 + 2.5 / side


@pytest.mark.parametrize("side", [90, 220, 400, 800])
def test_edges_of_large_boxes_are_not_seen_shifted(side):
    seen = []
    for place in range(side // 2, side // 2 + 8):
        pixels = np.full((2 * side, 2 * side, 3), 220, np.uint8)
        pixels[place : place + side, place : place + side] = 60
        seen.append(side * edge_ends(pixels, np.array([[place, place, place + side, place + side]], float))[0])
    left, top, right, bottom = np.mean(seen, axis=0)  # over places, since smaller pictures have larger pixels
    assert abs(left - right) < 0.5 and abs(top - bottom) < 0.5


def test_where_there_is_no_edge_nothing_is_moved_far_and_a_speck_is_not_looked_at():
    flat = np.full((64, 64, 3), 128, np.uint8)
    ends = edge_ends(flat, np.array([[20.0, 20, 44, 44], [30, 30, 32, 60]]))
    assert np.isfinite(ends[0]).all() and np.isnan(ends[1]).all()
    assert edge_ends(flat, np.zeros((0, 4))).shape == (0, 4)
    assert np.abs(Habit(-0.3, 0.3, 1.0).shift(np.array([0.3, -0.3, np.nan, 0]))).max() <= 0.3


def test_boxes_end_where_those_at_home_do_and_others_stay():
    truth = [[40, 50, 100, 120], [180, 60, 260, 130]]
    said = Detections(
        NAMES, np.float32([*grown(truth, 0.1), [60, 200, 120, 260]]), [0.9, 0.8, 0.7], [CELL, CELL, GHOST]
    )
    away = float(np.median(edge_ends(picture(truth), grown(truth, 0.1))))
    tight = float(np.median(edge_ends(picture(truth), np.asarray(truth, float))))
    answer = follow(picture(truth), said, {"cell": Habit(tight, away, 0.0)})
    assert np.abs(answer.xyxy[:2] - np.array(truth)).max() < 2.0
    np.testing.assert_array_equal(answer.xyxy[2], said.xyxy[2])
    np.testing.assert_array_equal(answer.score, said.score)
    assert follow(picture(truth), said, {}) is said


def test_a_box_of_its_own_shape_follows_its_own_edges():
    truth = np.array([[40.0, 50, 100, 120]])
    pixels, off = picture(truth), truth + np.array([-5, 0, -5, 0])  # shifted, not grown
    usual = float(np.median(edge_ends(pixels, truth)))
    said = Detections(NAMES, np.float32(off), [0.9], [CELL])
    fits = [
        float(iou(follow(pixels, said, {"cell": Habit(usual, usual, pull)}).xyxy.astype(float), truth)[0, 0])
        for pull in (0.0, 0.5, 1.0)
    ]
    assert fits[0] < fits[1] < fits[2] and fits[2] > 0.96


def test_sides_at_the_border_of_the_image_stay_there():
    box = np.array([[0.0, 20, 50, 100]])
    np.testing.assert_allclose(moved(box, np.full((1, 4), 0.1), 50, 200), [[0, 12, 50, 108]])
    np.testing.assert_array_equal(surrounded(np.array([[0.0, 20, 50, 100], [20, 30, 40, 50]]), 50, 200), [False, True])


class Sayer:
    """Says the true boxes of the pictures it is shown, grown by a share, and some of nothing."""

    classes = ("thing", "ghost")

    def __init__(self, boxes, share):
        self.boxes, self.share = boxes, share

    def fingerprint(self):
        return f"sayer {self.share}"

    @contextmanager
    def open(self, device, floor, batch):
        yield self

    def predict(self, batch):
        return [self.say(image) for image in batch]

    def say(self, image):
        if image.key not in self.boxes:
            return Failure("never seen")
        cells, ghosts = self.boxes[image.key]
        xyxy = np.float32([*grown(cells, self.share), *ghosts])
        return Detections(self.classes, xyxy, [0.9] * len(xyxy), [0] * len(cells) + [1] * len(ghosts))


@pytest.fixture
def laboratory(tmp_path):
    """Return labelled pictures whose boxes leave a margin, by folder: the images and what is in them."""

    def made(name, count=8, margin=0.05):
        chance, folder, boxes = np.random.default_rng(len(name)), tmp_path / name, {}
        for part in ("images", "labels"):
            (folder / part / "train").mkdir(parents=True)
        (folder / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [cell, ghost]\n")
        for number in range(count):
            corner = np.array([[x, y] for x in (40, 180) for y in (40, 180)]) + chance.uniform(-12, 12, (4, 2))
            cells = np.concatenate([corner, corner + chance.uniform(60, 90, (4, 2))], axis=1)
            ghosts = np.array([[150.0, 150, 174, 174], [130, 60, 160, 90]]) + chance.uniform(-6, 6, (2, 1))
            noise = chance.normal(0, 4, (320, 320, 3))
            pixels = np.clip(picture(cells) + noise, 0, 255).astype(np.uint8)
            Picture.fromarray(pixels).save(folder / "images" / "train" / f"{number}.png")
            lines = [
                f"{label} {(b[0] + b[2]) / 640} {(b[1] + b[3]) / 640} {(b[2] - b[0]) / 320} {(b[3] - b[1]) / 320}"
                for label, each in ((CELL, grown(cells, margin)), (GHOST, ghosts))
                for b in each
            ]
            (folder / "labels" / "train" / f"{number}.txt").write_text("\n".join(lines))
            boxes[f"{number}.png"] = (cells, ghosts)
        spec = Images(path=str(folder), split="train")
        images = load_images(
            spec, folder, NAMES, labels=True, cache=ScanCache(None), frames=folder / "f", job=Job(), name="data.source"
        )
        return images, {key: boxes[key.rpartition("/")[2]] for key in images.table.key}

    return made


def test_the_margin_of_the_labels_at_home_is_carried_to_the_target(laboratory, tmp_path):
    home, at_home = laboratory("home")
    target, away = laboratory("target")
    heard = []
    index = lambda words: [{"thing": CELL}.get(word, -1) for word in words]  # noqa: E731
    match_edges(Sayer(at_home, 0.05), Sayer(away, 0.12), home, target, index, "cpu", tmp_path, Job(heard.append))
    habits = read_habits(tmp_path / "edges.json")
    assert set(habits) == {"thing"}  # no label says where ghosts end
    assert 0.04 < habits["thing"].home - habits["thing"].away < 0.09
    said = [event.text for event in heard if hasattr(event, "text")]
    assert any("'thing'" in text and "less wide" in text for text in said)
    assert any("'ghost'" in text and "stay as they are" in text for text in said)

    with EdgedTeacher(Sayer(away, 0.12), tmp_path / "edges.json").open("cpu", 0.1, 4) as predictor:
        key = target.table.key[0]
        pixels = np.array(Picture.open(target.path(0)))
        answer, failed = predictor.predict([Image(key, pixels), Image("unknown", pixels)])
    assert isinstance(failed, Failure)
    wanted = grown(away[key][0], 0.05)
    before = np.diag(iou(grown(away[key][0], 0.12), wanted)).mean()
    after = np.diag(iou(answer.xyxy[:4].astype(float), wanted)).mean()
    assert before < 0.87 and after > 0.94
    np.testing.assert_allclose(answer.xyxy[4:], away[key][1], atol=1e-3)


def test_boxes_end_as_a_handful_of_labels_of_the_target_do_where_they_are_given(laboratory, tmp_path):
    (home, at_home), (target, away) = laboratory("home"), laboratory("target")
    index = lambda words: [{"thing": CELL}.get(word, -1) for word in words]  # noqa: E731
    labelled, _ = laboratory("labelled", count=1, margin=0.0)
    heard = []
    for count, wanted in ((4, 0.0), (2, 0.05)):  # of two, nothing is believed
        table = labelled.table.pick_boxes(np.arange(len(labelled.table.xyxy)) < count)
        drawn = dataclasses.replace(labelled, table=table)
        sayers = Sayer(at_home, 0.05), Sayer(away, 0.12)
        match_edges(*sayers, home, target, index, "cpu", tmp_path, Job(heard.append), drawn=drawn)
        figures = json.loads((tmp_path / "edges.json").read_text())["thing"]
        assert figures["labels_of_target"] == (4 if count == 4 else 0)
        shift = read_habits(tmp_path / "edges.json")["thing"].shift(np.array(figures["away"]))
        assert shift * 1.24 == pytest.approx(wanted - 0.12, abs=0.02)  # boxes drawn at 0.12 are 1.24 times as large
    assert any("as 4 labels of the target do" in getattr(event, "text", "") for event in heard)


def test_a_class_whose_labels_have_nothing_to_do_with_edges_is_left_alone(laboratory, tmp_path):
    home, at_home = laboratory("home")
    heard = []
    index = lambda words: [{"ghost": GHOST}.get(word, -1) for word in words]  # noqa: E731
    match_edges(Sayer(at_home, 0.0), Sayer(at_home, 0.0), home, home, index, "cpu", tmp_path, Job(heard.append))
    assert read_habits(tmp_path / "edges.json") == {}
    told = json.loads((tmp_path / "edges.json").read_text())
    assert told["ghost"]["firm"] < 0.6 and told["ghost"]["labels"] == 16
    assert any("do not tell where boxes of 'ghost' end" in getattr(event, "text", "") for event in heard)


def test_objects_too_small_to_see_edges_at_are_left_alone(laboratory, tmp_path):
    home, at_home = laboratory("home")
    specks = {key: (ghosts[:, [0, 1, 0, 1]] + [0, 0, 3, 3], ghosts) for key, (_, ghosts) in at_home.items()}
    table = dataclasses.replace(home.table, xyxy=np.clip(home.table.xyxy[:, [0, 1, 0, 1]] + [0, 0, 3, 3], 0, 320))
    few = dataclasses.replace(home, table=table)
    index = lambda words: [{"thing": CELL}.get(word, -1) for word in words]  # noqa: E731
    match_edges(Sayer(specks, 0.0), Sayer(specks, 0.0), few, few, index, "cpu", tmp_path, Job())
    assert json.loads((tmp_path / "edges.json").read_text()) == {}


def test_thousands_of_boxes_in_one_picture_are_as_one_by_one():
    chance = np.random.default_rng(0)
    corner = chance.uniform(10, 250, (9000, 2))
    boxes = np.concatenate([corner, corner + chance.uniform(8, 50, (9000, 2))], axis=1)
    pixels = picture([[40, 50, 100, 120]])
    many = edge_ends(pixels, boxes)
    np.testing.assert_array_equal(many[::1000], np.concatenate([edge_ends(pixels, box[None]) for box in boxes[::1000]]))
