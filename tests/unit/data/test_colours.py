"""Colours of images: measured, and given to another image."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.data.colours import Colours, colours_of, recoloured


def smooth(seed, low=60, high=200, size=(48, 64)):
    """Return a picture without fine detail, in a part of the range, so that no colour has to be cut off."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(low, high, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def test_of_a_flat_gray_image_the_lightness_is_known_and_nothing_is_spread():
    found = colours_of(np.full((8, 8, 3), 119, np.uint8))
    assert found.mean == pytest.approx([50.0, 0, 0], abs=0.2)  # gray 119 is the middle of CIELAB's lightness
    assert found.spread == pytest.approx([0, 0, 0], abs=1e-3)


def test_a_large_image_is_measured_on_a_small_copy_of_itself():
    small = smooth(1)
    large = cv2.resize(small, (1280, 960), interpolation=cv2.INTER_CUBIC)
    for measured, same in zip(colours_of(large), colours_of(small), strict=True):
        assert measured == pytest.approx(same, abs=1.0)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_recoloured_image_has_the_colours_it_was_given(first, second):
    wanted = colours_of(smooth(second, 100, 160))
    found = colours_of(recoloured(smooth(first, 100, 160), wanted))
    assert found.mean == pytest.approx(wanted.mean, abs=1.5)
    assert found.spread == pytest.approx(wanted.spread, abs=1.5)


def test_its_own_colours_leave_an_image_as_it_is():
    pixels = smooth(3)
    assert np.abs(recoloured(pixels, colours_of(pixels)).astype(int) - pixels).max() <= 1


def test_a_flat_image_is_moved_and_not_stretched():
    lent = Colours(np.array([70, 10, 5], np.float32), np.array([20, 5, 5], np.float32))
    made = recoloured(np.full((8, 8, 3), 119, np.uint8), lent)
    assert (made == made[0, 0]).all()
    assert colours_of(made).mean == pytest.approx(lent.mean, abs=1)


def test_what_rgb_cannot_show_is_cut_off():
    lent = Colours(np.array([120, 0, 0], np.float32), np.array([5, 0, 0], np.float32))
    assert (recoloured(smooth(4), lent) == 255).all()
