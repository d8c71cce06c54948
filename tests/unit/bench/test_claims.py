"""What a grid claims, held against figures that are known: it holds, in part, not, or is not shown."""

import numpy as np
import pytest

from da_kd.bench import claims
from da_kd.bench.claims import Shown, judge
from da_kd.bench.figures import tree_of
from da_kd.bench.grid import Claim
from da_kd.bench.page import page
from da_kd.bench.table import comparisons, markdown
from da_kd.errors import RecipeError

SPREAD = np.linspace(-0.01, 0.01, 1001)  # of every difference, in the resamples


@pytest.fixture
def shown():
    """Return a table of rows with these APs; resamples of each differ, so that differences spread by about .01."""

    def make(aps, lines=None, per_class=None, recovered=None, by_seed=None, stopped=None):
        rows = [
            {
                "name": name,
                "AP": (by_seed or {}).get(name, [ap]),
                "stopped": (stopped or {}).get(name, []),
                "line": (lines or {}).get(name, (None, None))[0],
                "x": (lines or {}).get(name, (None, None))[1],
                "per_class": (per_class or {}).get(name, {}),
                "recovered": (recovered or {}).get(name),
            }
            for name, ap in aps.items()
        ]
        drawn = {
            name: (ap or 0) + (SPREAD if index % 2 else np.zeros(1001)) for index, (name, ap) in enumerate(aps.items())
        }
        classes = sorted({one for values in (per_class or {}).values() for one in values})
        points = sorted(((x, line, name) for name, (line, x) in (lines or {}).items()))
        by_line = {line: {x: name for x, own, name in points if own == line} for _, line, _ in points}
        return Shown(rows, aps, drawn, lambda name, one: drawn[name], classes, by_line, ("low", "high"))

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


@pytest.mark.parametrize(
    ("own", "by_seed", "said"),
    [
        (0.52, [0.53, 0.51], claims.HOLDS),
        (0.52, [0.55, 0.49], claims.UNEVEN),
        (0.505, [0.52, 0.49], claims.BARELY),
        (0.48, [0.45, 0.51], claims.UNEVENLY_NOT),
        (0.48, [0.49, 0.47], claims.FAILS),
        (0.495, [0.51, 0.48], claims.NEARLY),
    ],
)
def test_seeds_that_disagree_make_no_sure_verdict(shown, own, by_seed, said):
    there = shown({"a": own, "b": 0.5}, by_seed={"a": by_seed, "b": [0.5, 0.5]})
    assert verdict({"row": "a", "not_below": ["b"]}, there) == said


def test_seeds_that_disagree_are_told(shown):
    there = shown({"a": 0.52, "b": 0.5}, by_seed={"a": [0.55, 0.49], "b": [0.5, 0.5]})
    (told,) = judge([Claim(says="So it is.", row="a", not_below=["b"])], there)
    assert comparisons(told).endswith(", by seed +0.050 -0.010")
    (told,) = judge([Claim(says="So it is.", row="a", not_below=["b"])], shown({"a": 0.52, "b": 0.5}))
    assert "by seed" not in comparisons(told)


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
    aps = {"low": 0.4, "a": 0.512, "high": 0.6}
    there = shown(aps, recovered={"a": share})
    assert verdict({"row": "a", "recovers": 0.5}, there) == claims.HOLDS
    assert verdict({"row": "a", "recovers": 0.8}, there) == claims.FAILS
    assert verdict({"row": "a", "recovers": 0.8}, shown(aps)) == claims.NOT_SHOWN
    del aps["high"]
    (told,) = judge([Claim(says="So it is.", row="a", recovers=0.8)], shown(aps, recovered={"a": share}))
    assert (told["verdict"], told["found"]) == (claims.NOT_SHOWN, [])  # a row is missing, which is not "no gap"


def test_a_share_of_a_gap_whose_oracle_was_not_done_is_told_to_be_at_most_that(shown):
    share = {"value": 0.56, "low": 0.52, "high": 0.59}
    stopped = {"high": [{"by_itself": True}, {"by_itself": False}]}
    there = shown({"low": 0.4, "a": 0.512, "high": 0.6}, recovered={"a": share}, stopped=stopped)
    (told,) = judge([Claim(says="So it is.", row="a", recovers=0.5)], there)
    assert told["verdict"] == f"{claims.HOLDS}, beside an oracle that may not be done"
    assert "at most, since the gap's upper end was still rising" in comparisons(told)


def test_a_claim_whose_figures_have_no_interval_is_not_sure(shown):
    there = shown({"low": 0.4, "a": 0.58, "high": 0.6}, recovered={"a": {"value": 0.9, "low": None, "high": None}})
    assert verdict({"row": "a", "recovers": 0.8}, there) == claims.BARELY
    assert verdict({"row": "a", "recovers": 0.95}, there) == claims.FAILS


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


def test_an_end_of_the_gap_recovers_nothing_of_it(grid):
    with pytest.raises(RecipeError, match=r"claims.0.row: expected a row between the ends of 'gap'; found 'oracle'"):
        grid(gap={"low": "source", "high": "oracle"}, claims=[{"says": "So.", "row": "oracle", "recovers": 0.8}])


def test_a_seed_whose_images_hold_no_object_of_a_class_says_nothing_of_it(shown):
    per_class = {"a": {"x": [0.8, None]}, "b": {"x": [0.6, None]}}
    there = shown({"a": 0.8, "b": 0.6}, per_class=per_class)
    (told,) = judge([Claim(says="So it is.", row="a", not_below=["b"], each_class=True)], there)
    assert told["found"][0]["value"] == pytest.approx(0.2)
    assert told["found"][0]["by_seed"] == [pytest.approx(0.2), None]


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
    assert "at most" in markdown(tree)  # the oracle took the last epoch it was allowed
    told = page([{**tree, "command": "", "seconds": 1, "sittings": [], "versions": {}}], {}, "make it")
    assert "## What holds, and what does not" in told
    assert "| Labels are optional. | **does not hold** | recovered by student 29% [" in told
    assert "rising | [table (development images)](#table-development-images) |" in told


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


def test_what_a_row_is_judged_by_is_frozen_too(grid):
    rows = [
        {"name": "low", "model": "source_only"},
        {"name": "a", "model": "student", "line": "own", "x": 1},
        {"name": "b", "model": "oracle", "line": "own", "x": 2},
    ]

    def hash_of(place, **change):
        return grid([{**row, **change} if at == place else row for at, row in enumerate(rows)]).choices()

    changed = [
        hash_of(1, x=3), hash_of(1, line="other"), hash_of(2, steps="own"), hash_of(1, target_labels="none"),
        grid(rows, reference="a").choices(), grid(rows).choices(),
    ]  # fmt: skip
    assert len(set(changed)) == len(changed)
    assert hash_of(1, note="In other words.") == grid(rows).choices()


def test_what_a_claim_asks_is_frozen_and_its_words_are_not(grid):
    def hash_of(**claim):
        return grid(claims=[{"says": "So it is.", "row": "student", "not_below": ["source"], **claim}]).choices()

    assert hash_of() == hash_of(says="In other words.")
    assert len({hash_of(), hash_of(margin=0.5), hash_of(not_below=["oracle"]), grid().choices()}) == 4
    assert grid(seeds=[0, 1, 2, 3]).choices() == grid().choices()  # a close claim gets more seeds
