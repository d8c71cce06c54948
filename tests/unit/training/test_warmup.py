"""How long the learning rate rises at first."""

import pytest

from da_kd.training import warmup_epochs


@pytest.mark.parametrize(
    ("epochs", "per_epoch", "wanted"),
    [
        (300, 500, 3.0),  # three epochs, as the library
        (20, 500, 2.0),  # a tenth where that is shorter
        (133, 9, 100 / 9),  # of a small set three epochs are next to nothing: 100 steps
        (53, 9, 5.3),  # but a tenth at most
    ],
)
def test_the_rate_rises_over_three_epochs_but_over_enough_steps_and_no_more_than_a_tenth(epochs, per_epoch, wanted):
    assert warmup_epochs(epochs, per_epoch) == pytest.approx(wanted)
