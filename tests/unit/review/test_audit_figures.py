"""What an audit tells: curves over thresholds, best thresholds, the class prior, models against each other."""

import dataclasses
import json

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, stack, table_of
from da_kd.errors import DataError
from da_kd.recipe import Simulate
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.stages.review.audit import THRESHOLDS, best_thresholds, compare_with_truth, figures
from da_kd.stages.review.audited import reviewer_errors
from da_kd.stages.review.contest import contest, keep_above
from da_kd.stages.review.journal import second_look
from da_kd.stages.review.reviewer import error_rate
from da_kd.stages.review.simulate import simulate

NAMES = ("RBC", "WBC")


def scene(images=40, seed=0, drop=0.0, junk=2.0, good=0.8):
    """Truth, and labels whose right boxes score about ``good`` and whose wrong ones about 0.3."""
    rng, truth, labels = np.random.default_rng(5), {}, {}
    noise = np.random.default_rng(seed)
    records = [ImageRecord(f"{i}.png", f"sha{i}", 500, 500) for i in range(images)]
    for record in records:
        count = int(rng.integers(2, 8))
        corner = np.stack([60.0 * np.arange(count), rng.uniform(0, 80, count)], axis=1)
        name = (rng.random(count) < 0.25).astype(int)
        objects = np.concatenate([corner, corner + 40], axis=1)
        found = noise.random(count) >= drop
        wrong = int(noise.poisson(junk))
        far = np.stack([60.0 * np.arange(wrong), np.full(wrong, 300.0)], axis=1)
        xyxy = np.concatenate([objects[found], np.concatenate([far, far + 40], axis=1)])
        score = np.clip(np.concatenate([noise.normal(good, 0.08, found.sum()), noise.normal(0.3, 0.1, wrong)]), 0.01, 1)
        label = np.concatenate([name[found], noise.integers(0, 2, wrong)])
        truth[record.key] = Detections(NAMES, objects, np.ones(count), name)
        labels[record.key] = Detections(NAMES, xyxy, score, label)
    state = {key: np.where(item.score >= 0.5, State.KEPT, State.UNCERTAIN) for key, item in labels.items()}
    return table_of(NAMES, records, labels, state=state), table_of(NAMES, records, truth)


def audited(images=40, **how):
    """An audit of a tenth of the images."""
    labels, truth = scene(images=10 * images, **how)
    return compare_with_truth(labels, truth, dict.fromkeys(truth.sha[::10], 0.1))


def test_the_figures_are_plain_json_with_an_interval_around_every_value():
    told = figures(audited())
    assert json.loads(json.dumps(told)) == told
    assert told["images_audited"] == 40
    for item in (*told["classes"].values(), told["all"]):
        for side in ("precision", "recall"):
            curve = item[side]
            assert len(curve["value"]) == len(THRESHOLDS)
            known = [row for row in zip(curve["low"], curve["value"], curve["high"], strict=True) if None not in row]
            assert known
            assert all(low <= value <= high for low, value, high in known)
            now = item["as_kept"][side]
            assert now["low"] <= now["value"] <= now["high"]
            assert now["images_to_halve"] > 0


def test_precision_rises_and_recall_falls_with_the_threshold():
    told = figures(audited())["all"]
    low, high = (int(np.searchsorted(THRESHOLDS, at)) for at in (0.2, 0.6))
    assert told["precision"]["value"][low] < told["precision"]["value"][high]
    recall = told["recall"]["value"]
    assert recall == sorted(recall, reverse=True)


def test_what_is_kept_is_measured_at_the_states_of_the_boxes():
    told = figures(audited())["all"]
    at = int(np.searchsorted(THRESHOLDS, 0.5))
    assert told["as_kept"]["recall"]["value"] == told["recall"]["value"][at]


def test_a_box_that_a_rule_leaves_uncertain_takes_no_object_from_one_that_is_kept():
    records = [ImageRecord(f"{i}.png", f"sha{i}", 200, 200) for i in range(8)]
    objects = {one.key: Detections(NAMES, [[10, 10, 50, 50]], [1], [0]) for one in records}
    found = {one.key: Detections(NAMES, [[10, 10, 50, 46], [10, 14, 50, 50]], [0.9, 0.7], [0, 0]) for one in records}
    state = {one.key: np.array([State.UNCERTAIN, State.KEPT]) for one in records}
    labels, truth = table_of(NAMES, records, found, state=state), table_of(NAMES, records, objects)
    now = figures(compare_with_truth(labels, truth, dict.fromkeys(truth.sha, 0.5)))["classes"]["RBC"]["as_kept"]
    assert (now["precision"]["value"], now["recall"]["value"]) == (1, 1)


def test_copies_of_an_audited_image_count_once():
    labels, truth = scene(images=10)
    twice = dataclasses.replace(labels, key=tuple(f"copy of {key}" for key in labels.key))
    both = compare_with_truth(stack([labels, twice]), truth, dict.fromkeys(truth.sha, 0.5))
    once = compare_with_truth(labels, truth, dict.fromkeys(truth.sha, 0.5))
    assert figures(both) == figures(once)


def test_the_best_threshold_lies_between_wrong_and_right_scores_with_an_interval_around_it():
    best, value = best_thresholds(audited(images=80))
    assert (best.value > 0.4).all()
    assert (best.value < 0.7).all()
    assert (best.low <= best.value).all()
    assert (best.value <= best.high).all()
    assert (value > 0.9).all()


def test_a_beta_below_one_asks_for_more_precision():
    sample = audited(images=80, junk=6, good=0.5)
    careful, greedy = (best_thresholds(sample, beta)[0].value for beta in (0.3, 3.0))
    assert (careful >= greedy).all()
    assert (careful > greedy).any()


def test_the_prior_says_how_common_a_class_is():
    _, truth = scene(images=800)
    told = figures(audited(images=80))
    shares = [told["classes"][name]["share_of_objects"] for name in NAMES]
    assert sum(item["value"] for item in shares) == pytest.approx(1, abs=1e-4)
    assert shares[1]["low"] < truth.label.mean() < shares[1]["high"]
    per_image = told["all"]["objects_per_image"]
    assert per_image["low"] < len(truth.label) / 800 < per_image["high"]


def test_an_image_that_was_less_likely_to_be_drawn_counts_more():
    labels, truth = scene(images=20)
    counts = np.diff(truth.offsets)
    many, few = (f"sha{at}" for at in (counts.argmax(), counts.argmin()))
    even = compare_with_truth(labels, truth, {many: 0.5, few: 0.5})
    uneven = compare_with_truth(labels, truth, {many: 0.1, few: 0.5})
    means = [figures(sample)["all"]["objects_per_image"]["value"] for sample in (even, uneven)]
    assert means[0] == (counts.max() + counts.min()) / 2
    assert means[1] == pytest.approx((10 * counts.max() + 2 * counts.min()) / 12, abs=1e-4)


def test_an_audit_of_nothing_says_nothing():
    labels, truth = scene(images=3)
    assert figures(compare_with_truth(labels, truth, {}))["classes"] == {}


def test_an_audit_without_any_object_or_box_is_told_with_nulls():
    records = [ImageRecord(f"{at}.png", f"sha{at}", 9, 9) for at in range(3)]
    empty = table_of(NAMES, records, {record.key: Detections.empty(NAMES) for record in records})
    told = figures(compare_with_truth(empty, empty, dict.fromkeys(empty.sha, 0.5)))["all"]
    assert told["as_kept"]["precision"]["value"] is None
    assert told["best_threshold"]["value"] is None
    assert told["objects_per_image"]["value"] == told["objects_per_image"]["low"] == 0
    assert told["objects_per_image"]["high"] > 0


def test_chances_outside_0_to_1_and_other_classes_are_refused():
    labels, truth = scene(images=2)
    with pytest.raises(DataError, match="above 0"):
        compare_with_truth(labels, truth, {"sha0": 0.0})
    with pytest.raises(DataError, match="classes"):
        compare_with_truth(labels, table_of(("x",), [ImageRecord("a", "b", 1, 1)], {}), {})


# ---- is the new one better here?


def test_the_better_model_is_told_and_equal_ones_are_not_decided():
    bad, good = audited(seed=1, drop=0.3), audited(seed=2, drop=0.02)
    told = contest(bad, good)["all"]
    assert {told[figure]["better"] for figure in ("recall", "F1", "AP50")} == {"second"}
    assert contest(good, bad)["all"]["F1"]["better"] == "first"
    same = contest(good, good)["all"]["F1"]
    assert same["better"] == "not decided"
    assert same["difference"] == {"value": 0, "low": 0, "high": 0}


def test_pairing_makes_the_interval_of_the_difference_narrow():
    first, second = audited(seed=1, drop=0.1), audited(seed=1, drop=0.1)
    told = contest(first, keep_above(second, {"RBC": 0.55, "WBC": 0.55}))["all"]["recall"]
    alone = figures(first)["all"]["as_kept"]["recall"]
    assert told["difference"]["high"] - told["difference"]["low"] < (alone["high"] - alone["low"]) / 2


def test_ap50_is_close_to_what_everybody_counts():
    labels, truth = scene(images=60, drop=0.2, junk=4, good=0.5)
    everything = table_of(NAMES, _records(labels), {key: _all(labels, at) for at, key in enumerate(labels.key)})
    expected = score_tables(truth, everything)
    sample = compare_with_truth(labels, truth, dict.fromkeys(truth.sha, 1.0))
    assert contest(sample, sample, times=2)["all"]["AP50"]["first"] == pytest.approx(expected.AP50, abs=0.01)


def _records(table):
    return [ImageRecord(key, sha, 500, 500) for key, sha in zip(table.key, table.sha, strict=True)]


def _all(table, at):
    return table.at(at, (State.KEPT, State.UNCERTAIN))


def test_models_on_different_images_are_not_compared():
    with pytest.raises(DataError, match="same audited images"):
        contest(audited(images=10), audited(images=12))


# ---- the reviewer's own errors


def passes(error: float, images=200, seed=0):
    """Two passes of a reviewer who overlooks an object with this probability."""
    _, truth = scene(images=images)
    rng = np.random.default_rng(seed)
    return [
        table_of(NAMES, _records(truth), {key: item.pick(rng.random(len(item)) >= error) for key, item in iter(truth)})
        for _ in range(2)
    ]


def test_the_reviewers_rate_of_errors_is_found_from_two_passes():
    told = error_rate(*passes(0.1))["error"]
    assert told["low"] < 0.1 < told["high"]
    assert told["high"] - told["low"] < 0.06


def test_a_reviewer_who_never_differs_has_an_upper_limit_only():
    told = error_rate(*passes(0.0, images=20))
    assert told["error"]["value"] == told["error"]["low"] == 0
    assert 0 < told["error"]["high"] < 0.15


def test_another_class_for_the_same_object_is_one_difference():
    records = [ImageRecord("a.png", "s", 9, 9)]
    box = [[0.0, 0.0, 8.0, 8.0]]
    first, second = (table_of(NAMES, records, {"a.png": Detections(NAMES, box, [1], [label])}) for label in (0, 1))
    told = error_rate(first, second)
    assert (told["decisions"], told["differ"]["value"]) == (1, 1)


def test_without_images_seen_twice_nothing_is_known_of_the_reviewer():
    first, _ = passes(0.1, images=2)
    assert error_rate(first, first.take([]))["error"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize("error", [0.0, 0.05, 0.15])
def test_the_errors_of_a_simulated_reviewer_are_found_again_from_their_decisions(error, blind):
    labels, truth = scene(images=60, drop=0.1, junk=1.0, seed=3)
    shown = labels.pick_boxes(np.zeros(len(labels.xyxy), bool)) if blind else labels
    entries = []
    for seed in (1, 2):
        config = Simulate(budget=10_000, error=error)
        for entry in simulate(shown, truth, range(len(shown)), config, seed).entries:
            if seed == 1:
                entries.append(dataclasses.replace(entry, probability=0.5 if entry.action == "complete" else None))
            else:
                entries.append(dataclasses.replace(entry, sha=second_look(entry.sha), label_id=f"2:{entry.label_id}"))
    found = reviewer_errors(labels, entries, blind=blind)
    assert found["images"] == 60
    assert found["error"]["low"] <= error <= found["error"]["high"]
    assert found["error"]["high"] - found["error"]["low"] < 0.1


def test_what_was_asked_and_thrown_away_twice_is_a_decision_too():
    records = [ImageRecord("a.png", "s", 99, 99)]
    boxes = [[0.0, 0.0, 8.0, 8.0], [20.0, 20.0, 40.0, 40.0]]
    asked = table_of(NAMES, records, {"a.png": Detections(NAMES, boxes, [1, 1], [0, 0])})
    kept = table_of(NAMES, records, {"a.png": Detections(NAMES, boxes[:1], [1], [0])})
    assert error_rate(kept, kept)["decisions"] == 1
    assert error_rate(kept, kept, asked)["decisions"] == 2
