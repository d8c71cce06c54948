"""The rule of a scripted review."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.detections import DetectionTable, State
from da_kd.recipe import Accept
from da_kd.stages.review.rules import apply_rule


def table(score, agreement, state, protected) -> DetectionTable:
    count = len(score)
    return DetectionTable(
        *(("cell",), ("a.png",), ("00",), np.array([[100, 100]], np.int32), ("",), np.ones((1, 1), bool)),
        *(
            np.array([0, count]),
            np.zeros((count, 4), np.float32),
            np.array(score, np.float32),
            np.zeros(count, np.int32),
        ),
        *(np.array(state, np.int8), np.array(agreement, np.float32), np.array(protected, bool)),
    )


@given(st.data(), st.integers(0, 20), st.floats(0, 1), st.floats(0, 1))
def test_only_unprotected_kept_boxes_below_the_rule_change(data, count, score, agreement):
    def column(values):
        return data.draw(st.lists(values, min_size=count, max_size=count))

    unit = st.floats(0, 1, width=32)
    given_ = table(column(unit), column(unit), column(st.sampled_from(list(State))), column(st.booleans()))
    done = apply_rule(given_, Accept(score=score, agreement=agreement))
    for i in range(count):
        reaches = given_.score[i] >= np.float32(score) and given_.agreement[i] >= np.float32(agreement)
        free = given_.state[i] == State.KEPT and not given_.protected[i]
        assert done.state[i] == (State.UNCERTAIN if free and not reaches else given_.state[i])
    assert (done.protected == given_.protected).all()
    assert (done.score == given_.score).all()


@pytest.mark.parametrize("figure", [0.1, 0.3, 0.6, 0.7, 0.9])
def test_a_figure_that_is_just_reached_is_reached(figure):
    done = apply_rule(table([figure], [figure], [0], [False]), Accept(score=figure, agreement=figure))
    assert done.state.tolist() == [State.KEPT]
