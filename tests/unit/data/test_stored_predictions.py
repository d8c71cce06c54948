from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from da_kd.data import read_coco_results
from da_kd.errors import DataError

TRUTH = {
    "images": [{"id": 1, "file_name": "val/000001.jpg"}, {"id": 2, "file_name": "val/000002.jpg"}],
    "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
}
ROW: dict[str, Any] = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}


def put(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_results_with_a_companion(tmp_path: Path) -> None:
    truth = put(tmp_path / "truth.json", TRUTH)
    stored = read_coco_results(put(tmp_path / "results.json", [ROW]), truth)
    assert stored.vocabulary == ("cat", "dog")
    found = stored.lookup("val/000001.jpg")
    assert found is not None
    assert found.xyxy.tolist() == [[1, 2, 4, 6]]
    assert found.label.tolist() == [1]
    assert len(stored.lookup("images/val/000002.jpg")) == 0  # predicted, nothing found
    assert stored.lookup("000001.jpg") is not None
    assert stored.lookup("val/3.jpg") is None


def test_a_coco_object_with_scores(tmp_path: Path) -> None:
    stored = read_coco_results(put(tmp_path / "all.json", {**TRUTH, "annotations": [ROW]}))
    assert stored.lookup("val/000001.jpg").score.tolist() == [0.5]


def test_names_instead_of_ids(tmp_path: Path) -> None:
    row = {**ROW, "image_id": "000001", "category_id": "dog"}
    stored = read_coco_results(put(tmp_path / "results.json", [row]))
    assert len(stored.lookup("any/000001.png")) == 1


def test_names_with_dots_need_no_suffix(tmp_path: Path) -> None:
    names = ("1_jpg.rf.ab", "1_jpg.rf.cd", "2_png.rf.ab.jpg", "val/3_jpg.rf.ab.jpg")
    rows = [{**ROW, "image_id": name, "category_id": "dog"} for name in names]
    stored = read_coco_results(put(tmp_path / "results.json", rows))
    for key in ("1_jpg.rf.ab.jpg", "any/1_jpg.rf.cd.png", "any/2_png.rf.ab.jpg", "3_jpg.rf.ab.jpg"):
        assert len(stored.lookup(key)) == 1, key
    for key in ("1_jpg.rf.jpg", "1_jpg.jpg", "1_jpg.rf.ef.jpg", "2_png.rf.ab.png", "other/3_jpg.rf.ab.jpg"):
        assert stored.lookup(key) is None, key  # another image


def test_a_heading_that_predictions_name_is_a_class(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 3, "name": "dog", "supercategory": "pets"}]
    truth = put(tmp_path / "truth.json", {**TRUTH, "categories": categories})
    for number, names in ((3, ("dog",)), (0, ("pets", "dog"))):
        results = put(tmp_path / "results.json", [{**ROW, "category_id": number}])
        assert read_coco_results(results, truth).vocabulary == names


def test_images_named_though_a_companion_has_ids(tmp_path: Path) -> None:
    truth = put(tmp_path / "truth.json", TRUTH)
    stored = read_coco_results(put(tmp_path / "results.json", [{**ROW, "image_id": "val/000001.jpg"}]), truth)
    assert len(stored.lookup("val/000001.jpg")) == 1


def test_equal_names_in_two_folders_are_told_apart_or_refused(tmp_path: Path) -> None:
    rows = [{**ROW, "image_id": f"{part}/a.jpg", "category_id": "dog"} for part in ("x", "y")]
    stored = read_coco_results(put(tmp_path / "results.json", rows))
    assert len(stored.lookup("root/x/a.jpg")) == 1
    with pytest.raises(DataError, match=r"'x/a.jpg' and 'y/a.jpg'"):
        stored.lookup("a.jpg")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"image_id": 9}, "image_id 9"),
        ({"category_id": 9}, "category_id 9"),
        ({"bbox": [1, 2]}, "four numbers"),
        ({"score": 3}, "score in 0..1"),
        ({"score": None}, "score in 0..1"),
    ],
)
def test_mistakes(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    truth = put(tmp_path / "truth.json", TRUTH)
    with pytest.raises(DataError, match=expected):
        read_coco_results(put(tmp_path / "results.json", [{**ROW, **row}]), truth)


def test_numbers_need_a_companion(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Name one"):
        read_coco_results(put(tmp_path / "results.json", [ROW]))
    with pytest.raises(DataError, match="list of predictions"):
        read_coco_results(put(tmp_path / "results.json", "text"))
