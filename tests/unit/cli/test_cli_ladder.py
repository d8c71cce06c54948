"""The table at the end of a run: a column a class where these are few, a sentence where they are many."""

import pytest

from da_kd.cli.ladder import show_ladder
from da_kd.pipeline import RunMetrics
from da_kd.stages.evaluate.metrics import Metrics


def metrics(classes):
    found = Metrics(0.5, 0.75, 0.25, None, None, None, 0.5, dict.fromkeys(classes, 0.125))
    return RunMetrics({"student": found}, {}, {}, tuple(classes), 0, {}, {})


@pytest.mark.parametrize(("count", "columns"), [(3, True), (8, True), (9, False), (80, False)])
def test_many_classes_leave_the_figures_readable(capsys, count, columns):
    show_ladder(metrics([f"c{index}" for index in range(count)]))
    told = capsys.readouterr().out
    assert "0.500" in told and "0.750" in told and "0.250" in told
    assert ("c0" in told and "0.125" in told) == columns
    assert (f"metrics.json have the AP of each of the {count} classes" in told) != columns
