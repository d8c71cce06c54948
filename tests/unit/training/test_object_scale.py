"""How much larger objects are away from home, from the sides of boxes by hand."""

import numpy as np
import pytest

from da_kd.training.object_scale import ratio_of, size_for


def sides(**classes):
    return {name: np.array(values, np.float32) for name, values in classes.items()}


def test_the_ratio_is_the_median_over_boxes_of_side_by_the_class_own_median_at_home():
    home = sides(cell=[0.1, 0.1, 0.3], dot=[0.01, 0.02, 0.03])
    away = sides(cell=[0.15] * 15, dot=[0.04] * 9)  # 1.5 times as large, 15 boxes; twice, 9 boxes
    assert ratio_of(home, away) == pytest.approx(1.5)


def test_another_mixture_of_classes_is_no_other_scale():
    home = sides(cell=[0.1] * 90, dot=[0.02] * 10)
    assert ratio_of(home, sides(cell=[0.1] * 10, dot=[0.02] * 90)) == pytest.approx(1.0)


def test_a_few_boxes_or_a_class_nobody_knows_tell_nothing():
    home = sides(cell=[0.1] * 10, rare=[0.1, 0.1])
    assert ratio_of(home, sides(cell=[0.2] * 19)) is None
    assert ratio_of(home, sides(cell=[0.2] * 20)) == pytest.approx(2.0)
    assert ratio_of(home, sides(rare=[0.2] * 50)) is None
    assert ratio_of(home, sides(other=[0.2] * 50)) is None
    assert ratio_of({}, {}) is None


@pytest.mark.parametrize(("ratio", "size"), [(1.0, 320), (1.32, 256), (1.4, 224), (0.5, 640), (100.0, 32)])
def test_larger_objects_want_a_smaller_input_in_steps_of_32(ratio, size):
    assert size_for(320, ratio) == size
