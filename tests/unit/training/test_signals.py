"""What labels teach beside boxes: objects with weights, regions with sets of classes, images seen more often."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.training import Signals, doubtful
from da_kd.training.signals import GROUND_TRUTH, Kind, Lesson, rows_of

NAMES = ("a", "b", "c")
IMAGES = [ImageRecord("0.png", "0", 100, 50), ImageRecord("1.png", "1", 40, 80), ImageRecord("2.png", "2", 20, 20)]


@pytest.fixture
def table() -> DetectionTable:
    """Two boxes in the first image, none in the second, three in the third; all kept, all classes searched."""
    found = {
        "0.png": Detections(NAMES, [[10, 5, 30, 25], [0, 0, 100, 50]], [0.9, 0.4], [0, 2]),
        "1.png": Detections.empty(NAMES),
        "2.png": Detections(NAMES, [[1, 2, 3, 4], [5, 5, 15, 10], [0, 0, 20, 20]], [0.8, 0.0, 1.0], [1, 1, 0]),
    }
    return table_of(NAMES, IMAGES, found)


def change(table: DetectionTable, **columns) -> DetectionTable:
    return dataclasses.replace(table, **{name: np.array(value) for name, value in columns.items()})


def told(table: DetectionTable, signals: Signals = GROUND_TRUTH, kind: Kind = Kind.OBJECT) -> list[tuple]:
    """Return image, box, and the label and weight of objects or the classes of regions."""
    rows, found = rows_of(table, signals), []
    for image in range(len(table)):
        for row in rows.of(image):
            if rows.kind[row] == kind:
                classes = "".join(np.array(NAMES)[rows.patterns[rows.pattern[row]]])
                what = (int(rows.label[row]), float(rows.weight[row])) if kind == Kind.OBJECT else (classes,)
                found.append((image, tuple(rows.xywh[row].tolist()), *what))
    return found


def test_kept_boxes_are_objects_in_the_tables_order(table) -> None:
    rows = rows_of(table, GROUND_TRUTH)
    assert rows.plain
    assert rows.offsets.tolist() == [0, 2, 2, 5]
    assert rows.label.tolist() == [0, 2, 1, 1, 0]
    assert np.allclose(rows.xywh[:3], [[0.2, 0.3, 0.2, 0.4], [0.5, 0.5, 1, 1], [0.1, 0.15, 0.1, 0.1]])


def test_scores_are_weights_where_asked_and_a_persons_boxes_count_fully(table) -> None:
    signals = Signals(weight="score")
    assert [row[3] for row in told(table, signals)] == pytest.approx([0.9, 0.4, 0.8, 0, 1])
    protected = change(table, protected=[False, True, False, True, False])
    assert [row[3] for row in told(protected, signals)] == pytest.approx([0.9, 1, 0.8, 1, 1])
    assert not rows_of(table, signals).plain
    assert rows_of(change(table, score=np.ones(5, np.float32)), signals).plain


@pytest.mark.parametrize(("uncertain", "classes"), [("ignore", ["c", "b"]), ("ignore_all", ["abc", "abc"])])
def test_uncertain_boxes_are_regions_of_their_class_or_of_all(table, uncertain, classes) -> None:
    doubt = change(table, state=np.array([0, 1, 3, 1, 0], np.int8))
    ignored = told(doubt, Signals(uncertain=uncertain), Kind.IGNORED)
    assert [row[0] for row in ignored] == [0, 2]
    assert ignored[0][1] == (0.5, 0.5, 1.0, 1.0)
    assert [row[2] for row in ignored] == classes
    assert [row[2] for row in told(doubt, Signals(uncertain=uncertain))] == [0, 0]


def test_uncertain_boxes_may_be_background(table) -> None:
    doubt = change(table, state=np.array([0, 1, 3, 1, 0], np.int8))
    assert rows_of(doubt, Signals(uncertain="background")).plain


def test_what_ground_truth_ignores_is_a_region_of_its_class_whatever_uncertain_ones_are(table) -> None:
    truth = change(table, state=np.array([0, State.IGNORED, 0, 0, 0], np.int8))
    for uncertain in ("ignore", "ignore_all", "background"):
        (region,) = told(truth, Signals(uncertain=uncertain), Kind.IGNORED)
        assert region == (0, (0.5, 0.5, 1.0, 1.0), "c")


def test_what_a_person_decided_is_never_ignored(table) -> None:
    doubt = change(table, state=np.full(5, State.UNCERTAIN, np.int8), protected=[True, False, True, True, True])
    assert len(told(doubt, GROUND_TRUTH, Kind.IGNORED)) == 1


def test_classes_that_nobody_searched_for_are_a_region_as_large_as_the_image(table) -> None:
    searched = np.array([[True, False, True], [True, True, True], [False, False, False]])
    partly = change(table, searched=searched)
    whole = (0.5, 0.5, 1.0, 1.0)
    assert told(partly, GROUND_TRUTH, Kind.UNSEARCHED) == [(0, whole, "b"), (2, whole, "abc")]
    assert [row[2] for row in told(partly)] == [0, 2, 1, 1, 0]
    assert rows_of(partly, Signals(unsearched="background")).plain


def test_images_with_a_persons_box_are_seen_as_often_as_asked(table) -> None:
    protected = change(table, protected=[False, False, True, True, False])
    images = ImageSet(Path(), protected)
    assert Lesson(images).order.tolist() == [0, 1, 2]
    assert Lesson(images, Signals(oversample=3)).order.tolist() == [0, 1, 2, 2, 2]
    dropped = ImageSet(Path(), change(protected, state=np.full(5, State.DROPPED, np.int8)))
    assert Lesson(dropped, Signals(oversample=3)).order.tolist() == [0, 1, 2]


def test_an_empty_table_teaches_nothing(table) -> None:
    rows = rows_of(table.take([]), GROUND_TRUTH)
    assert rows.plain
    assert rows.offsets.tolist() == [0]


def test_doubt_is_ignored_boxes_or_unsearched_classes(table) -> None:
    assert not doubtful(table)
    assert doubtful(change(table, state=np.array([0, 0, 0, 0, State.IGNORED], np.int8)))
    assert doubtful(change(table, searched=np.array([[True] * 3, [True] * 3, [True, True, False]])))
