import inspect
import json

import pytest

from da_kd import errors
from da_kd.errors import Cancelled, DaKdError, RecipeError
from da_kd.events import Event, Figures, Job, Note, Progress, StageDone, StageStarted

TREE = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, Exception)]


def test_the_tree_in_the_docstring_is_the_tree():
    for item in TREE:
        assert item.__name__ in errors.__doc__
        assert issubclass(item, DaKdError)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("DaKdError", 1),
        ("InputError", 2),
        ("RecipeError", 2),
        ("DataError", 2),
        ("WeightsError", 2),
        ("SetupError", 2),
        ("Busy", 2),
        ("Paused", 3),
        ("Cancelled", 130),
    ],
)
def test_exit_codes_are_what_the_docstring_says(name, code):
    assert getattr(errors, name).exit_code == code
    assert len(TREE) == 9


def test_a_recipe_error_lists_every_problem():
    error = RecipeError(["a: wrong", "b: missing"], "x.yaml")
    assert str(error) == "x.yaml has 2 mistakes:\n  - a: wrong\n  - b: missing"
    assert error.problems == ("a: wrong", "b: missing")
    assert str(RecipeError(["a"])).startswith("the recipe has 1 mistake:")


@pytest.mark.parametrize(
    "event",
    [
        StageStarted("fuse", name="fuse", why="x"),
        StageDone("fuse", name="fuse", seconds=1.5, reused=True),
        Progress("fuse", "merging", 1, None),
        Figures("distill", "student", 3, {"loss": 0.5}),
        Note("fuse", level="warning", text="ä"),
    ],
)
def test_events_go_through_json(event):
    tree = json.loads(json.dumps(event.as_json()))
    kind = tree.pop("kind")
    assert kind == type(event).kind != Event.kind
    assert type(event)(**tree) == event


def test_a_job_without_ends_does_nothing():
    job = Job()
    job.note("x")
    job.warn("x")
    job.check()
    assert list(job.track(iter("ab"), "letters")) == ["a", "b"]


def test_tracking_reports_the_beginning_the_end_and_the_total_where_it_is_known():
    told: list[Progress] = []
    job = Job(told.append, stage="fuse")
    assert list(job.track([7, 8], "items", unit="images")) == [7, 8]
    assert {(e.stage, e.task, e.total, e.unit) for e in told} == {("fuse", "items", 2, "images")}
    assert [told[0].done, told[-1].done] == [0, 2]
    told.clear()
    assert list(job.track(iter([7]), "items")) == [7]
    assert [(e.done, e.total) for e in told] == [(0, None), (1, None)]


def test_tracking_stops_before_the_next_item_when_asked():
    seen: list[int] = []
    job = Job(cancelled=lambda: len(seen) == 2, stage="predict")

    def work():
        for item in job.track(range(5), "items"):
            seen.append(item)

    with pytest.raises(Cancelled, match="during predict; the same command goes on"):
        work()
    assert seen == [0, 1]
    with pytest.raises(Cancelled):
        next(Job(cancelled=lambda: True).track("ab", "letters"))


def test_a_job_is_named_and_heard_twice():
    first: list[Event] = []
    second: list[Event] = []
    job = Job(first.append, cancelled=lambda: True).also(second.append).named("fuse")
    job.note("hello")
    assert first == second
    assert first[0].stage == "fuse"
    with pytest.raises(Cancelled):
        job.check()


def test_a_mistake_of_several_lines_counts_once_and_is_indented():
    error = RecipeError(["the labels: found 2 mistakes\n  - a\n  - b", "other"], "my.yaml")
    assert str(error).splitlines() == [
        "my.yaml has 2 mistakes:",
        "  - the labels: found 2 mistakes",
        "      - a",
        "      - b",
        "  - other",
    ]
