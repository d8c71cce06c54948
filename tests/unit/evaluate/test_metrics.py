"""Figures are those of pycocotools, and what cannot be scored is said plainly."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.errors import DataError, InputError
from da_kd.stages.evaluate.metrics import Metrics, gap_recovered, read_truth_and_predictions, score_coco, score_tables

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([100, 100, 3, 1]))
def test_figures_equal_pycocotools_to_the_last_digit(plain, random_case, seed, most):
    truth, predictions = random_case(seed)
    before = copy.deepcopy((truth, predictions))
    figures, classes = plain(truth, predictions, most)

    metrics = score_coco(truth, predictions, most)

    assert {name: getattr(metrics, name) for name in STATS} == figures
    by_name = {f"class {i}": ap for i, ap in zip(sorted(c["id"] for c in truth["categories"]), classes, strict=True)}
    assert dict(metrics.per_class) == by_name
    assert (truth, predictions) == before


def test_nothing_is_printed(random_case, capsys):
    score_coco(*random_case(0))
    assert capsys.readouterr().out == ""


def small() -> tuple[dict, list]:
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 0, "name": "cell"}, {"id": 7, "name": "rare"}],
        "annotations": [
            {"id": 0, "image_id": 1, "category_id": 0, "bbox": [10, 10, 50, 50]},
            {"id": 0, "image_id": 2, "category_id": 0, "bbox": [20, 20, 50, 50], "iscrowd": None, "area": None},
        ],
    }
    predictions = [
        {"image_id": 1, "category_id": 0, "bbox": [10, 10, 50, 50], "score": 0.9},
        {"image_id": 2, "category_id": 0, "bbox": [20, 20, 50, 50], "score": 0.8},
    ]
    return truth, predictions


def test_ids_of_0_match_and_what_is_undefined_is_none():
    metrics = score_coco(*small())
    assert pytest.approx(1.0) == metrics.AP
    assert metrics.APm == pytest.approx(1.0)
    assert metrics.APs is None
    assert metrics.per_class["rare"] is None
    assert list(metrics.per_class) == ["cell", "rare"]
    assert json.loads(json.dumps(metrics.as_json())) == metrics.as_json()
    assert set(metrics.as_json()) == {*STATS, "per_class"}


def test_no_predictions_score_0_and_no_images_are_undefined():
    truth, _ = small()
    assert score_coco(truth, []).AP == 0
    empty = score_coco({"images": [], "annotations": [], "categories": []}, [])
    assert empty.AP is None
    assert empty.AR100 is None
    assert empty.per_class == {}


def test_only_the_best_boxes_count():
    truth, predictions = small()
    predictions.insert(0, {**predictions[0], "bbox": [200, 200, 9, 9], "score": 0.99})
    assert pytest.approx(0.5) == score_coco(truth, predictions, max_boxes=1).AR100
    assert pytest.approx(1.0) == score_coco(truth, predictions, max_boxes=2).AR100
    assert score_coco(truth, predictions, max_boxes=300) == score_coco(truth, predictions)
    with pytest.raises(InputError, match="at least 1"):
        score_coco(truth, predictions, max_boxes=0)


def test_categories_of_one_name_are_kept_apart():
    truth, predictions = small()
    truth["categories"][1]["name"] = "cell"
    assert list(score_coco(truth, predictions).per_class) == ["cell (0)", "cell (7)"]


def test_text_ids_are_scored_too():
    truth, predictions = small()
    for item in truth["annotations"] + predictions:
        item["image_id"] = f"image {item['image_id']}"
    truth["images"] = [{"id": "image 2"}, {"id": "image 1"}]
    assert score_coco(truth, predictions) == score_coco(*small())


BROKEN = {
    "unknown images": (lambda t, p: p[0].update(image_id=9), r"image ids .* found 1 others, e\.g\. 9"),
    "unknown category": (lambda t, p: p[0].update(category_id="0"), r"category ids .* e\.g\. '0'"),
    "missing score": (lambda t, p: p[1].pop("score"), r"entry 1 lacks 'score'"),
    "missing box": (lambda t, p: p[0].pop("bbox"), r"entry 0 lacks 'bbox'"),
    "text score": (lambda t, p: p[0].update(score="0.9"), r"finite number .* found '0.9' in entry 0"),
    "NaN score": (lambda t, p: p[0].update(score=float("nan")), r"finite number .* found nan"),
    "null score": (lambda t, p: p[0].update(score=None), r"finite number .* found None"),
    "endless score": (lambda t, p: p[0].update(score=10**400), r"'score' to be a finite number .* in entry 0"),
    "endless area": (lambda t, p: t["annotations"][0].update(area=10**400), r"'area' to be a finite number"),
    "endless box": (lambda t, p: p[0].update(bbox=[1, 2, 3, 10**400]), r"\[x, y, width, height\]"),
    "text area": (lambda t, p: t["annotations"][0].update(area="big"), r"'area' .* found 'big'"),
    "short box": (lambda t, p: p[0].update(bbox=[1, 2, 3]), r"\[x, y, width, height\]"),
    "negative width": (lambda t, p: p[0].update(bbox=[1, 2, -3, 4]), r"\[x, y, width, height\]"),
    "list for an id": (lambda t, p: p[0].update(image_id=[1]), r"whole number or a text"),
    "no object": (lambda t, p: p.append(3), r"entry 2 lacks"),
    "images twice": (lambda t, p: t["images"].append({"id": 2}), r"distinct ids .* found 2 twice"),
    "stray label": (lambda t, p: t["annotations"][0].update(image_id=5), r"image ids .* e\.g\. 5"),
    "no categories": (lambda t, p: t.pop("categories"), r"'images', 'annotations' and 'categories'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said(name):
    change, message = BROKEN[name]
    truth, predictions = small()
    change(truth, predictions)
    with pytest.raises(DataError, match=message):
        score_coco(truth, predictions)


def test_both_layouts_of_predictions_are_read(tmp_path):
    truth, predictions = small()
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "list.json").write_text(json.dumps(predictions))
    (tmp_path / "coco.json").write_text(json.dumps({**truth, "annotations": predictions}))
    for name in ("list.json", "coco.json"):
        assert read_truth_and_predictions(tmp_path / "truth.json", tmp_path / name) == (truth, predictions)


def test_files_that_cannot_be_read_are_named(tmp_path):
    truth, predictions = small()
    good, bad = tmp_path / "truth.json", tmp_path / "bad.json"
    good.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"bad\.json; found none"):
        read_truth_and_predictions(good, bad)
    for text, message in {
        "{": "Expected JSON in .*bad",
        '"x"': "found a text",
        "{}": "an empty object",
        '{"boxes": 1}': "'boxes'",
        json.dumps(truth): "lacks 'score'",
        json.dumps([{**predictions[0], "image_id": i} for i in (8, 8, 9)]): r"bad\.json .* found 2 others, e\.g\. 8",
    }.items():
        bad.write_text(text)
        with pytest.raises(DataError, match=message):
            read_truth_and_predictions(good, bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="Expected JSON"):
        read_truth_and_predictions(bad, good)


WORDS = ("cell", "plate")


def table(found: dict[str, list], vocabulary=WORDS, keys=("a", "b"), state=None, searched=None) -> DetectionTable:
    """A table from rows (name, x1, y1, x2, y2, score)."""
    boxes = {
        key: Detections(
            vocabulary,
            np.array([row[1:5] for row in rows], np.float32).reshape(-1, 4),
            np.array([row[5] for row in rows], np.float32),
            np.array([vocabulary.index(row[0]) for row in rows], np.int32),
        )
        for key, rows in found.items()
    }
    return table_of(vocabulary, [ImageRecord(key, "", 300, 300) for key in keys], boxes, searched, state)


TRUTH = {"a": [("cell", 10, 10, 60, 60, 1), ("plate", 100, 100, 110, 110, 1)], "b": [("cell", 5, 5, 80, 70, 1)]}
FOUND = {
    "a": [("cell", 11, 10, 60, 60, 0.7), ("plate", 100, 100, 111, 110, 0.4), ("plate", 9, 9, 60, 60, 0.6)],
    "b": [("cell", 5, 9, 80, 70, 0.3), ("cell", 200, 200, 220, 220, 0.9)],
}


def test_tables_score_like_coco_dicts_whatever_the_order_of_classes_and_images(plain):
    truth = table(TRUTH)
    turned = table(FOUND, WORDS[::-1], ("b", "extra", "a"))
    coco = {
        "images": [{"id": "a"}, {"id": "b"}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(WORDS)],
        "annotations": [_coco(key, row) for key, rows in TRUTH.items() for row in rows],
    }
    results = [{**_coco(key, row), "score": row[5]} for key, rows in FOUND.items() for row in rows]
    assert score_tables(truth, turned) == score_tables(truth, table(FOUND)) == score_coco(coco, results)
    assert plain(_numbered(coco), _numbered(results))[0]["AP"] == score_tables(truth, turned).AP


def _coco(key: str, row: tuple) -> dict:
    name, x1, y1, x2, y2, _ = row
    return {"image_id": key, "category_id": WORDS.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}


def _numbered(value):
    """The same with whole-number image ids, areas and ids, as plain pycocotools needs them."""
    value = copy.deepcopy(value)
    items = value if isinstance(value, list) else value["annotations"]
    for number, item in enumerate(items, 1):
        box = item["bbox"]
        item.update(image_id="ab".index(item["image_id"]), id=number, area=box[2] * box[3], iscrowd=0)
    if isinstance(value, dict):
        value["images"] = [{"id": 0}, {"id": 1}]
    return value


def test_ignored_truth_neither_rewards_nor_punishes():
    ignored = table(TRUTH, state={"a": np.array([State.IGNORED, State.KEPT])})
    with_it = score_tables(ignored, table(FOUND))
    without = score_tables(ignored, table({"a": FOUND["a"][1:], "b": FOUND["b"]}))
    assert with_it == without
    assert with_it != score_tables(table(TRUTH), table(FOUND))
    only = score_tables(table(TRUTH, state={k: np.full(len(v), State.IGNORED) for k, v in TRUTH.items()}), table(FOUND))
    assert only.AP is None


def test_classes_nobody_looked_for_are_not_evaluated():
    truth = table({"a": TRUTH["a"][:1], "b": TRUTH["b"]}, searched=["cell"])
    metrics = score_tables(truth, table(FOUND))
    assert metrics.per_class["plate"] is None
    assert metrics.per_class["cell"] == metrics.AP

    looked = truth.searched.copy()
    looked[1] = False  # nobody looked at image b at all
    partly = dataclasses.replace(truth, searched=looked)
    assert score_tables(partly, table(FOUND)) == score_tables(partly, table({"a": FOUND["a"], "b": []}))


def test_boxes_that_are_not_kept_are_no_predictions():
    dropped = table(FOUND, state={"b": np.array([State.KEPT, State.DROPPED])})
    assert score_tables(table(TRUTH), dropped) == score_tables(
        table(TRUTH), table({"a": FOUND["a"], "b": FOUND["b"][:1]})
    )


def test_a_class_that_only_the_predictions_know_is_left_out():
    more = table({"a": [*FOUND["a"], ("else", 0, 0, 9, 9, 0.99)], "b": FOUND["b"]}, ("else", *WORDS))
    assert score_tables(table(TRUTH), more) == score_tables(table(TRUTH), table(FOUND))


def test_an_absent_image_is_an_error_and_an_empty_one_is_not():
    assert score_tables(table(TRUTH), table({"a": []})).AP == 0
    with pytest.raises(DataError, match=r"1 are missing, e\.g\. 'b'"):
        score_tables(table(TRUTH), table({"a": []}, keys=("a",)))
    with pytest.raises(DataError, match=r"found only \['dog'\]"):
        score_tables(table(TRUTH), table({}, ("dog",)))


def _reached(ap: float | None) -> Metrics:
    return Metrics(ap, None, None, None, None, None, None, {})


@pytest.mark.parametrize(
    ("source_only", "model", "oracle", "share"),
    [
        (0.2, 0.5, 0.8, 0.5),
        (0.2, 0.1, 0.7, -0.2),
        (0.2, 0.9, 0.7, 1.4),
        (0.5, 0.5, 0.5, None),
        (0.6, 0.5, 0.5, None),
        (None, 0.5, 0.5, None),
        (0.1, None, 0.5, None),
    ],
)
def test_the_gap(source_only, model, oracle, share):
    result = gap_recovered(_reached(source_only), _reached(model), _reached(oracle))
    assert result == (None if share is None else pytest.approx(share))
    assert gap_recovered(None, _reached(model), _reached(oracle)) is None
