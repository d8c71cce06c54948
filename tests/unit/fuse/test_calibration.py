"""Scores become the share of right boxes, per teacher and class; their order and their range stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.stages.fuse.calibration import ENOUGH, Line, calibrated, calibration_error, fit
from da_kd.stages.fuse.judged import Judged


def judged(score, label, right, classes=2):
    score, label, right = np.asarray(score, np.float64), np.asarray(label, np.int64), np.asarray(right, bool)
    objects = np.bincount(label[right], minlength=classes)
    return Judged(score, label, np.arange(len(score)) // 5, right, objects)


def drawn(line, count, seed=0):
    """Return scores, and whether each is right: with the chance that a line makes of it."""
    random = np.random.default_rng(seed)
    score = random.uniform(0.02, 0.98, count)
    return score, random.uniform(size=count) < line(score)


@pytest.mark.parametrize("line", [Line(1, 0), Line(0.5, -1), Line(2, 1)])
def test_the_line_that_made_the_boxes_is_found(line):
    found = fit(*drawn(line, 40_000))
    assert (found.a, found.b) == pytest.approx((line.a, line.b), abs=0.06)


def test_it_is_the_maximum_of_the_likelihood():
    """The library's fit of the same targets is the oracle (Platt's targets, as weights of both answers)."""
    linear = pytest.importorskip("sklearn.linear_model")
    score, right = drawn(Line(1.7, -0.8), 500)
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    odds = np.log(score / (1 - score))[:, None]
    both = linear.LogisticRegression(C=np.inf, tol=1e-10)
    both.fit(np.vstack([odds, odds]), np.repeat([1, 0], len(score)), np.concatenate([target, 1 - target]))
    found = fit(score, right)
    assert (found.a, found.b) == pytest.approx((both.coef_[0, 0], both.intercept_[0]), abs=1e-4)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80),
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
)
def test_calibrated_scores_stay_in_range_and_in_order(seen, scores):
    line = fit(np.array([score for score, _ in seen]), np.array([right for _, right in seen]))
    if line is not None:
        after = line(np.sort(np.array(scores)))
        assert ((after >= 0) & (after <= 1)).all()
        assert (np.diff(after) >= 0).all()


def test_scores_that_say_nothing_have_no_line():
    assert fit(np.array([0.9, 0.8, 0.2, 0.1]), np.array([False, False, True, True])) is None


def test_scores_that_part_right_from_wrong_cleanly_still_have_a_line():
    after = fit(np.linspace(0.1, 0.9, 50), np.linspace(0, 1, 50) > 0.5)(np.array([0.0, 0.05, 0.95, 1.0]))
    assert np.isfinite(after).all()
    assert (after[0] < 0.1, after[-1] > 0.9) == (True, True)


def test_each_class_has_its_own_line_and_a_rare_one_that_of_all():
    often, seldom = drawn(Line(1, -2), 4000), drawn(Line(1, 2), 20, seed=1)
    score, right = (np.concatenate(pair) for pair in zip(often, seldom, strict=True))
    label = np.repeat([0, 1], [4000, 20])
    found = calibrated(judged(score, label, right, classes=3))
    assert found.origin == ("class", "pooled", "pooled")
    assert found.lines[1] == found.lines[2] == fit(score, right)
    assert found.lines[0] == fit(*often)
    assert found.boxes == (4000, 20, 0)
    tree = found.as_json(("a", "b", "c"))
    assert tree["classes"]["b"] == {"a": found.lines[1].a, "b": found.lines[1].b, "fitted_on": "pooled",
                                    "boxes": 20, "right": int(seldom[1].sum())}  # fmt: skip


def test_a_class_with_few_boxes_shifts_the_line_of_all():
    often, seldom = drawn(Line(2, -2), 4000), drawn(Line(2, 1), 60, seed=1)
    assert ENOUGH > (~seldom[1]).sum() >= 10
    score, right = (np.concatenate(pair) for pair in zip(often, seldom, strict=True))
    found = calibrated(judged(score, np.repeat([0, 1], [4000, 60]), right))
    assert found.origin == ("class", "shift")
    assert found.lines[1].a == fit(score, right).a
    assert found.lines[1].b == pytest.approx(1, abs=0.7)  # as it was made; that of all is -2
    shifted = found.lines[1]
    assert shifted(seldom[0]).sum() == pytest.approx(seldom[1].sum(), abs=1)  # it promises as many as are right


def test_too_few_boxes_in_all_leave_scores_as_they_are():
    score = np.linspace(0.1, 0.9, 2 * ENOUGH - 2)
    found = calibrated(judged(score, np.zeros(len(score)), np.arange(len(score)) % 2 == 0))
    assert found.origin == ("none", "none")
    assert found(score, np.zeros(len(score), int)).tolist() == score.tolist()
    assert found.error[0] == found.error[1]
    assert calibrated(judged([], [], [])).error == (0, 0)


def test_the_error_is_told_by_halves_that_did_not_see_each_other():
    score, right = drawn(Line(1, -2), 4000)
    found = calibrated(judged(score, np.zeros(4000), right))
    assert found.error[0] == pytest.approx(calibration_error(score, right))
    assert found.error[0] > 0.25
    assert found.error[1] < 0.05


def test_the_error_is_the_distance_of_scores_from_what_they_promise():
    assert calibration_error(np.array([0.95, 0.95, 0.05, 0.05]), np.array([True, False, False, False])) == (
        pytest.approx((abs(1.9 - 1) + abs(0.1 - 0)) / 4)
    )
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0
