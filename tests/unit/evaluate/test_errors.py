"""Errors are of the type that TIDE would give them, and cost what mending them would win."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.stages.evaluate.errors import TYPES, confusion, error_types
from da_kd.stages.evaluate.matches import Matches, Outcome, match
from da_kd.stages.evaluate.metrics import evaluate_coco
from da_kd.stages.evaluate.sides import sides_of_coco

OBJECT = [100, 100, 40, 40]
CLOSE = [102, 100, 40, 40]  # IoU 0.90
NEAR = [120, 100, 40, 40]  # IoU 0.33
FAR = [300, 300, 40, 40]


def matched(objects: list, found: list) -> Matches:
    """Matches of one image: objects as (class, box), found boxes as (class, box, score); classes are a, b and c."""
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": i, "name": name} for i, name in enumerate("abc")],
        "annotations": [{"image_id": 1, "category_id": "abc".index(kind), "bbox": box} for kind, box in objects],
    }
    results = [{"image_id": 1, "category_id": "abc".index(k), "bbox": box, "score": s} for k, box, s in found]
    sides = sides_of_coco(truth, results)
    return match(sides.truth, sides.found, 1, 3, 100)


ONE_ERROR = {
    "localisation": ([("a", NEAR, 0.9)], 1.0),
    "class": ([("b", CLOSE, 0.9)], 1.0),
    "both": ([("b", NEAR, 0.9), ("a", OBJECT, 0.8)], 0.0),
    "duplicate": ([("a", OBJECT, 0.9), ("a", CLOSE, 0.8)], 0.0),
    "background": ([("a", FAR, 0.9), ("a", OBJECT, 0.8)], 0.5),
    "missed": ([], 0.0),  # nothing is left to find, so nothing is won
}


@pytest.mark.parametrize("kind", ONE_ERROR)
def test_each_type_is_told_from_the_others(kind):
    found, cost = ONE_ERROR[kind]
    types = error_types(matched([("a", OBJECT)], found))
    assert list(types) == list(TYPES)
    assert {name: one.count for name, one in types.items()} == {name: int(name == kind) for name in TYPES}
    assert types[kind].cost == pytest.approx(cost)


def test_the_surest_box_about_an_object_mends_it_and_the_others_go():
    objects = [("a", OBJECT), ("a", [500, 100, 40, 40])]
    types = error_types(matched(objects, [("a", NEAR, 0.9), ("a", [80, 100, 40, 40], 0.8), ("a", objects[1][1], 0.7)]))
    assert types["localisation"].count == 2
    assert types["missed"].count == 0
    assert types["localisation"].cost == pytest.approx(1 - (1 / 3) * 51 / 101, abs=1e-6)


def test_an_object_that_is_found_is_not_mended_twice():
    types = error_types(matched([("a", OBJECT)], [("a", OBJECT, 0.9), ("b", OBJECT, 0.8), ("a", NEAR, 0.7)]))
    assert (types["class"].count, types["localisation"].count) == (1, 1)
    assert {one.cost for one in types.values()} == {0.0}


def test_a_wrong_place_goes_before_a_wrong_class_and_that_before_a_duplicate():
    two = [("a", OBJECT), ("b", NEAR)]
    assert error_types(matched(two, [("b", OBJECT, 0.9)]))["localisation"].count == 1
    two = [("a", OBJECT), ("b", CLOSE)]
    types = error_types(matched(two, [("a", OBJECT, 0.9), ("a", CLOSE, 0.8)]))
    assert (types["class"].count, types["duplicate"].count) == (1, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_every_false_box_has_one_type_and_every_unfound_object_is_missed_or_somebodys(random_case, seed):
    sides = sides_of_coco(*random_case(seed))
    matches = match(sides.truth, sides.found, sides.images, len(sides.classes), 100)
    types = error_types(matches)
    false = int((matches.outcome[0, 0] == Outcome.FALSE).sum())
    assert sum(one.count for name, one in types.items() if name != "missed") == false
    right = int((matches.outcome[0, 0] == Outcome.RIGHT).sum())
    assert 0 <= types["missed"].count <= int((~matches.ignored[0]).sum()) - right
    assert all(0 <= one.cost <= 1 for one in types.values())


def test_confusion_counts_what_is_taken_for_what():
    objects = [("a", OBJECT), ("b", [200, 200, 40, 40]), ("c", [400, 400, 40, 40])]
    found = [
        ("b", CLOSE, 0.9),  # a taken for b
        ("a", OBJECT, 0.8),  # too late: the object is taken
        ("b", [200, 200, 40, 40], 0.7),
        ("c", [400, 400, 40, 40], 0.2),  # not sure enough
    ]
    assert confusion(matched(objects, found)) == {(0, 1): 1, (1, 1): 1, (2, -1): 1, (-1, 0): 1}


def test_what_lies_in_a_crowd_is_no_error():
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 0, "name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": [0, 0, 300, 300], "iscrowd": 1}],
    }
    metrics = evaluate_coco(truth, [{"image_id": 1, "category_id": 0, "bbox": OBJECT, "score": 0.9}]).metrics
    assert {name: error["count"] for name, error in metrics.errors.items()} == dict.fromkeys(TYPES, 0)
    assert metrics.confusion == []


def test_curves_and_names_come_with_an_evaluation():
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": OBJECT}],
    }
    scored = evaluate_coco(truth, [{"image_id": 1, "category_id": 1, "bbox": OBJECT, "score": 0.9}])
    assert scored.metrics.confusion == [("a", "b", 1)]
    assert scored.curves == {"a": [0.0] * 101}
    assert scored.detail()["resamples"]["seed"] == 0
    assert np.mean(scored.curves["a"]) == scored.metrics.AP50
