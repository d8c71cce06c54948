"""Letterboxing by hand: where pixels go, and that boxes come back to where they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.offline import settle_ultralytics
from da_kd.teachers.geometry import corners, groups, letterbox

SIDE = st.integers(1, 700)


@pytest.mark.parametrize(
    ("source", "target", "mode", "inner", "offset"),
    [
        ((97, 61), (160, 160), "center", (160, 101), (0, 29)),  # 61 * 160/97 = 100.6; (160 - 101) / 2 = 29.5, down
        ((61, 97), (160, 160), "center", (101, 160), (29, 0)),
        ((333, 127), (640, 640), "center", (640, 244), (0, 198)),  # 127 * 640/333 = 244.08
        ((3000, 1), (64, 64), "center", (64, 1), (0, 31)),  # never thinner than a pixel
        ((97, 61), (416, 416), "top_left", (416, 261), (0, 0)),  # 61 * 416/97 = 261.6, cut
        ((61, 97), (416, 416), "top_left", (261, 416), (0, 0)),
        ((1, 3000), (64, 64), "top_left", (1, 64), (0, 0)),
        ((97, 61), (160, 96), "stretch", (160, 96), (0, 0)),
        ((160, 160), (160, 160), "center", (160, 160), (0, 0)),
    ],
)
def test_odd_sizes_by_hand(source, target, mode, inner, offset):
    box = letterbox(source, target, mode)
    assert (box.inner, box.offset) == (inner, offset)


def test_boxes_come_back_by_hand():
    box = letterbox((97, 61), (160, 160), "center")
    back = box.back(np.array([[0, 29, 160, 130], [80, 79.5, 240, 200], [-9, -9, -1, -1]]))
    expected = [[0, 0, 97, 61], [48.5, 50.5 * 61 / 101, 97, 61], [0, 0, 0, 0]]
    assert back == pytest.approx(np.array(expected), abs=1e-4)
    assert back.dtype == np.float32


def test_pixels_are_padded_where_the_numbers_say():
    pixels = np.full((61, 97, 3), 200, np.uint8)
    center = letterbox((97, 61), (160, 160)).apply(pixels)
    assert center.shape == (160, 160, 3)
    assert (center[29:130] == 200).all()
    assert (center[:29] == 114).all()
    assert (center[130:] == 114).all()
    corner = letterbox((97, 61), (160, 160), "top_left").apply(pixels, fill=0)
    assert (corner[:100] == 200).all()
    assert (corner[100:] == 0).all()


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (333, 127), (500, 333), (31, 31), (641, 479)])
def test_the_same_pixels_as_ultralytics(size, photo):
    settle_ultralytics()
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.ops import scale_boxes

    pixels = photo(*size).pixels
    box = letterbox(size, (160, 160))
    assert np.array_equal(box.apply(pixels), LetterBox((160, 160), auto=False)(image=pixels))
    there = np.array([[10.25, 40.5, 150.75, 100.25], [-5, 0, 170, 160]], np.float32)
    theirs = scale_boxes((160, 160), there.copy(), (size[1], size[0]))
    assert box.back(there) == pytest.approx(theirs, abs=1e-3)


@given(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE), st.sampled_from(["center", "top_left", "stretch"]))
def test_the_corners_of_an_image_always_come_back(source, target, mode):
    box = letterbox(source, target, mode)
    (left, top), (width, height) = box.offset, box.inner
    assert left >= 0
    assert top >= 0
    assert left + width <= target[0]
    assert top + height <= target[1]
    back = box.back(np.array([[left, top, left + width, top + height]]))
    assert back == pytest.approx(np.array([[0, 0, *source]]), rel=1e-6)


def test_corners_and_groups():
    assert corners(np.array([[10, 20, 4, 6]])).tolist() == [[8, 17, 12, 23]]
    assert groups(["a", "b", "a"]) == [[0, 2], [1]]
    assert groups([]) == []
