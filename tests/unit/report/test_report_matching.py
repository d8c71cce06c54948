"""Boxes are paired one to one, and images are picked evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.detections import Detections
from da_kd.merging.matching import inside, paired
from da_kd.stages.report.matching import Agreement, compare, spread


def boxes(*rows: tuple, vocabulary: tuple[str, ...] = ("a", "b")) -> Detections:
    xyxy = np.array([row[1:5] for row in rows], np.float32).reshape(-1, 4)
    score = np.array([row[5] if len(row) > 5 else 1 for row in rows], np.float32)
    return Detections(vocabulary, xyxy, score, np.array([vocabulary.index(row[0]) for row in rows], np.int32))


def test_one_object_is_found_once():
    one = boxes(("a", 0, 0, 10, 10))
    assert compare(one, boxes(("a", 0, 0, 10, 10, 0.5), ("a", 0, 0, 10, 9, 0.9))) == Agreement(1, 0, 1)


def test_classes_are_told_apart_by_name():
    one = boxes(("a", 0, 0, 10, 10))
    assert compare(one, boxes(("a", 0, 0, 10, 10), vocabulary=("b", "a"))) == Agreement(1, 0, 0)
    assert compare(one, boxes(("b", 0, 0, 10, 10))) == Agreement(0, 1, 1)


def test_who_has_a_partner_is_told():
    two = boxes(("a", 0, 0, 10, 10), ("b", 50, 50, 60, 60))
    found = boxes(("a", 1, 0, 10, 10, 0.2), ("b", 0, 0, 10, 10, 0.9), ("b", 50, 50, 60, 61, 0.4))
    assert paired(two, found).tolist() == [True, False, True]
    assert paired(boxes(), found).tolist() == [False] * 3


def test_a_box_lies_inside_when_half_of_it_does():
    region = boxes(("a", 0, 0, 100, 100))
    found = boxes(("a", 5, 5, 10, 10), ("b", 5, 5, 10, 10), ("a", 90, 0, 110, 20), ("a", 95, 0, 115, 20))
    assert inside(region, found).tolist() == [True, False, True, False]
    assert inside(boxes(), found).tolist() == [False] * 4
    assert inside(region, boxes()).tolist() == []


def test_nothing_agrees_with_nothing():
    assert compare(boxes(), boxes()).difference == 0
    assert compare(boxes(), boxes(("a", 0, 0, 1, 1))).difference == 1
    assert Agreement(3, 1, 1).difference == pytest.approx(1 - 0.75)


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 40))
def test_picks_are_distinct_and_go_from_most_to_least(differences, wanted):
    picked = spread(differences, wanted)
    assert len(picked) == len(set(picked)) == min(wanted, len(differences))
    assert [differences[i] for i in picked] == sorted((differences[i] for i in picked), reverse=True)
    if wanted > 1 and differences:
        assert differences[picked[0]] == max(differences)
        assert differences[picked[-1]] == min(differences)
