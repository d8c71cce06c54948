"""A model's answers in the words of the test set."""

import dataclasses
import json

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.errors import DataError
from da_kd.events import Job, Note
from da_kd.recipe import Evaluate
from da_kd.stages import evaluate
from da_kd.stages.evaluate import translate
from da_kd.teachers import adapter

OWN = ("red", "pale", "dirt")


@pytest.fixture
def said():
    records = [ImageRecord("a", "aa", 9, 8), ImageRecord("b", "bb", 9, 8), ImageRecord("c", "", 0, 0, "no picture")]
    boxes = [[0, 0, 5, 5], [0, 0, 5, 5.1], [1, 1, 3, 3]]
    return table_of(OWN, records, {"a": Detections(OWN, boxes, [0.4, 0.6, 0.9], [0, 1, 2]), "b": Detections.empty(OWN)})


def test_boxes_are_translated_and_joined_classes_say_it_once(said):
    table = translate(said, "model", {"red": "RBC", "pale": "RBC"}, ("WBC", "RBC"))
    assert table.vocabulary == ("WBC", "RBC")
    assert table.key == said.key
    assert table.reason == said.reason
    assert np.array_equal(table.size, said.size)
    assert table.label.tolist() == [1]
    assert table.score.tolist() == pytest.approx([0.6])
    assert table.offsets.tolist() == [0, 1, 1, 1]
    assert table.searched.tolist() == [[False, True], [False, True], [False, False]]
    assert table.teachers == ("model",)


def test_equal_names_need_no_entry_and_strange_ones_are_refused(said):
    table = translate(said, "model", {}, ("dirt", "red"))
    assert sorted(zip(table.label.tolist(), table.score.tolist(), strict=True)) == [
        (0, pytest.approx(0.9)),
        (1, pytest.approx(0.4)),
    ]
    with pytest.raises(DataError, match="did you mean 'dirt'"):
        translate(said, "model", {"dirty": "RBC"}, ("RBC",))


def test_images_without_an_answer_are_told(said):
    told = []
    evaluate._tell_unanswered(said, "teacher:stored", Job(told.append))
    (note,) = told
    assert isinstance(note, Note) and note.level == "warning"
    assert note.text.startswith("teacher:stored gave no answer for 1 of 3 test images")
    assert note.text.endswith("e.g. c: no picture.")


def test_a_model_that_never_answered_has_no_figures_rather_than_none_found(tmp_path, picture_set):
    images = picture_set(2)
    truth = table_of(
        ("x",), [ImageRecord(k, "s", 9, 8) for k in images.table.key], {"000.png": Detections.empty(("x",))}
    )
    stored = tmp_path / "stored.json"
    stored.write_text('[{"image_id": "other.png", "category_id": "x", "bbox": [0, 0, 2, 2], "score": 0.5}]')
    told = []
    model = adapter("coco_file")(stored, {})
    out = tmp_path / "out"
    out.mkdir()
    test = dataclasses.replace(images, table=truth)
    evaluate.run("teacher:stored", model, {}, test, Evaluate(), device="cpu", out=out, job=Job(told.append))
    assert json.loads((out / "metrics.json").read_text())["AP"] is None
    assert any("gave no answer for any test image" in note.text for note in told if isinstance(note, Note))
