"""How long a table takes still, by what its outputs took elsewhere in the workspace."""

import pytest

from da_kd.bench.running import _Outlook


def test_what_rows_share_is_made_once_and_what_is_there_takes_no_time(cells, finished):
    one = {"name": "one", "model": "student"}
    first, _, twin, _ = cells([one, {**one, "name": "twin"}])
    alone = _Outlook([first])
    both = _Outlook([first, twin])
    assert alone.seconds([]) > 0
    assert both.seconds([]) == pytest.approx(alone.seconds([]))
    finished(first, 0.5)
    assert both.seconds([]) == alone.seconds([]) == 0


def test_outputs_are_expected_to_take_what_such_ones_took_before(cells, finished):
    first, second = cells([{"name": "one", "model": "source_only"}])
    outlook = _Outlook([second])
    guess = outlook.seconds([])
    finished(first, 0.5)  # written by hand, so next to no time
    assert outlook.seconds([]) == pytest.approx(guess)
    outlook.learn()
    assert 0 < outlook.seconds([]) < guess / 5
