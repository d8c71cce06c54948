"""What a grid claims, held against figures that are known: it holds, in part, not, or is not shown."""

import numpy as np
import pytest

from da_kd.bench import claims
from da_kd.bench.claims import Shown, judge
from da_kd.bench.figures import tree_of
from da_kd.bench.grid import Claim
from da_kd.bench.page import page
from da_kd.bench.table import markdown
from da_kd.errors import RecipeError

SPREAD = np.linspace(-0.01, 0.01, 1001)  # of every difference, in the resamples


@pytest.fixture
def shown():
    """Return a table of rows with these APs; resamples of each differ, so that differences spread by about .01."""

    def make(aps, lines=None, per_class=None, recovered=None):
        rows = [
            {
                "name": name,
                "line": (lines or {}).get(name, (None, None))[0],
                "x": (lines or {}).get(name, (None, None))[1],
                "per_class": (per_class or {}).get(name, {}),
                "recovered": (recovered or {}).get(name),
            }
            for name in aps
        ]
        drawn = {
            name: (ap or 0) + (SPREAD if index % 2 else np.zeros(1001)) for index, (name, ap) in enumerate(aps.items())
        }
        classes = sorted({one for values in (per_class or {}).values() for one in values})
        points = sorted(((x, line, name) for name, (line, x) in (lines or {}).items()))
        by_line = {line: {x: name for x, own, name in points if own == line} for _, line, _ in points}
        return Shown(rows, aps, drawn, lambda name, one: drawn[name], classes, by_line)

    return make


def verdict(claim, shown):
    (told,) = judge([Claim(says="So it is.", **claim)], shown)
    return told["verdict"]


@pytest.mark.parametrize(
    ("own", "other", "margin", "said"),
    [
        (0.52, 0.50, 0.0, claims.HOLDS),
        (0.505, 0.50, 0.0, claims.BARELY),
        (0.495, 0.50, 0.0, claims.NEARLY),
        (0.48, 0.50, 0.0, claims.FAILS),
        (0.495, 0.50, 0.02, claims.HOLDS),
        (None, 0.50, 0.0, claims.NOT_SHOWN),
    ],
)
def test_a_row_beside_another(shown, own, other, margin, said):
    assert verdict({"row": "a", "not_below": ["b"], "margin": margin}, shown({"a": own, "b": other})) == said


def test_one_of_two_rows_is_in_part_and_a_row_that_lacks_is_not_shown(shown):
    there = shown({"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.6})
    assert verdict({"row": "a", "not_below": ["b", "d"]}, there) == claims.IN_PART
    assert verdict({"row": "a", "not_below": ["b", "elsewhere"]}, there) == claims.NOT_SHOWN
    assert verdict({"row": "elsewhere", "not_below": ["b"]}, there) == claims.NOT_SHOWN


def test_class_by_class_the_best_of_the_others_counts(shown):
    per_class = {"a": {"x": [0.5], "y": [0.5]}, "b": {"x": [0.4], "y": [0.0]}, "c": {"x": [None], "y": [0.6]}}
    (told,) = judge(
        [Claim(says="So it is.", row="a", not_below=["b", "c"], each_class=True)],
        shown({"a": 0.5, "b": 0.2, "c": 0.3}, per_class=per_class),
    )
    assert [one["what"] for one in told["found"]] == ["x, a less b", "y, a less c"]
    assert [one["value"] for one in told["found"]] == pytest.approx([0.1, -0.1])
    assert told["verdict"] == claims.IN_PART


def test_a_line_rises_or_stays_above_another_in_the_order_of_x(shown):
    lines = {"c": ("own", 3.0), "a": ("own", 1.0), "b": ("own", 2.0), "d": ("other", 2.0), "e": ("other", 9.0)}
    there = shown({"c": 0.5, "a": 0.3, "b": 0.4, "d": 0.45, "e": 0.9}, lines)
    assert verdict({"line": "own", "rises": True}, there) == claims.HOLDS
    (told,) = judge([Claim(says="So it is.", line="own", not_below_line="other", margin=0.01)], there)
    assert [one["what"] for one in told["found"]] == ["b less d"]
    assert told["verdict"] == claims.FAILS
    falls = shown({"c": 0.35, "a": 0.3, "b": 0.4}, {name: lines[name] for name in "cab"})
    assert verdict({"line": "own", "rises": True}, falls) == claims.IN_PART


def test_a_share_of_the_gap(shown):
    share = {"value": 0.56, "low": 0.52, "high": 0.59}
    there = shown({"a": 0.5}, recovered={"a": share})
    assert verdict({"row": "a", "recovers": 0.5}, there) == claims.HOLDS
    assert verdict({"row": "a", "recovers": 0.8}, there) == claims.FAILS
    assert verdict({"row": "a", "recovers": 0.8}, shown({"a": 0.5})) == claims.NOT_SHOWN


def test_a_claim_whose_figures_have_no_interval_is_not_sure(shown):
    share = {"value": 0.9, "low": None, "high": None}
    assert verdict({"row": "a", "recovers": 0.8}, shown({"a": 0.5}, recovered={"a": share})) == claims.BARELY
    assert verdict({"row": "a", "recovers": 0.95}, shown({"a": 0.5}, recovered={"a": share})) == claims.FAILS


def test_a_class_that_no_row_has_a_figure_for_is_left_out(shown):
    per_class = {"a": {"x": [0.5], "y": [None]}, "b": {"x": [0.4], "y": [None]}}
    there = shown({"a": 0.5, "b": 0.2}, per_class=per_class)
    (told,) = judge([Claim(says="So it is.", row="a", not_below=["b"], each_class=True)], there)
    assert [one["what"] for one in told["found"]] == ["x, a less b"]


def test_a_line_of_which_a_point_was_not_made_is_not_shown(shown):
    lines = {"a": ("own", 1.0), "b": ("own", 2.0), "c": ("own", 3.0), "d": ("other", 1.0)}
    assert verdict({"line": "own", "rises": True}, shown({"a": 0.3, "c": 0.5, "d": 0.1}, lines)) == claims.NOT_SHOWN
    missing = shown({"a": 0.3, "b": 0.4, "c": 0.5}, lines)
    assert verdict({"line": "own", "rises": True}, missing) == claims.HOLDS
    assert verdict({"line": "own", "not_below_line": "other"}, missing) == claims.NOT_SHOWN


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ({"row": "student"}, "expected 'row' with 'not_below' or with 'recovers'"),
        ({"row": "student", "line": "x", "rises": True}, "expected 'row' with 'not_below'"),
        ({"row": "student", "rises": True}, "expected 'row' with 'not_below'"),
        ({"row": "student", "not_below": ["nobody"]}, "claims.0.not_below.0: expected the name of a row"),
        ({"row": "nobody", "not_below": ["student"]}, "claims.0.row: expected the name of a row"),
        ({"row": "student", "recovers": 0.8}, "claims.0.recovers: expected a 'gap'"),
        ({"line": "nowhere", "rises": True}, "claims.0: expected the name of a line"),
        ({"row": "student", "recovers": 0.8, "each_class": True}, "'each_class' says how rows are compared"),
    ],
)
def test_a_claim_that_asks_nothing_or_of_nobody_is_refused(grid, claim, why):
    with pytest.raises(RecipeError, match=why):
        grid(claims=[{"says": "So it is.", **claim}])


def test_the_table_and_the_page_say_what_holds(grid, cells, finished):
    asked = {
        "gap": {"low": "source", "high": "oracle"},
        "claims": [
            {"says": "Labels are optional.", "row": "student", "recovers": 0.8},
            {"says": "The oracle is above.", "row": "oracle", "not_below": ["student"], "each_class": True},
        ],
    }
    found = cells(**asked)
    for cell in found:
        finished(cell, {"source": 0.2, "student": 0.4, "oracle": 0.9}[cell.row.name])
    tree = tree_of(grid(**asked).grid, found, final=False)
    assert [one["verdict"] for one in tree["claims"]] == [claims.FAILS, claims.HOLDS]
    assert len(tree["claims"][1]["found"]) == 3
    assert "Labels are optional. Does not hold: recovered by student 29% [" in markdown(tree)
    told = page([{**tree, "command": "", "seconds": 1, "sittings": [], "versions": {}}], {}, "make it")
    assert "## What holds, and what does not" in told
    assert "| Labels are optional. | **does not hold** | recovered by student 29% [" in told
    assert "], wanted at least 80% | [table (development images)](#table-development-images) |" in told


def test_a_share_of_no_gap_is_told_so(grid, cells, finished):
    asked = {
        "gap": {"low": "source", "high": "oracle"},
        "claims": [{"says": "Labels are optional.", "row": "student", "recovers": 0.8}],
    }
    found = cells(**asked)
    for cell in found:
        finished(cell, {"source": 0.4, "student": 0.5, "oracle": 0.4}[cell.row.name])
    told = markdown(tree_of(grid(**asked).grid, found, final=False))
    assert "Labels are optional. Not shown: recovered by student: there is no gap." in told


def test_the_mark_of_the_defaults_and_the_gap_are_frozen_too(grid):
    rows = [
        {"name": "low", "model": "source_only"},
        {"name": "a", "model": "student"},
        {"name": "b", "model": "student", "defaults": True},
    ]
    moved = [rows[0], {**rows[1], "defaults": True}, {**rows[2], "defaults": False}]
    assert grid(rows).choices() != grid(moved).choices()
    assert grid(rows).choices() != grid(rows, gap={"low": "low", "high": "a"}).choices()


def test_what_a_claim_asks_is_frozen_and_its_words_are_not(grid):
    def hash_of(**claim):
        return grid(claims=[{"says": "So it is.", "row": "student", "not_below": ["source"], **claim}]).choices()

    assert hash_of() == hash_of(says="In other words.")
    assert len({hash_of(), hash_of(margin=0.5), hash_of(not_below=["oracle"]), grid().choices()}) == 4
    assert grid(seeds=[0, 1, 2, 3]).choices() == grid().choices()  # a close claim gets more seeds
