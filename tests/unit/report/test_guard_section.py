"""What the page says of the guard's verdict."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.events import Job
from da_kd.stages.report import ReportFacts
from da_kd.stages.report.page import render
from da_kd.stages.report.words import UNDEFINED

NAMES = ("cell", "<i>")


def line(name, verdict, reason=""):
    figures = {key: {"source": 0.5, "target": None} for key in ("rate", "score", "sure", "agreement")}
    return {"name": name, "verdict": verdict, "reason": reason, "labelled": 4.0, **figures}


@pytest.fixture
def facts():
    boxes = Detections(NAMES, np.array([[0, 0, 9, 9]]), np.array([0.9]), np.array([0]))
    verdict = {
        "compared_with": "source_val",
        "reasons": ["an image has <b> boxes"],
        "classes": [line("cell", "fine"), line("<i>", "lost", "0 kept")],
        "demoted": ["<i>"],
    }
    return ReportFacts("t", "c", pseudo=table_of(NAMES, [ImageRecord("a", "a", 9, 9)], {"a": boxes}), guard=verdict)


def test_the_page_shows_what_looks_broken_and_every_class(facts):
    page = render(facts, Job())
    assert "<h3>The guard</h3>" in page
    assert "data.source_val" in page
    assert "These labels look broken:</b> an image has &lt;b&gt; boxes." in page
    assert '<td title="">fine</td><td class="n">4.00</td><td class="n">0.50</td>' in page
    assert '<td title="0 kept">lost, not searched for</td>' in page


def test_the_page_says_that_there_was_nothing_to_compare_with(facts):
    alone = {**facts.guard, "compared_with": None, "reasons": [], "demoted": []}
    page = render(dataclasses.replace(facts, guard=alone), Job())
    assert "single classes cannot be judged" in page
    assert "do not look broken" in page
    assert '<td title="0 kept">lost</td>' in page


def test_a_guard_that_was_off_has_no_section(facts):
    assert "The guard" not in render(dataclasses.replace(facts, guard=None), Job())


def test_the_teachers_at_home_are_shown_with_a_dash_for_what_they_do_not_know(facts):
    home = {"one": {"AP": 0.5, "per_class": {"cell": 0.5}}, "two": {"AP": 0.25, "per_class": {"cell": 0.3, "<i>": 0.2}}}
    page = render(dataclasses.replace(facts, home=home), Job())
    assert "<h3>The teachers at home</h3>" in page
    line = page[page.index('<th scope="row">one</th>') :].partition("</tr>")[0]
    assert [cell.partition("<")[0] for cell in line.split('<td class="n">')[1:]] == ["0.500", "0.500", UNDEFINED]
    assert "The teachers at home" not in render(facts, Job())
