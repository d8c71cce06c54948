"""A restyled source: which trainings see it, which do not, and how it counts."""

import pytest

from da_kd.errors import RecipeError
from da_kd.pipeline.steps import lineage

RESTYLE = "restyle={copies: 2}"
ORDERS = ("[RBC, WBC]", "[WBC, RBC]")
FROM_SOURCE = "distill.init=source"


def prints(made):
    return {name: step.output.fingerprint for name, step in made.items()}


def test_teachers_and_the_students_start_see_it_and_the_baselines_do_not(recipe, steps):
    plain, made = steps(recipe(FROM_SOURCE)), steps(recipe(FROM_SOURCE, RESTYLE))
    assert set(made) - set(plain) == {"restyle", "warm_start", "evaluate:warm_start"}
    same = {name for name in plain if prints(plain)[name] == prints(made)[name]}
    assert {"source_only", "oracle", "predict:one", "evaluate:source_only"} <= same
    assert not {"teach:own", "predict:own", "fuse", "student", "finetuned"} & same
    assert "source_only" not in lineage(made, "student")
    assert {"restyle", "warm_start"} <= set(lineage(made, "student"))
    order = list(made)
    assert order.index("restyle") < order.index("teach:own") < order.index("warm_start") < order.index("student")


def test_an_adapted_start_is_that_of_the_restyled_source(recipe, steps):
    made = steps(recipe(FROM_SOURCE, RESTYLE, "distill.adapt=batch_norm"))
    assert made["adapted_start"].output.parts["warm_start"] == made["warm_start"].output.fingerprint
    assert list(made).index("warm_start") < list(made).index("adapted_start") < list(made).index("student")


def test_source_images_that_are_mixed_in_are_restyled_ones(recipe, steps):
    for change, row in (("distill.mix.source=0.5", "student"), ("finetune.mix.source=0.5", "finetuned")):
        assert "restyle" in steps(recipe(RESTYLE, change))[row].output.parts
        assert "restyle" not in steps(recipe(change))[row].output.parts


def test_a_comparison_that_goes_on_from_the_source_alone_stays_that(recipe, steps):
    made = steps(recipe(RESTYLE, FROM_SOURCE, "finetune.init=source"))
    assert "restyle" not in lineage(made, "finetuned")


def test_seed_copies_source_and_target_decide_the_copies(recipe, steps):
    old = prints(steps(recipe(RESTYLE)))["restyle"]
    changes = (
        "restyle.copies=3",
        "restyle.turn=true",
        "seed=1",
        "data.source.fraction=0.5",
        "data.target.fraction=0.5",
    )
    assert len({old, *(prints(steps(recipe(RESTYLE, change)))["restyle"] for change in changes)}) == 6
    assert prints(steps(recipe(RESTYLE, "restyle.turn=false")))["restyle"] == old
    assert prints(steps(recipe(RESTYLE, "teach.epochs=2")))["restyle"] == old


def test_steps_of_a_training_count_the_copies(recipe, steps):
    plain, made = (steps(recipe(FROM_SOURCE, "distill.batch=2", *more)) for more in ((), (RESTYLE,)))
    assert plain["source_only"].training_steps == 2  # an epoch of four images
    assert made["warm_start"].training_steps == 6  # of twelve


def test_there_must_be_a_source(recipe):
    with pytest.raises(RecipeError, match=r"restyle: recolours the images of 'data\.source'"):
        recipe(RESTYLE, "data.source=null")


def test_a_teacher_of_some_classes_is_shared_with_recipes_that_differ_in_the_others(recipe, steps):
    learns = {"own": "WBC", "two": "RBC"}.items()
    each = ", ".join(f"{{name: {name}, learns: [{label}], architecture: {{imgsz: 64}}}}" for name, label in learns)
    first, second = (steps(recipe(RESTYLE, f"teachers=[{each}]", f"classes={names}")) for names in ORDERS)
    assert first["restyle"].output.fingerprint != second["restyle"].output.fingerprint
    assert first["teach:own"].output.fingerprint == second["teach:own"].output.fingerprint
    assert {"restyle:own", "teach:own"} <= set(lineage(first, "student"))


def test_a_teacher_with_a_seed_of_its_own_is_shared_by_runs_of_all_seeds(recipe, steps):
    own = "teachers=[{name: own, seed: 3, architecture: {imgsz: 64}}]"
    made = [prints(steps(recipe(RESTYLE, own, f"seed={seed}")))["teach:own"] for seed in (0, 1, 3)]
    assert len(set(made)) == 1
    assert "restyle:own" not in steps(recipe(RESTYLE, own, "seed=3"))
