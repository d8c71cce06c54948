"""Box arithmetic: properties on random boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.boxes import area, clip, iou

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
