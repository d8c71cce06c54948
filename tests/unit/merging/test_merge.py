"""Merging: cases worked out by hand, and what holds for any voices."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.boxes import iou
from da_kd.detections import Detections
from da_kd.merging.merge import Panel, Pool, merge_pool

EASY = settings(max_examples=60, deadline=None)
AB = ("a", "b")


class Voice(NamedTuple):
    """What one teacher says of an image, which classes it knows, and how much it counts."""

    found: Detections
    able: tuple[bool, ...]
    weight: float | tuple[float, ...]


class Merged(NamedTuple):
    """The merged boxes of one image."""

    boxes: Detections
    agreement: np.ndarray
    teacher_score: np.ndarray


def merge(vocabulary, voices, method, overlap, repeats="best"):
    """Merge what teachers say about one image."""
    found = [voice.found for voice in voices]
    owner = np.repeat(np.arange(len(voices)), [len(item) for item in found])
    panel = Panel(
        np.array([voice.able for voice in voices], bool),
        np.array([np.broadcast_to(np.asarray(voice.weight, float), len(vocabulary)) for voice in voices]),
        np.ones((1, len(voices)), bool),
    )
    columns = [np.concatenate([getattr(item, name) for item in found]) for name in ("xyxy", "score", "label")]
    pool = Pool(columns[0].astype(float), columns[1].astype(float), np.zeros_like(owner), columns[2].astype(int), owner)
    merged = merge_pool(panel, pool, method, overlap, repeats)
    boxes = Detections(vocabulary, merged.xyxy, merged.score, merged.label)
    return Merged(boxes, merged.agreement, merged.teacher_score)


def says(*rows, able=(True, True), weight=1.0):
    """A voice from rows of (x1, y1, x2, y2, score, label)."""
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Voice(Detections(AB, array[:, :4], array[:, 4], array[:, 5].astype(int)), able, weight)


@st.composite
def voices(draw, least=1):
    """Two to four teachers, each knowing some classes, with boxes on a coarse grid and distinct scores."""
    count = draw(st.integers(max(least, 1), 4))
    able = [draw(st.tuples(st.booleans(), st.booleans())) for _ in range(count)]
    rows = [draw(st.lists(st.tuples(*[st.integers(0, 8)] * 4, st.integers(0, 1)), max_size=6)) for _ in range(count)]
    rows = [[row for row in said if able[i][row[4]]] for i, said in enumerate(rows)]
    scores = iter(draw(st.permutations(range(1, 1 + sum(map(len, rows))))))
    weights = [draw(st.sampled_from([1.0, 1.37, 2.21])) for _ in range(count)]
    return [
        says(*[(x, y, x + 3 + w, y + 3 + h, next(scores) / 64, c) for x, y, w, h, c in said], able=knows, weight=weight)
        for said, knows, weight in zip(rows, able, weights, strict=True)
    ]


def test_two_boxes_become_their_mean_weighted_by_score():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0)), says((2, 0, 12, 10, 0.4, 0))], "wbf", 0.5)
    assert merged.boxes.xyxy[0] == pytest.approx([2 / 3, 0, 32 / 3, 10])  # (0.8 * 0 + 0.4 * 2) / 1.2
    assert merged.boxes.score.tolist() == pytest.approx([0.6])
    assert merged.boxes.label.tolist() == [0]
    assert merged.agreement.tolist() == [1]
    assert merged.teacher_score.tolist() == [pytest.approx([0.8, 0.4])]


def test_a_teachers_weight_counts_for_place_and_score():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0), weight=3), says((2, 0, 12, 10, 0.4, 0))], "wbf", 0.5)
    assert merged.boxes.xyxy[0, 0] == pytest.approx(0.4 * 2 / (3 * 0.8 + 0.4))
    assert merged.boxes.score.tolist() == pytest.approx([(3 * 0.8 + 0.4) / 4])


def test_a_silent_teacher_that_knows_the_class_lowers_the_score():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0)), says()], "wbf", 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.4])
    assert merged.agreement.tolist() == [0.5]
    assert np.isnan(merged.teacher_score[0, 1])
    assert merged.boxes.xyxy[0].tolist() == [0, 0, 10, 10]


def test_a_silent_teacher_that_does_not_know_the_class_has_no_say():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0)), says(able=(False, True))], "wbf", 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.8])
    assert merged.agreement.tolist() == [1]


def test_two_of_three_teachers_know_the_class_and_one_of_them_is_silent():
    said = [says((0, 0, 10, 10, 0.8, 0)), says(able=(False, True)), says(weight=3)]
    merged = merge(AB, said, "wbf", 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.2])
    assert merged.agreement.tolist() == [0.5]


@pytest.mark.parametrize(("overlap", "count"), [(0.3, 1), (0.34, 2)])
def test_boxes_are_one_object_from_the_overlap_asked_for(overlap, count):
    said = [says((0, 0, 10, 10, 0.8, 0)), says((5, 0, 15, 10, 0.4, 0))]  # they overlap by a third
    for method in ("wbf", "nms"):
        assert len(merge(AB, said, method, overlap).boxes) == count


def test_boxes_apart_and_boxes_of_different_classes_stay_apart():
    one = says((0, 0, 10, 10, 0.8, 0), (50, 50, 60, 60, 0.6, 0))
    merged = merge(AB, [one, says((0, 0, 10, 10, 0.5, 1))], "wbf", 0.5)
    assert merged.boxes.label.tolist() == [0, 0, 1]
    assert merged.boxes.score.tolist() == pytest.approx([0.4, 0.3, 0.25])  # the best first, the others' silence counts
    assert merged.agreement.tolist() == [0.5, 0.5, 0.5]


def test_a_teacher_that_says_it_twice_counts_once():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 10, 0.2, 0)), says()], "wbf", 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.4])
    assert merged.teacher_score[0, 0] == pytest.approx(0.8)


def test_a_teacher_alone_is_only_rid_of_duplicates():
    one = says((0, 0, 10, 10, 0.8, 0), (1, 0, 11, 10, 0.7, 0), (40, 40, 50, 50, 0.2, 0))
    for voices_now in ([one], [one, says(able=(False, True))]):
        merged = merge(AB, voices_now, "wbf", 0.5)
        assert merged.boxes.xyxy.tolist() == [[0, 0, 10, 10], [40, 40, 50, 50]]
        assert merged.boxes.score.tolist() == pytest.approx([0.8, 0.2])
        assert merged.agreement.tolist() == [1, 1]


def test_the_other_method_keeps_the_best_box_and_tells_who_saw_it():
    merged = merge(AB, [says((0, 0, 10, 10, 0.4, 0)), says((1, 0, 11, 10, 0.8, 0)), says()], "nms", 0.5)
    assert merged.boxes.xyxy.tolist() == [[1, 0, 11, 10]]
    assert merged.boxes.score.tolist() == pytest.approx([0.8])
    assert merged.agreement.tolist() == pytest.approx([2 / 3])
    assert merged.teacher_score[0, :2].tolist() == pytest.approx([0.4, 0.8])


def test_a_box_without_area_speaks_for_itself_only():
    merged = merge(AB, [says((0, 0, 10, 10, 0.4, 0)), says((30, 30, 30, 40, 0.9, 0))], "nms", 0.5)
    assert merged.boxes.xyxy.tolist() == [[30, 30, 30, 40], [0, 0, 10, 10]]
    assert merged.agreement.tolist() == [0.5, 0.5]


def test_where_all_boxes_are_kept_equal_ones_stand_for_themselves():
    merged = merge(AB, [says((0, 0, 9, 9, 0.9, 0)), says((0, 0, 9, 9, 0.4, 0))], "nms", 1.0)
    assert merged.agreement.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("method", ["wbf", "nms"])
def test_silence_of_all_is_no_box(method):
    for voices_now in ([says(), says()], [says(able=(False, False))] * 2):
        merged = merge(AB, voices_now, method, 0.5)
        assert len(merged.boxes) == 0
        assert merged.teacher_score.shape == (0, 2)


@given(voices(), st.sampled_from(["wbf", "nms"]), st.sampled_from([0.3, 0.55, 0.8]))
@EASY
def test_what_holds_for_any_voices(said, method, overlap):
    merged = merge(AB, said, method, overlap)
    boxes, count = merged.boxes, len(merged.boxes)
    assert merged.agreement.shape == (count,)
    assert merged.teacher_score.shape == (count, len(said))
    assert ((boxes.score >= 0) & (boxes.score <= 1)).all()
    assert (np.diff(boxes.score) <= 0).all()
    assert (boxes.xyxy[:, :2] < boxes.xyxy[:, 2:]).all()
    assert ((merged.agreement > 0) & (merged.agreement <= 1)).all()
    for label in range(2):
        given_boxes = np.concatenate([voice.found.xyxy[voice.found.label == label] for voice in said])
        mine = boxes.label == label
        assert mine.any() == (len(given_boxes) > 0)
        if mine.any():
            low, high = given_boxes.min(axis=0) - 1e-4, given_boxes.max(axis=0) + 1e-4
            assert ((boxes.xyxy[mine] >= low) & (boxes.xyxy[mine] <= high)).all()
    able = np.array([[voice.able[label] for voice in said] for label in boxes.label], bool)
    able = able.reshape(count, len(said))
    spoke = ~np.isnan(merged.teacher_score)
    assert not (spoke & ~able).any()
    assert merged.agreement == pytest.approx(spoke.sum(axis=1) / np.maximum(able.sum(axis=1), 1))
    best = np.nanmax(merged.teacher_score, axis=1, initial=0)
    assert (boxes.score <= best + 1e-6).all()


@given(voices(least=2), st.sampled_from(["wbf", "nms"]), st.randoms(use_true_random=False))
@EASY
def test_the_order_of_the_teachers_does_not_matter(said, method, random):
    order = list(range(len(said)))
    random.shuffle(order)
    one, other = merge(AB, said, method, 0.55), merge(AB, [said[i] for i in order], method, 0.55)
    rows = [
        np.column_stack([m.boxes.label, m.boxes.score, m.boxes.xyxy, m.agreement, np.nan_to_num(scores, nan=-1)])
        for m, scores in ((one, one.teacher_score[:, order]), (other, other.teacher_score))
    ]
    first, second = (r[np.lexsort(np.round(r, 4).T)] for r in rows)
    assert first == pytest.approx(second, abs=1e-4)


@given(voices(), st.sampled_from([0.3, 0.55, 0.8]))
@EASY
def test_the_other_method_leaves_no_overlap(said, overlap):
    boxes = merge(AB, said, "nms", overlap).boxes
    close = iou(boxes.xyxy, boxes.xyxy) * (boxes.label[:, None] == boxes.label[None, :])
    assert (close[~np.eye(len(boxes), dtype=bool)] <= overlap + 1e-6).all()


def test_merging_draws_a_rectangle_around_all_and_keeps_the_best_score():
    said = [says((0, 0, 10, 10, 0.8, 0), (30, 0, 40, 10, 0.3, 0)), says((2, 1, 12, 11, 0.6, 0))]
    merged = merge(AB, said, "nmm", 0.5)
    assert merged.boxes.xyxy.tolist() == [[0, 0, 12, 11], [30, 0, 40, 10]]
    assert merged.boxes.score.tolist() == pytest.approx([0.8, 0.3])
    assert merged.agreement.tolist() == [1, 0.5]


def test_soft_suppression_lowers_what_one_teacher_says_twice():
    one = says((0, 0, 10, 10, 0.8, 0), (2, 0, 12, 10, 0.6, 0), (9, 0, 19, 10, 0.5, 0))
    merged = merge(AB, [one], "soft_nms", 0.5)  # the first two overlap by 8 / 12, the third one nothing by much
    assert merged.boxes.score.tolist() == pytest.approx([0.8, 0.5, 0.6 * 4 / 12])
    assert merged.teacher_score[:, 0].tolist() == pytest.approx([0.8, 0.5, 0.6])  # what it said stays


def test_soft_suppression_takes_another_teachers_nearest_box_for_the_same_object():
    two = says((1, 0, 11, 10, 0.7, 0), (2, 0, 12, 10, 0.6, 0))
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0)), two], "soft_nms", 0.5)
    assert merged.boxes.xyxy[:, 0].tolist() == [0, 2]
    assert merged.boxes.score.tolist() == pytest.approx([0.8, 0.6 * 4 / 12])
    assert merged.agreement.tolist() == [1, 0.5]
    assert merged.teacher_score[0].tolist() == pytest.approx([0.8, 0.7])


def test_soft_suppression_leaves_nothing_of_an_exact_repeat():
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 10, 0.6, 0))], "soft_nms", 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("method", ["nms", "nmm", "soft_nms"])
def test_of_two_boxes_the_weightier_is_the_better(method):
    merged = merge(AB, [says((0, 0, 10, 10, 0.8, 0)), says((1, 0, 11, 10, 0.5, 0), weight=2)], method, 0.5)
    assert merged.boxes.score.tolist() == pytest.approx([0.5])


def test_a_weight_can_differ_by_class():
    both = [(0, 0, 10, 10, 0.8, 0), (0, 0, 10, 10, 0.8, 1)]
    merged = merge(AB, [says(*both, weight=(3.0, 1.0)), says()], "wbf", 0.5)
    assert merged.boxes.label.tolist() == [0, 1]
    assert merged.boxes.score.tolist() == pytest.approx([0.6, 0.4])


def test_all_boxes_of_a_cluster_count_where_repeats_are_to():
    twice = says((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 10, 0.2, 0))
    assert merge(AB, [twice, says()], "wbf", 0.5, "all").boxes.score.tolist() == pytest.approx([0.5])
    assert merge(AB, [twice, says(able=(False, True))], "wbf", 0.5, "all").boxes.score.tolist() == pytest.approx([0.8])


def test_equally_loud_boxes_are_taken_by_place_not_by_row():
    rows = [(3, 0, 13, 10, 0.5, 0), (0, 0, 10, 10, 0.5, 0)]
    for order in (rows, rows[::-1]):
        assert merge(AB, [says(*order)], "nms", 0.5).boxes.xyxy[:, 0].tolist() == [0]
