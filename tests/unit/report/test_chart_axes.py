"""Axes and labels of charts that a reader would stumble over."""

from __future__ import annotations

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.stages.report import ReportFacts, charts


@pytest.mark.parametrize(("keep", "side"), [(0.5, "left"), (0.95, "right")])
def test_the_word_over_a_threshold_stays_inside_the_chart(keep, side):
    boxes = Detections(("cell",), np.zeros((1, 4)), np.array([0.5]), np.array([0]))
    pseudo = table_of(("cell",), [ImageRecord("a", "a", 9, 9)], {"a": boxes})
    chart = charts.scores(ReportFacts("", "", pseudo=pseudo, keep={"cell": keep}, drop={"cell": 0.1}), 0)
    assert chart is not None
    flags = {note["text"]: note["xanchor"] for note in chart["layout"]["annotations"]}
    assert flags == {"drop 0.10": "left", f"keep {keep:.2f}": side}


@pytest.mark.parametrize(
    ("drop", "keep", "raised"), [(0.03, 0.1, True), (0.85, 0.95, True), (0.1, 0.5, False), (0.3, 0.35, False)]
)
def test_the_words_over_two_thresholds_do_not_stand_on_each_other(drop, keep, raised):
    boxes = Detections(("cell",), np.zeros((1, 4)), np.array([0.5]), np.array([0]))
    pseudo = table_of(("cell",), [ImageRecord("a", "a", 9, 9)], {"a": boxes})
    chart = charts.scores(ReportFacts("", "", pseudo=pseudo, keep={"cell": keep}, drop={"cell": drop}), 0)
    assert chart is not None
    low, high = chart["layout"]["annotations"]
    assert (low.get("yshift", 0) > 0) == raised
    assert raised == (low["xanchor"] == high["xanchor"] and keep - drop < 0.25)
    assert chart["layout"]["margin"]["t"] >= 26 + low.get("yshift", 0)


@pytest.mark.parametrize(("count", "step"), [(3, 1), (30, None)])
def test_few_epochs_get_a_number_each(count, step):
    chart = charts.curve([{"epoch": at, "box_loss": 1.0} for at in range(1, count + 1)])
    assert chart is not None and chart["layout"]["xaxis"].get("dtick") == step
