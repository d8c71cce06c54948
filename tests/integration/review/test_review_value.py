"""A student for every budget of a simulated reviewer: equal but for the labels, kept, and told in the report."""

import json
from pathlib import Path

import pytest

import da_kd
from da_kd.events import Job
from da_kd.pipeline import RunResult, build_steps, load_inputs
from da_kd.recipe import load_recipe
from da_kd.store import Store
from da_kd.training import read_result

RECIPES = Path(__file__).parents[3] / "recipes"
CHANGES = [
    *("review.mode=simulate", "review.simulate.budget=60", "review.simulate.budgets=[60]", "finetune=null"),
    *("teach.steps=60", "distill.steps=6", "evaluate.source_only=false", "evaluate.oracle=false"),
]
POINTS = [("queue", 0), ("queue", 60), ("random", 60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    recipe = load_recipe(RECIPES / "demo-tiny.yaml", CHANGES)
    return da_kd.run(recipe, tmp_path_factory.mktemp("runs") / "value")


def test_every_budget_in_both_orders_has_a_student_of_equal_steps(made):
    figures = json.loads((made.folder / "report" / "metrics.json").read_text())
    points = figures["review_value"]
    assert [(point["order"], point["budget"]) for point in points] == POINTS
    assert all(0 <= point["AP"] <= point["AP50"] <= 1 for point in points)
    assert points[0]["F1"] < points[1]["F1"]
    # The student of the run spent the same budget in the same order, and is the same.
    assert points[1]["AP"] == figures["models"]["student"]["AP"]
    students = {step.name: step.folder for step in made.steps if step.name.startswith("value:student")}
    assert len(students) == 3
    assert len({read_result(folder).steps for folder in students.values()}) == 1
    assert set(figures["models"]) == {"teacher:tiny", "student"}
    assert set(made.weights) == {"teach:tiny", "adapt:tiny", "student"}


def test_the_report_shows_the_points_and_no_curves_of_their_students(made):
    page = made.report.read_text(encoding="utf-8")
    assert "What the review is worth" in page
    assert page.count("random order</th>") == 1
    assert '"value-ap"' in page
    assert "value:student" not in page


def test_another_budget_makes_only_what_is_new(made):
    recipe = load_recipe(RECIPES / "demo-tiny.yaml", [*CHANGES, "review.simulate.budgets=[60,90]"])
    store = Store(made.folder.parent)
    steps = build_steps(recipe, load_inputs(recipe, store, Job()), store)
    open_ = [name for name, step in steps.items() if not store.finished(step.output)]
    assert open_ == [
        f"value:{what}:{order}:90" for what in ("review", "student", "score") for order in ("queue", "random")
    ]
