"""Box arithmetic: properties on random boxes, and torchvision as the oracle of suppression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.boxes import area, clip, iou, nms

EASY = settings(max_examples=60, deadline=None)


@st.composite
def boxes(draw, most=12, least=0):
    """(N, 4) float32 boxes, some without area."""
    count = draw(st.integers(least, most))
    numbers = st.floats(0, 1000, width=32, allow_subnormal=False)
    rows = [[draw(numbers) for _ in range(4)] for _ in range(count)]
    corners = np.array(rows, np.float32).reshape(-1, 4)
    return np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], axis=1
    )


@st.composite
def crowd(draw):
    """Overlapping boxes on a coarse grid with distinct scores and two classes."""
    count = draw(st.integers(1, 25))
    place = draw(st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=count, max_size=count))
    xyxy = np.array([[x, y, x + 1 + w, y + 1 + h] for x, y, w, h in place], np.float32)
    score = np.array(draw(st.permutations(range(1, count + 1))), np.float32) / 100
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    return xyxy, score, label


def test_overlap_of_boxes_worked_out_by_hand():
    a = np.array([[0, 0, 4, 4], [0, 0, 2, 2]], np.float32)
    b = np.array([[2, 2, 6, 6], [0, 0, 4, 2], [10, 10, 12, 12], [1, 1, 1, 3]], np.float32)
    assert iou(a, b) == pytest.approx(np.array([[4 / 28, 8 / 16, 0, 0], [0, 4 / 8, 0, 0]]))
    assert area(b).tolist() == [16, 8, 4, 0]


@given(boxes(), boxes())
@EASY
def test_overlap_is_symmetric_and_a_share(a, b):
    there, back = iou(a, b), iou(b, a)
    assert there.shape == (len(a), len(b))
    assert np.array_equal(there, back.T)
    assert not np.isnan(there).any()
    assert (there >= 0).all()
    assert (there <= 1 + 1e-6).all()


@given(boxes(least=1))
@EASY
def test_a_box_overlaps_itself_fully_unless_it_has_no_area(xyxy):
    itself = np.diag(iou(xyxy, xyxy))
    assert np.array_equal(itself, (area(xyxy) > 0).astype(itself.dtype))


@given(boxes(), st.integers(1, 300), st.integers(1, 300))
@EASY
def test_clipped_boxes_lie_in_the_image_and_stay_where_they_did(xyxy, width, height):
    cut = clip(xyxy, width, height)
    assert (cut >= 0).all()
    assert (cut[:, 0::2] <= width).all()
    assert (cut[:, 1::2] <= height).all()
    assert (cut[:, :2] <= cut[:, 2:]).all()
    inside = (xyxy[:, 2] <= width) & (xyxy[:, 3] <= height)
    assert np.array_equal(cut[inside], xyxy[inside])
    assert cut.dtype == xyxy.dtype


@given(crowd(), st.sampled_from([0.0, 0.3, 0.5, 0.7]), st.randoms(use_true_random=False))
@EASY
def test_suppression_does_not_depend_on_the_order_of_the_boxes(given_boxes, threshold, random):
    xyxy, score, label = given_boxes
    kept = nms(xyxy, score, label, threshold)
    order = list(range(len(score)))
    random.shuffle(order)
    again = nms(xyxy[order], score[order], label[order], threshold)
    assert [order[i] for i in again] == kept.tolist()
    assert (np.diff(score[kept]) < 0).all()  # the best first


@given(crowd(), st.sampled_from([0.0, 0.3, 0.5, 0.7]))
@EASY
def test_what_suppression_leaves_does_not_overlap_and_covers_the_rest(given_boxes, threshold):
    xyxy, score, label = given_boxes
    kept = nms(xyxy, score, label, threshold)
    overlap = iou(xyxy, xyxy[kept])
    same = label[:, None] == label[kept][None, :]
    for row in range(len(score)):
        better = same[row] & (overlap[row] > threshold) & (score[kept] > score[row])
        assert better.any() == (row not in kept)  # dropped if, and only if, a better kept box is in its way


def test_suppression_of_ties_keeps_the_earlier_box_and_of_nothing_nothing():
    xyxy = np.array([[0, 0, 9, 9], [0, 0, 9, 9]], np.float32)
    kept = nms(xyxy, np.array([0.5, 0.5], np.float32), np.zeros(2, int), 0.5)
    assert kept.tolist() == [0]
    nothing = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), 0.5)
    assert (nothing.shape, nothing.dtype) == ((0,), np.int64)


def test_suppression_agrees_with_torchvision():
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms

    random = np.random.default_rng(0)
    for _ in range(20):
        count = int(random.integers(1, 120))
        corner = random.uniform(0, 100, (count, 2))
        xyxy = np.concatenate([corner, corner + random.uniform(5, 60, (count, 2))], axis=1).astype(np.float32)
        score = random.permutation(np.linspace(0.01, 0.99, count)).astype(np.float32)
        label = random.integers(0, 3, count)
        ours = nms(xyxy, score, label, 0.5)
        theirs = batched_nms(torch.from_numpy(xyxy), torch.from_numpy(score), torch.from_numpy(label), 0.5)
        assert ours.tolist() == theirs.tolist()
