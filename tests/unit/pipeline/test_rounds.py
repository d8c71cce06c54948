import pytest

from da_kd.errors import RecipeError
from da_kd.pipeline.steps import first, rows


def names(steps):
    return [name for name in steps if not name.startswith(("evaluate:", "teach:"))]


def test_a_student_joins_the_teachers_in_the_next_round(recipe, steps):
    made = steps(recipe("rounds=2"))
    assert names(made) == [
        *("predict:one", "predict:own", "predict:own:source", "fuse@1", "review@1", "student@1"),
        *("predict:student-1", "predict:student-1:source", "fuse", "review", "student"),
        *("finetuned", "source_only", "oracle"),
    ]
    assert {"predict:one", "predict:own", "predict:student-1"} <= set(made["fuse"].output.parts)
    assert "predict:student-1" not in made["fuse@1"].output.parts


def test_a_student_can_replace_the_teachers(recipe, steps):
    made = steps(recipe("rounds.count=3", "rounds.student=replaces"))
    labelled_by = {name: [part for part in made[name].output.parts if part.count(":") == 1] for name in made}
    assert labelled_by["fuse@2"] == ["predict:student-1"]
    assert labelled_by["fuse"] == ["predict:student-2"]


def test_the_first_round_is_the_same_however_many_follow(recipe, steps):
    one, three = steps(recipe()), steps(recipe("rounds=3"))
    for name in ("fuse", "review", "student"):
        assert one[name].output.fingerprint == three[f"{name}@1"].output.fingerprint
        assert one[name].output.fingerprint != three[name].output.fingerprint


def test_a_later_student_starts_like_the_first_or_from_it(recipe, steps):
    again = steps(recipe("rounds=2", "distill.init=source"))["student"].output.parts
    previous = steps(recipe("rounds.count=2", "distill.init=source", "rounds.init=previous"))
    assert "source_only" in again
    assert "student" not in again
    assert previous["student"].output.parts["student"] == previous["student@1"].output.fingerprint
    assert "source_only" not in previous["student"].output.parts


def test_fine_tuning_and_the_ladder_take_the_last_student(recipe, steps):
    made, given = steps(recipe("rounds=2")), recipe("rounds=2")
    assert made["finetuned"].output.parts["student"] == made["student"].output.fingerprint
    assert rows(given) == (
        *("source_only", "teacher:one", "teacher:own", "student@1", "student", "finetuned", "oracle"),
    )
    assert "evaluate:student@1" in made


def test_a_person_reviews_the_first_round(recipe, steps):
    assert first(steps(recipe("rounds=2")), "review") == "review@1"
    assert first(steps(recipe()), "review") == "review"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (("rounds=2", "distill=null", "finetune=null"), "rounds: need a student"),
        (("rounds=2", "review.mode=simulate"), "rounds: a simulated review is spent in one round"),
        (("rounds=0",), "rounds.count"),
    ],
)
def test_what_stands_in_the_way_of_rounds_is_said(recipe, changes, found):
    with pytest.raises(RecipeError, match=found):
        recipe(*changes)
