"""Resampled APs are those of pycocotools on the images drawn, and intervals say what they should."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from da_kd.stages.evaluate.differences import paired_differences
from da_kd.stages.evaluate.matches import Matches, match
from da_kd.stages.evaluate.metrics import Metrics, evaluate_coco, score_coco
from da_kd.stages.evaluate.resampling import RESAMPLES, draws, interval, resample, resampled
from da_kd.stages.evaluate.sides import sides_of_coco


def matched(truth: dict, predictions: list) -> Matches:
    sides = sides_of_coco(truth, predictions)
    return match(sides.truth, sides.found, sides.images, len(sides.classes), 100)


@pytest.fixture(scope="session")
def many(random_case) -> Callable:
    """Makes cases with as many images as asked for."""
    return lambda seed, images=40: joined([random_case(seed * 1000 + number) for number in range(images)])


def joined(parts: list[tuple[dict, list]]) -> tuple[dict, list]:
    """One image of every case, in three classes."""
    truth: dict = {"images": [], "annotations": [], "categories": [{"id": i, "name": str(i)} for i in range(90)]}
    predictions = []
    for number, (part, found) in enumerate(parts):
        first = min(image["id"] for image in part["images"])
        truth["images"].append({"id": number})
        truth["annotations"] += [{**a, "image_id": number} for a in part["annotations"] if a["image_id"] == first]
        predictions += [{**p, "image_id": number} for p in found if p["image_id"] == first]
    for item in (*truth["annotations"], *predictions):
        item["category_id"] %= 3
    return truth, predictions


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_every_image_counted_once_is_pycocotools_ap(plain, random_case, seed):
    truth, predictions = random_case(seed)
    figures, _ = plain(truth, predictions)
    assume(figures["AP"] is not None)
    once = resampled(matched(truth, predictions), np.ones((1, len(truth["images"])), np.uint16))
    assert once.AP[0] == pytest.approx(figures["AP"], abs=1e-12)
    assert once.AP50[0] == pytest.approx(figures["AP50"], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_an_image_counted_twice_is_an_image_that_is_there_twice(random_case, seed):
    truth, predictions = random_case(seed)
    rng = np.random.default_rng(seed)
    for number, item in enumerate(predictions):  # equal scores would rank by image
        item["score"] = item["score"] / 2 + 1e-4 * number
    ids = sorted(image["id"] for image in truth["images"])
    weights = rng.integers(0, 4, (1, len(ids))).astype(np.uint16)
    repeated: dict = {"images": [], "annotations": [], "categories": truth["categories"]}
    found = []
    for image, times in zip(ids, weights[0].tolist(), strict=True):
        for turn in range(times):
            key = f"{image:04d}-{turn}"
            repeated["images"].append({"id": key})
            own = [item for item in truth["annotations"] if item["image_id"] == image]
            repeated["annotations"] += [{**copy.deepcopy(item), "image_id": key} for item in own]
            found += [{**item, "image_id": key} for item in predictions if item["image_id"] == image]
    expected = score_coco(repeated, found)
    got = resampled(matched(truth, predictions), weights)
    if expected.AP is None:
        assert np.isnan(got.AP[0])
    else:
        assert got.AP[0] == pytest.approx(expected.AP, abs=1e-12)
        assert got.AP50[0] == pytest.approx(expected.AP50, abs=1e-12)


def test_draws_are_the_same_for_every_model_and_draw_as_many_images_as_there_are():
    drawn = draws(30)
    assert drawn.shape == (RESAMPLES, 30)
    assert (drawn.sum(axis=1) == 30).all()
    assert np.array_equal(drawn, draws(30))
    assert not np.array_equal(drawn, draws(30, seed=1))


def test_all_resamples_are_done_however_they_are_cut(many, monkeypatch):
    matches = matched(*many(1))
    whole = resample(matches)
    monkeypatch.setattr("da_kd.stages.evaluate.resampling._CELLS", 1)
    cut = resample(matches)
    assert whole is not None and cut is not None
    assert np.array_equal(whole.AP, cut.AP)
    assert len(cut.AP) == RESAMPLES


def test_the_interval_lies_around_the_figure_and_shrinks_with_images(many):
    few, more = (evaluate_coco(*many(2, images)).metrics for images in (20, 180))
    widths = []
    for metrics in (few, more):
        low, high = metrics.intervals["AP"]
        assert 0 <= low < metrics.AP < high <= 1
        widths.append(high - low)
    assert widths[1] < 0.7 * widths[0]


def test_one_image_and_nothing_to_find_have_no_interval(many):
    truth, predictions = many(3, 1)
    assert evaluate_coco(truth, predictions).metrics.intervals == {"AP": None, "AP50": None}
    truth, predictions = many(3, 5)
    truth["annotations"] = []
    assert evaluate_coco(truth, predictions).metrics.intervals == {"AP": None, "AP50": None}
    assert interval(0.5, np.array([np.nan])) is None


def test_differences_are_paired(many):
    truth, predictions = many(4)
    noisy = [{**item, "score": item["score"] * (0.98 + 0.04 * (i % 2))} for i, item in enumerate(predictions)]
    scored = {"student": evaluate_coco(truth, predictions), "source_only": evaluate_coco(truth, noisy)}
    models = {row: one.metrics for row, one in scored.items()}
    drawn = {row: one.detail()["resamples"] for row, one in scored.items()}
    found = paired_differences(models, drawn)
    assert list(found) == ["student"] and list(found["student"]) == ["source_only"]
    one = found["student"]["source_only"]["AP"]
    assert one["difference"] == models["student"].AP - models["source_only"].AP
    low, high = one["interval"]
    assert low <= one["difference"] <= high
    alone = models["student"].intervals["AP"]
    assert high - low < 0.5 * (alone[1] - alone[0])

    rows = ("student", "oracle")
    same = paired_differences(dict.fromkeys(rows, models["student"]), dict.fromkeys(rows, drawn["student"]))
    assert same["student"]["oracle"]["AP50"] == {"difference": 0.0, "interval": [0.0, 0.0]}


def test_differences_without_figures_or_resamples_are_undefined():
    some, none = (Metrics(ap, ap, None, None, None, None, None, {}) for ap in (0.5, None))
    rows = {"student": some, "source_only": none, "finetuned": some}
    found = paired_differences(rows, {})
    assert found["student"] == {"source_only": {n: {"difference": None, "interval": None} for n in ("AP", "AP50")}}
    assert found["finetuned"]["student"]["AP"] == {"difference": 0.0, "interval": None}
    assert paired_differences({"student": some}, {}) == {}
