"""The average of the weights reaches back over a share of the training, however long that is."""

import pytest

from da_kd.training.averaging import decay_of


@pytest.mark.parametrize("steps", [20, 480, 5000, 19_000])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_at_the_end_it_reaches_back_over_the_share(share: float, steps: int) -> None:
    assert 1 / (1 - decay_of(share, steps)(steps)) == pytest.approx(share * steps)


@pytest.mark.parametrize("steps", [40_000, 1_000_000])
def test_it_never_reaches_back_farther_than_the_librarys_own(steps: int) -> None:
    decay = decay_of(0.25, steps)
    assert 1 / (1 - decay(steps)) == pytest.approx(10_000, rel=0.001)
    assert decay(1) < 0.001  # and its first steps are forgotten like any


def test_a_young_average_forgets_its_first_steps() -> None:
    decay = decay_of(0.25, 480)
    assert [round(decay(step), 3) for step in (1, 48, 240)] == [0.01, 0.381, 0.909]


@pytest.mark.parametrize(("share", "steps"), [(0.0, 480), (0.25, 3), (0.25, 4)])
def test_nothing_is_averaged_over_a_step_or_less(share: float, steps: int) -> None:
    assert decay_of(share, steps)(steps) == 0.0
