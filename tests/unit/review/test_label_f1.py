"""F1 of labels by hand: what is right, what is wrong, and what the truth has no opinion about."""

import pytest

from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.stages.review.label_f1 import label_f1

NAMES = ("RBC", "WBC")
ONE, TWO, THREE = [0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70]


def table(boxes, labels, searched=NAMES, state=None):
    found = {"a.png": Detections(NAMES, boxes, [0.9] * len(boxes), labels)}
    states = None if state is None else {"a.png": state}
    return table_of(NAMES, [ImageRecord("a.png", "sha", 100, 100)], found, searched, states)


def test_a_false_box_and_a_missed_object_cost_as_much():
    found = label_f1(table([ONE, TWO], [0, 1]), table([ONE, THREE], [0, 0]))
    assert found == {"F1": 0.5, "class_F1": pytest.approx(2 / 3, abs=1e-5)}


def test_boxes_of_classes_that_the_truth_does_not_cover_are_no_errors():
    labels = table([ONE, TWO], [0, 1])
    assert label_f1(labels, table([ONE], [0], searched=["RBC"])) == {"F1": 1.0, "class_F1": 1.0}
    assert label_f1(labels, table([ONE], [0]))["F1"] == pytest.approx(2 / 3, abs=1e-5)


def test_boxes_in_regions_that_the_truth_ignores_are_no_errors():
    labels = table([ONE, THREE], [0, 0])
    truth = table([ONE, [55, 55, 75, 75]], [0, 0], state=[State.KEPT, State.IGNORED])
    assert label_f1(labels, truth) == {"F1": 1.0, "class_F1": 1.0}
