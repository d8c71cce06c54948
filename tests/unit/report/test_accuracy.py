"""Intervals, differences, curves, errors and confusions on the page: there where they are known, and rightly worded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from da_kd.events import Job
from da_kd.stages.report import ReportFacts, accuracy, charts
from da_kd.stages.report.page import render

ERRORS = ("class", "localisation", "both", "duplicate", "background", "missed")
EVIL = "<b>c</b>"


def model(ap: float, confusion: list) -> dict:
    return {
        **dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"), ap),
        "per_class": {"a": ap, "b": ap},
        "intervals": {"AP": [ap - 0.02, ap + 0.03], "AP50": None},
        "errors": {name: {"count": 1200 + i, "AP50": 0.01 * i} for i, name in enumerate(ERRORS)},
        "confusion": confusion,
    }


@pytest.fixture
def facts() -> ReportFacts:
    confusion = [["a", "a", 6], ["a", "b", 2], ["a", None, 2], ["b", EVIL, 1], [None, "a", 9], ["b", "b", 1]]
    both = {"AP": {"difference": 0.2, "interval": [0.15, 0.25]}, "AP50": {"difference": -0.01, "interval": None}}
    near = {"AP": {"difference": 0.01, "interval": [-0.01, 0.03]}, "AP50": {"difference": None, "interval": None}}
    return ReportFacts(
        "t",
        "c",
        {
            "models": {row: model(ap, confusion) for row, ap in (("teacher:t", 0.5), ("student", 0.6))},
            "differences": {"student": {"teacher:t": near, "source_only": both}},
            "classes": ["a", "b", EVIL],
        },
        precision={"student": {"a": [1.0, 0.5], "b": [0.5, 0.0]}, "teacher:t": {"a": [0.25, 0.25]}},
    )


def test_intervals_stand_at_the_bars_and_in_the_table(facts):
    bar = next(trace for trace in charts.ladder(facts)["data"] if trace.get("name") == "AP")
    assert bar["error_x"]["array"] == pytest.approx([0.03, 0.03])
    assert bar["error_x"]["arrayminus"] == pytest.approx([0.02, 0.02])
    assert "0.580 to 0.630" in render(facts, Job())


def test_without_intervals_there_are_no_whiskers_and_no_word_of_them(facts):
    for one in facts.models.values():
        del one["intervals"]
    assert not any(trace["error_x"]["visible"] for trace in charts.ladder(facts)["data"] if trace["type"] == "bar")
    page = render(facts, Job())
    assert "as whiskers" not in page and "0.580 to" not in page


def test_only_differences_that_leave_out_0_are_strong(facts):
    first, second = accuracy.differences(facts)
    assert first["name"] == "Student \N{MINUS SIGN} source-only"
    assert second["name"] == "Student \N{MINUS SIGN} teacher t"
    assert [cell["apart"] for cell in first["cells"]] == [True, False]
    assert first["cells"][0] == {"value": "+0.200", "ends": "+0.150 to +0.250", "apart": True}
    assert [cell["apart"] for cell in second["cells"]] == [False, False]
    assert second["cells"][1] == {"value": "\N{EN DASH}", "ends": "", "apart": False}
    assert render(facts, Job()).count('class="n apart"') == 1


def test_the_first_chart_is_the_mean_of_the_classes_and_the_others_are_theirs(facts):
    mean = {trace["name"]: trace["y"] for trace in accuracy.precision(facts)["data"]}
    assert mean == {"Student": [0.75, 0.25], "Teacher t": [0.25, 0.25]}
    assert [trace["name"] for trace in accuracy.precision(facts, "b")["data"]] == ["Student"]
    assert accuracy.classes_with_curves(facts) == ["a", "b"]
    assert accuracy.precision(facts, EVIL) is None


def test_one_class_has_one_chart_and_many_classes_have_some():
    one = ReportFacts("", "", {"classes": ["a"]}, precision={"student": {"a": [1.0]}})
    assert accuracy.classes_with_curves(one) == []
    names = [f"class {number}" for number in range(30)]
    many = ReportFacts("", "", {"classes": names}, precision={"student": dict.fromkeys(names, (1.0,))})
    assert accuracy.classes_with_curves(many) == names[: accuracy.MOST_CLASSES]
    assert f"of which the first {accuracy.MOST_CLASSES} have a chart" not in render(one, Job())


def test_errors_are_bars_and_a_table(facts):
    figure = accuracy.errors(facts)
    assert [trace["name"] for trace in figure["data"]] == ["Teacher t", "Student"]
    assert figure["data"][0]["y"] == [0.01 * i for i in range(6)]
    table = accuracy.error_table(facts)
    assert table["lines"]["Student"][5] == {"cost": "0.050", "count": "1\u202f205"}
    assert len(table["names"]) == 6


def test_confusions_are_the_last_students_and_the_most_frequent_come_first(facts):
    told = accuracy.confusions(facts)
    assert told["name"] == "Student"
    assert [(line["truth"], line["said"], line["count"]) for line in told["lines"]] == [
        ("a", "b", "2"),
        ("b", EVIL, "1"),
    ]
    assert told["lines"][0]["share"] == "20\xa0%"
    facts.models["student"]["confusion"] = [["a", "a", 3], [None, "b", 1]]
    assert "Where it finds an object, it names its class rightly" in render(facts, Job())


def test_a_model_that_finds_no_object_is_not_praised(facts):
    facts.models["student"]["confusion"] = [["a", None, 3], [None, "b", 1]]
    page = render(facts, Job())
    assert "Student: it finds no object from a score of 0.25 on." in page
    assert "names its class rightly" not in page


def test_what_an_old_run_does_not_know_is_not_shown():
    figures = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"), 0.5)
    old = ReportFacts("", "", {"models": {"student": {**figures, "per_class": {}}}, "classes": ["a", "b"]})
    assert accuracy.precision(old) is None and accuracy.errors(old) is None
    assert (accuracy.error_table(old), accuracy.confusions(old), accuracy.differences(old)) == ({}, {}, [])
    assert "There are no curves and no types of errors" in render(old, Job())


def test_charts_are_ones_that_plotly_knows_in_colours_of_the_style_sheet(facts):
    import plotly.graph_objects as go

    figures = [charts.ladder(facts), accuracy.precision(facts), accuracy.precision(facts, "a"), accuracy.errors(facts)]
    css = (Path(charts.__file__).parent / "page.css").read_text()
    for figure in figures:
        text = json.dumps(figure)
        assert all(f"{name}:" in css for name in re.findall(r'"(--[a-z0-9-]+)"', text))
        go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))
    assert EVIL not in render(facts, Job())
