import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.detections import Detections
from da_kd.exporting.same import FLOOR, PLACE, SCORE, compare

NAMES = ("cat", "dog")


def found(*boxes):
    """Boxes as (x, y, width, height, score, label)."""
    rows = np.array(boxes, np.float32).reshape(-1, 6)
    xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    return Detections(NAMES, xyxy, rows[:, 4], rows[:, 5].astype(np.int32))


BOX = (10, 10, 100, 100, 0.8, 0)


def test_a_model_agrees_with_itself():
    said = compare([found(BOX, (50, 50, 20, 20, 0.3, 1)), found()], [found(BOX, (50, 50, 20, 20, 0.3, 1)), found()])
    assert said.same
    assert (said.images, said.boxes, said.alone, said.score, said.place) == (2, 4, 0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("other", "alone"),
    [
        (found(), 1),  # a box is missing
        (found(BOX, (50, 50, 20, 20, 0.3, 1)), 1),  # one too many
        (found((*BOX[:5], 1)), 2),  # another class
        (found((*BOX[:4], 0.8 + 2 * SCORE, 0)), 2),  # another score
        (found((15, 10, 100, 100, 0.8, 0)), 2),  # another place
    ],
)
def test_what_has_no_partner_is_counted_on_both_sides(other, alone):
    said = compare([found(BOX)], [other])
    assert said.alone == alone
    assert not said.same


def test_rounding_is_no_difference_and_is_told():
    said = compare([found(BOX)], [found((10.2, 10, 100, 100, 0.801, 0))])
    assert said.same
    assert said.score == pytest.approx(0.001, abs=1e-6)
    assert PLACE < said.place < 1


def test_a_box_at_the_floor_may_be_on_one_side_only():
    near = (200, 200, 50, 50, FLOOR + SCORE / 2, 0)
    assert compare([found(BOX, near)], [found(BOX)]).same
    assert not compare([found((10, 10, 50, 50, FLOOR + 2 * SCORE, 0))], [found()]).same


@pytest.mark.parametrize("rows", [(), ((10, 10, 50, 50, FLOOR + SCORE / 2, 0),)])
def test_where_nothing_was_compared_nobody_knows_whether_they_are_the_same(rows):
    said = compare([found(*rows)] * 8, [found()] * 8)
    assert not said.checked and not said.same
    assert str(said) == "not checked, since neither model finds a box in these 8 images"


def test_two_boxes_on_one_place_need_two_partners():
    assert compare([found(BOX, BOX)], [found(BOX)]).alone == 1
    assert compare([found(BOX, BOX)], [found(BOX, BOX)]).same


boxes = st.lists(
    st.tuples(
        *(st.floats(0, 50, width=32), st.floats(0, 50, width=32), st.floats(5, 50, width=32)),
        *(st.floats(5, 50, width=32), st.floats(0.125, 1, width=32), st.integers(0, 1)),
    ),
    max_size=6,
)


@given(boxes, st.randoms())
def test_the_order_of_boxes_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    said = compare([found(*rows)], [found(*shuffled)])
    assert (said.boxes, said.alone) == (2 * len(rows), 0)


def test_one_box_in_a_hundred_may_be_alone():
    many = [(float(x), 10.0, 8.0, 8.0, 0.5, 0) for x in range(0, 1000, 10)]
    assert compare([found(*many)], [found(*many[:-1])]).same
    assert not compare([found(*many)], [found(*many[:-3])]).same
