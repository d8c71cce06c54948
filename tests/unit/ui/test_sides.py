"""What can be a side of a comparison, and how files of other people's predictions become one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from da_kd.data import coco_dict
from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.errors import DataError, InputError
from da_kd.ui.queries import comparing, drawing, sets, sides
from da_kd.ui.queries.comparing import EVERY_CLASS, View
from da_kd.ui.queries.sets import truth_of
from da_kd.ui.queries.sides import Stored

ALL = View(0.3, EVERY_CLASS, "all")
CAT = (10, 10, 30, 30)


def keys_of(run):
    return truth_of(run).table.key, truth_of(run).table.sha


@pytest.fixture
def scored(run, finished, table, boxes, images):
    """A run with test labels as COCO JSON, two scored models, a teacher's raw boxes and pseudo labels."""
    truth = table({f"{number}.png": boxes((*CAT, 1, 0)) for number in range(3)})
    (images.parent / "test.json").write_text(json.dumps(coco_dict(truth)))
    recipe = run.folder / "recipe.yaml"
    text = recipe.read_text().replace("test: {path: images}", "test: {path: test.json, images: images}")
    recipe.write_text(text.replace("kind: coco_file", "kind: coco_file, classes: {kitty: cat}"))
    keys, shas = keys_of(run)

    def said(found, vocabulary=("cat", "dog")):
        records = [ImageRecord(key, sha, 100, 100) for key, sha in zip(keys, shas, strict=True)]
        own = {key: Detections(vocabulary, item.xyxy, item.score, item.label) for key, item in found.items()}
        return table_of(vocabulary, records, own)

    left = said({key: boxes((*CAT, 0.9, 0)) for key in keys})
    left.write(finished("evaluate:student", "evaluate") / "predictions.parquet")
    said({key: boxes() for key in keys}).write(finished("evaluate:source_only", "evaluate") / "predictions.parquet")
    raw = said({key: boxes((*CAT, 0.2, 0), (*CAT, 0.9, 1)) for key in keys}, ("kitty", "cow"))
    place = finished("predict:a", "predict")
    (place / "shards").mkdir()
    raw.write(place / "shards" / "00000.parquet")
    left.write(finished("fuse", "fuse") / "labels.parquet")
    return run


def test_everything_that_was_stored_is_offered(scored):
    (scored.folder / "compare").mkdir()
    (scored.folder / "compare" / "mine.json").write_text("[]")
    assert list(sides.offered(scored.workspace)) == [
        "demo / Source-only",
        "demo / Student",
        "demo / file mine",
        "demo / Teacher a, raw on the target",
        "demo / Pseudo labels of the target",
    ]


def test_a_teachers_raw_boxes_stand_in_the_classes_of_the_run_and_nothing_judges_them(scored):
    pair = comparing.open_pair(Stored(scored, "predict:a"), Stored(scored, "fuse"))
    assert pair.left.vocabulary == ("cat", "dog")
    assert pair.left.score.tolist() == pytest.approx([0.2] * 3)  # its cows go nowhere
    low = View(0.1, EVERY_CLASS, "all")
    assert comparing.counts(pair, low).difference.tolist() == [0, 0, 0]
    assert comparing.counts(pair, ALL).difference.tolist() == [1, 1, 1]
    assert comparing.counts(pair, ALL).false.sum() == comparing.counts(pair, ALL).missed.sum() == 0
    side = comparing.look(pair, 0, ALL)[1]
    assert side.in_words.endswith("no labels to judge them by")
    assert comparing.matches(comparing.look(pair, 0, ALL))[0][3] == "\N{EN DASH}"


def test_labels_and_images_that_changed_since_show_without_another_run(scored, table, boxes, images, monkeypatch):
    monkeypatch.setattr(sets, "_LATEST", 0.0)  # seconds
    both = Stored(scored, "evaluate:student"), Stored(scored, "evaluate:source_only")
    assert len(comparing.open_pair(*both).truth.score) == 3
    truth = table({f"{number}.png": boxes((*CAT, 1, 0), (50, 50, 70, 70, 1, 1)) for number in range(3)})
    (images.parent / "test.json").write_text(json.dumps(coco_dict(truth)))
    assert len(truth_of(scored).table.score) == len(comparing.open_pair(*both).truth.score) == 6
    Image.new("RGB", (100, 100), (0, 0, 250)).save(images / "2.png")  # which no model was asked for
    assert len(comparing.open_pair(*both)) == 2


def test_of_copies_of_one_image_the_first_is_compared(scored, images, monkeypatch):
    monkeypatch.setattr(sets, "_LATEST", 0.0)  # seconds
    shutil.copyfile(images / "0.png", images / "2.png")
    pair = comparing.open_pair(Stored(scored, "evaluate:student"), Stored(scored, "evaluate:source_only"))
    assert pair.truth.key == ("0.png", "1.png")


def test_image_sets_are_not_read_for_every_click(scored):
    assert truth_of(scored) is truth_of(scored)


def test_sides_of_other_images_are_not_compared(scored):
    with pytest.raises(InputError, match="two of the same kind"):
        comparing.open_pair(Stored(scored, "predict:a"), Stored(scored, "evaluate:student"))


def test_a_class_that_only_the_other_run_knows_is_judged_by_nobody(scored, finished):
    records = [ImageRecord(key, sha, 100, 100) for key, sha in zip(*keys_of(scored), strict=True)]
    said = np.array([(*CAT, 0.9, 0), (50, 50, 90, 90, 0.8, 2)], np.float32)
    boxes = Detections(("cat", "dog", "cow"), said[:, :4], said[:, 4], said[:, 5].astype(np.int32))
    wider = table_of(boxes.vocabulary, records, {record.key: boxes for record in records})
    wider.write(finished("evaluate:oracle", "evaluate") / "predictions.parquet")
    pair = comparing.open_pair(Stored(scored, "evaluate:student"), Stored(scored, "evaluate:oracle"))
    assert pair.classes == ("cat", "dog", "cow")
    right = comparing.look(pair, 0, ALL)[1]
    assert right.in_words == "1 found, 0 false, 0 missed"
    drawing.large(pair.root / pair.truth.key[0], boxes, right.missed, pair.classes)
    cows = View(0.3, "cow", "all")
    assert comparing.counts(pair, cows).false.sum() == comparing.counts(pair, cows).missed.sum() == 0


def result(image, category, score=0.8):
    x1, y1, x2, y2 = CAT
    return {"image_id": image, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


@pytest.mark.parametrize("image", [1, "0.png", "elsewhere/0.png"])
def test_coco_results_become_a_side(scored, tmp_path, image):
    given = tmp_path / "theirs.json"
    given.write_text(json.dumps([result(image, 1 if image == 1 else "cat")]))
    answered = sides.keep_file(given, scored)
    assert answered == (3 if image == 1 else 1)  # by number, the labels say which images there are
    given.unlink()  # the run has its own copy
    pair = comparing.open_pair(Stored(scored, "evaluate:student"), Stored(scored, "file:theirs.json"))
    known = comparing.counts(pair, ALL)
    assert len(pair) == answered
    assert known.found[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no json", "JSON"),
        ("{}", "annotations|categories|images"),
        (json.dumps([result("0.png", "cow")]), "Expected boxes of cat, dog"),
        (json.dumps([result("nowhere.png", "cat")]), "it names none"),
        (json.dumps([{"image_id": "0.png"}]), "category_id"),
    ],
)
def test_a_file_that_does_not_fit_is_told_and_not_kept(scored, tmp_path, content, told):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises((InputError, DataError), match=told):
        sides.keep_file(tmp_path / "bad.json", scored)
    assert sides.files_of(scored) == []


def test_a_file_that_is_gone_is_told(scored):
    with pytest.raises(InputError, match=r"no file 'gone.json' \(any more\)"):
        sides.boxes_of(Stored(scored, "file:gone.json"))
    with pytest.raises(InputError, match="no predictions of 'oracle'"):
        sides.boxes_of(Stored(scored, "evaluate:oracle"))


def test_the_folder_of_the_test_images(scored, images):
    assert sides.folder_of(scored) == images
