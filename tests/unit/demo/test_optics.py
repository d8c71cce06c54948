from __future__ import annotations

import numpy as np
import pytest

from da_kd.demo.cells import Cell, paint
from da_kd.demo.optics import LABORATORIES, develop


@pytest.mark.parametrize("lab", LABORATORIES)
def test_the_picture_of_a_cell_lies_where_the_specimen_has_it(lab: str):
    laboratory = LABORATORIES[lab]
    um_per_px = laboratory.field_um / 192
    with_cell = paint([Cell("WBC", 18.0, 15.0, 6.5, ((0.05, 1.0),), look=3)], 192, um_per_px)
    empty = paint([], 192, um_per_px)
    pictures = [develop(s.stains, laboratory, np.random.default_rng(5)).astype(int) for s in (with_cell, empty)]
    change = np.abs(pictures[0] - pictures[1]).max(axis=-1)
    rows, columns = np.nonzero(change > 12)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(with_cell.boxes[0] - drawn).max() <= 2


@pytest.mark.parametrize("lab", LABORATORIES)
def test_an_empty_slide_shows_the_lamp(lab: str):
    laboratory = LABORATORIES[lab]
    picture = develop(np.zeros((96, 96, 4), np.float32), laboratory, np.random.default_rng(0))
    assert picture.dtype == np.uint8
    assert picture.shape == (96, 96, 3)
    expected = 255 * np.array(laboratory.lamp) ** (1 / 2.2)
    assert np.abs(picture.mean(axis=(0, 1)) - expected).max() < 20


def test_more_stain_is_darker_and_pictures_of_one_laboratory_vary():
    laboratory = LABORATORIES["lab_a"]
    thin, thick = (np.full((64, 64, 4), amount, np.float32) for amount in (0.2, 0.4))
    of = [develop(slide, laboratory, np.random.default_rng(1)).mean() for slide in (thin, thick)]
    assert of[1] < of[0] - 5
    means = [develop(thick, laboratory, np.random.default_rng(seed)).mean() for seed in range(8)]
    assert np.std(means) > 1.5
