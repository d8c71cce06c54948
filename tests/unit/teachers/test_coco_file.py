import json

import numpy as np
import pytest

from da_kd.errors import DataError, InputError
from da_kd.teachers import Failure, Image
from da_kd.teachers.coco_file import CocoFileTeacher

LIST = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 7, "name": "cell"}, {"id": 3, "name": "dirt"}],
}
RESULTS = [
    {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5},
    {"image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 2], "score": 0.1},
]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "list.json").write_text(json.dumps(LIST))
    return tmp_path / "results.json", tmp_path / "list.json"


def answers(teacher, floor, *keys):
    with teacher.open("cpu", floor, 16) as predictor:
        return predictor.classes, predictor.predict([Image(key, np.zeros((4, 4, 3), np.uint8)) for key in keys])


def test_stored_predictions_are_replayed_by_name(files):
    teacher = CocoFileTeacher(files[0], {"images": str(files[1])})
    classes, (first, second, third) = answers(teacher, 0.0, "deep/a.png", "b.png", "c.png")
    assert set(classes) == {"cell", "dirt"}
    assert {
        (classes[label], round(float(score), 3)) for label, score in zip(first.label, first.score, strict=True)
    } == {
        ("dirt", 0.5),
        ("cell", 0.1),
    }
    assert len(second) == 0  # looked at, nothing found
    assert third == Failure("the stored predictions do not name this image")


def test_the_floor_leaves_out_what_scores_below_it(files):
    teacher = CocoFileTeacher(files[0], {"images": str(files[1])})
    assert [len(answers(teacher, floor, "a.png")[1][0]) for floor in (0.1, 0.11, 0.5, 0.51)] == [2, 1, 1, 0]


def test_the_fingerprint_is_of_the_contents_alone(files, tmp_path):
    prints = {CocoFileTeacher(files[0], {"images": files[1]}).fingerprint()}
    for path in files:
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    moved = CocoFileTeacher(tmp_path / "copy" / "results.json", {"images": tmp_path / "copy" / "list.json"})
    prints.add(moved.fingerprint())
    assert len(prints) == 1
    prints.add(CocoFileTeacher(files[0], {}).fingerprint())
    files[1].write_text(json.dumps({**LIST, "categories": LIST["categories"][:1]}))
    prints.add(CocoFileTeacher(files[0], {"images": files[1]}).fingerprint())
    files[0].write_text(json.dumps(RESULTS[:1]))
    prints.add(CocoFileTeacher(files[0], {"images": files[1]}).fingerprint())
    assert len(prints) == 4


def test_missing_files_and_unknown_options_are_told(files, tmp_path):
    with pytest.raises(InputError, match="no option 'image'; its options are: images"):
        CocoFileTeacher(files[0], {"image": "x"})
    for value in (5, ["x"], True):
        with pytest.raises(InputError, match="'images' must be the path of a COCO JSON"):
            CocoFileTeacher(files[0], {"images": value})
    assert CocoFileTeacher(files[0], {"images": None}).images is None  # as where it is not given
    with pytest.raises(DataError, match=r"none\.json; there is no such file"):
        CocoFileTeacher(files[0], {"images": tmp_path / "none.json"}).fingerprint()
    with pytest.raises(DataError, match="there is no such file"):
        CocoFileTeacher(tmp_path, {}).fingerprint()
    with pytest.raises(DataError), CocoFileTeacher(tmp_path / "none.json", {}).open("cpu", 0, 1):
        pytest.fail("there is no file")
