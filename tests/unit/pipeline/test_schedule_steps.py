"""Mixed sets, scored epochs, adapted starts: the steps they make, what decides them, and what the report tells."""

import json

import pytest

from da_kd.errors import DataError, RecipeError
from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.steps import build_steps, for_rows
from da_kd.pipeline.used import labels_of_row, labels_of_trainings
from da_kd.store import Store

STUDENT = {"student", "finetuned", "evaluate:student", "evaluate:finetuned"}
FINETUNED = {"finetuned", "evaluate:finetuned"}
BASELINES = {"source_only", "oracle", "evaluate:source_only", "evaluate:oracle"}
DEV = "data.target_dev={path: labelled}"
VAL = "data.source_val={path: source}"
GIVEN = "teachers=[{name: one, kind: coco_file, weights: one.json, options: {images: list.json}}]"


def prints(steps):
    return {name: step.output.fingerprint for name, step in steps.items()}


def changed(old, new):
    return {name for name in old if prints(old)[name] != prints(new)[name]}


def test_keys_that_came_later_are_no_part_of_what_was_made_before(recipe, steps) -> None:
    made = steps(recipe())
    later = ("mix", "adapt", "validate_on", "patience", "augment", "source_steps")
    assert not [
        key for name in made for key in made[name].output.parts if key.split(".")[-1] in later or ".mix." in key
    ]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("distill.mix.source=0.5", STUDENT),
        ("distill.mix.target_labelled=1", STUDENT),
        ("finetune.mix.source=0.5", FINETUNED),
        ("finetune.mix.pseudo=0.5", FINETUNED),
        ("distill.augment=strong", STUDENT | BASELINES),
        ("distill.batch=auto", STUDENT | BASELINES),
        ("finetune.augment=none", FINETUNED),
        (
            "teach.mix.target_labelled=1",
            {"teach:own", "predict:own", "predict:own:source", "fuse", "review", "evaluate:teacher:own"} | STUDENT,
        ),
    ],
)
def test_a_key_makes_only_what_follows_from_it_again(recipe, steps, change, again) -> None:
    assert changed(steps(recipe()), steps(recipe(change))) == again


def test_what_is_mixed_in_decides_the_student(recipe, steps) -> None:
    mixed = "distill.mix={source: 1, target_labelled: 1}"
    old = steps(recipe(mixed))
    assert "student" in changed(old, steps(recipe(mixed, "data.source.fraction=0.5")))
    assert "student" in changed(old, steps(recipe(mixed, "data.target_labelled.fraction=0.5")))
    assert "student" not in changed(steps(recipe()), steps(recipe("data.target_labelled.fraction=0.5")))


def test_what_epochs_are_scored_on_decides_every_training_of_the_schedule(recipe, steps) -> None:
    old, new = steps(recipe(DEV)), steps(recipe(DEV, "distill.validate_on=target_dev"))
    assert changed(old, new) == STUDENT | BASELINES
    other = steps(recipe("data.target_dev={path: labelled, fraction: 0.5}", "distill.validate_on=target_dev"))
    assert changed(new, other) >= STUDENT | BASELINES
    assert "data.source_val" in steps(recipe(VAL, "teach.validate_on=source_val"))["teach:own"].output.parts


def test_epochs_cannot_be_scored_on_images_without_boxes(recipe, world, tmp_path) -> None:
    for path in (world / "data" / "labelled" / "labels").iterdir():
        path.write_text("")
    store, wanted = Store(tmp_path / "runs"), recipe(DEV, "finetune=null", "distill.validate_on=target_dev")
    with pytest.raises(DataError, match=r"data\.target_dev: expected boxes to validate on; found 4 images without any"):
        build_steps(wanted, load_inputs(wanted, store, Job()), store)


def test_the_start_is_adapted_between_its_training_and_the_students(recipe, steps) -> None:
    plain, made = steps(recipe("distill.init=source")), steps(recipe("distill.init=source", "distill.adapt=batch_norm"))
    order = list(made)
    assert order.index("source_only") < order.index("adapted_start") < order.index("student")
    assert changed(plain, made) == STUDENT
    assert made["student"].output.parts["adapted_start"] == made["adapted_start"].output.fingerprint
    assert made["adapted_start"].output.parts.keys() == {"distill.adapt", "data.target", "source_only"}


def test_a_start_of_another_length_is_a_training_of_its_own(recipe, steps) -> None:
    plain, made = steps(recipe("distill.init=source")), steps(recipe("distill.init=source", "distill.source_steps=3"))
    assert set(made) - set(plain) == {"warm_start", "evaluate:warm_start"}
    assert made["warm_start"].training_steps == 3
    assert prints(made)["source_only"] == prints(plain)["source_only"]
    assert made["student"].output.parts["warm_start"] == made["warm_start"].output.fingerprint
    assert "distill.source_steps" not in made["student"].output.parts
    assert set(steps(recipe("distill.source_steps=null"))) == set(steps(recipe()))


def test_a_start_that_is_the_same_as_source_only_is_made_before_the_student(recipe, steps) -> None:
    made = steps(recipe("distill={steps: 3, batch: 2, init: source, source_steps: 3}"))
    assert prints(made)["warm_start"] == prints(made)["source_only"]
    order = list(for_rows(made, ["student"]))
    assert order.index("warm_start") < order.index("student")
    assert "source_only" not in order  # it would come behind the student, and make nothing new


def test_a_teacher_that_sees_target_images_counts_them_as_steps(recipe, steps) -> None:
    made = steps(recipe("teach={epochs: 1, batch: 1, mix: {target_labelled: 0.5}}"))
    assert made["teach:own"].training_steps == 6  # four of the source, and two
    copies = steps(recipe("teach={epochs: 1, batch: 1, mix: {target_labelled: 0.5}}", "restyle={copies: 2}"))
    assert copies["teach:own"].training_steps == 18  # twelve, and six
    assert "data.target_labelled" in made["teach:own"].output.parts


def test_a_student_of_a_later_round_that_goes_on_is_not_adapted_again(recipe, steps) -> None:
    made = steps(recipe("distill.init=source", "distill.adapt=batch_norm", "rounds={count: 2, init: previous}"))
    assert "adapted_start" in made["student@1"].output.parts
    assert "adapted_start" not in made["student"].output.parts


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["distill.validate_on=source_val"], "distill.validate_on: needs 'data.source_val'"),
        (["finetune.validate_on=target_dev"], "finetune.validate_on: needs 'data.target_dev'"),
        (["distill.validate_on=test"], "distill.validate_on"),
        (["distill.patience=3"], "'patience' waits for a better score"),
        (["distill.args={patience: 3}"], "'patience' cannot be passed on: it is a key of the schedule itself"),
        (["distill.args={val: true}"], "or 'validate_on' says what images do"),
        (["distill.source_steps=3"], "'source_steps' is how long 'init: source' learns from the source"),
        (
            ["teachers.own.kind=torchvision", "teach.mix.target_labelled=1"],
            "teach.mix: needs teachers of kind 'ultraly",
        ),
        (["teachers.own.schedule={epochs: 1, mix: {target_labelled: -1}}"], "mix.target_labelled"),
        (["distill.adapt=batch_norm"], "distill.adapt: 'batch_norm' needs trained weights to begin with"),
        (["distill.mix.source=-1"], "distill.mix.source"),
        (["teachers.own.kind=torchvision", "teach.augment=strong"], "teach.augment: a torchvision teacher knows no"),
        (["teachers.own.kind=torchvision", "teach.batch=auto"], "teach.batch: 'auto' is for ultralytics' models"),
    ],
)
def test_what_a_schedule_cannot_be_is_a_mistake_of_the_recipe(recipe, changes, told) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(*changes)
    assert told in str(caught.value)


def test_a_mix_needs_its_set(recipe) -> None:
    tree = ["evaluate=null", "finetune=null", "data.target_labelled=null", "distill.mix.target_labelled=1"]
    with pytest.raises(RecipeError, match=r"distill\.mix\.target_labelled: needs 'data\.target_labelled'"):
        recipe(*tree)
    with pytest.raises(RecipeError, match=r"teach\.mix\.target_labelled: needs 'data\.target_labelled'"):
        recipe(*tree[:3], "evaluate=null", "teach.mix.target_labelled=1")


def test_target_labels_that_trainings_used_are_told(recipe, tmp_path) -> None:
    wanted = recipe(DEV, VAL, "distill.mix.target_labelled=1", "distill.validate_on=target_dev")
    wanted = wanted.model_copy(update={"teach": wanted.teach.model_copy(update={"validate_on": "source_val"})})
    sets = load_inputs(wanted, Store(tmp_path / "runs"), Job()).sets
    mix, home, dev = labels_of_trainings(wanted, sets)
    assert mix.startswith("Distill learned from the labels of 4 images of data.target_labelled beside")
    assert home == "Epochs of 'teach' were chosen by the labels of data.source_val (4 images)."
    assert "'distill'" in dev
    assert dev.endswith("data.target_dev (4 images); these are labels of the target domain.")
    assert labels_of_row("student", 4, wanted, sets) == f"{mix} {dev}"
    assert labels_of_row("source_only", 4, wanted, sets) == dev
    assert labels_of_row("student", 4, recipe(), sets).startswith("none to train on")
    assert labels_of_row("oracle", 4, wanted, sets) == f"trained on those of 4 images. {dev}"  # it has this schedule
    assert labels_of_row("oracle", 4, recipe(), sets) == "trained on those of 4 images"
    assert labels_of_trainings(recipe(), sets) == []
    (taught,) = labels_of_trainings(recipe("teach.mix.target_labelled=1"), sets)
    assert taught.startswith("Teacher 'own' learned from the labels of 4 images of data.target_labelled")
    assert labels_of_row("student", 4, recipe("teach.mix.target_labelled=1"), sets) == taught
    assert labels_of_row("teacher:own", 4, recipe("teach.mix.target_labelled=1"), sets) == taught
    assert labels_of_row("teacher:one", 4, recipe("teach.mix.target_labelled=1"), sets).startswith("none")


def test_target_labels_that_made_the_pseudo_labels_are_told_of_whoever_learned_from_those(recipe, tmp_path) -> None:
    (tmp_path / "thresholds.json").write_text(json.dumps({"labels": {"set": "target_dev", "images": 12}}))

    def told(row, *changes):
        return labels_of_row(row, 4, recipe("review.mode=simulate", *changes), {}, tmp_path)

    for row in ("student", "finetuned"):
        assert "thresholds by the labels of data.target_dev (12 images); these are labels of the target" in told(row)
        assert "Review was simulated with the labels of data.target_labelled" in told(row)
    own = "trained on those of 4 images"
    assert told("oracle") == told("finetuned", "finetune.init=source") == own
    assert told("source_only").startswith("none") and told("teacher:own").startswith("none")
    assert "simulated" in told("finetuned", "finetune={epochs: 1, init: source, mix: {pseudo: 1}}")


@pytest.mark.parametrize(
    ("schedule", "rows"),
    [
        ("teach", {"teacher:own", "student", "finetuned"}),
        ("teachers.own.schedule", {"teacher:own", "student", "finetuned"}),
        ("distill", {"source_only", "student", "finetuned", "oracle"}),
        ("finetune", {"finetuned"}),
        ("evaluate.oracle_schedule", {"oracle"}),
    ],
)
def test_epochs_that_target_labels_chose_are_told_of_the_rows_of_that_schedule(recipe, tmp_path, schedule, rows):
    wanted = recipe(DEV, f"{schedule}={{epochs: 1, validate_on: target_dev}}")
    sets = load_inputs(wanted, Store(tmp_path / "runs"), Job()).sets
    (epochs,) = labels_of_trainings(wanted, sets)
    assert epochs.startswith(f"Epochs of '{schedule.removesuffix('.schedule')}' were chosen")
    every = ("source_only", "teacher:one", "teacher:own", "student", "finetuned", "oracle")
    assert {row for row in every if epochs in labels_of_row(row, 4, wanted, sets)} == rows


@pytest.mark.parametrize(
    "changes",
    [
        ("teach={epochs: 1, validate_on: target_dev}", GIVEN),
        (GIVEN, "teachers.one.schedule={epochs: 1, validate_on: target_dev}"),
        ("evaluate={oracle: false, oracle_schedule: {epochs: 1, validate_on: target_dev}}",),
        (
            "evaluate={oracle_schedule: {epochs: 1, validate_on: target_dev}}",
            "data.target_labelled=null",
            "finetune=null",
        ),
    ],
)
def test_a_schedule_that_nothing_is_trained_by_used_no_labels(recipe, tmp_path, changes) -> None:
    wanted = recipe(DEV, *changes)
    assert labels_of_trainings(wanted, load_inputs(wanted, Store(tmp_path / "runs"), Job()).sets) == []


def test_what_goes_on_from_the_source_alone_tells_of_its_own_epochs(recipe, tmp_path) -> None:
    wanted = recipe(DEV, "finetune={epochs: 1, init: source, validate_on: target_dev}")
    sets = load_inputs(wanted, Store(tmp_path / "runs"), Job()).sets
    assert "Epochs of 'finetune' were chosen" in labels_of_row("finetuned", 4, wanted, sets)


def test_only_trainings_of_many_short_epochs_are_made_again_for_their_longer_warmup(recipe, steps) -> None:
    def again(*changes):
        made = steps(recipe(*changes))
        return {name for name, step in made.items() if step.training_steps and step.output.version > 1}

    assert again("distill.epochs=30", "finetune.epochs=30", "teach.epochs=30") == set()
    assert again("distill.epochs=31") == {"student", "source_only", "oracle"}
    assert again("finetune.epochs=31") == {"finetuned"}
    assert again("teach.epochs=31") == {"teach:own"}
    assert again("distill.epochs=31", "distill.args.warmup_epochs=3") == set()
    # Labelled images are left out of the others, so that epochs may be shorter than anybody plans.
    assert again("distill.mix.target_labelled=0.1") == again("distill.epochs=30", "distill.batch=auto") == set()
    steps_asked = "distill={steps: 1, mix: {target_labelled: 0.1}}"
    assert again(steps_asked) == {"student"}
    assert again("finetune={steps: 1, mix: {pseudo: 0.1}}") == {"finetuned"}
    assert again("distill={steps: 1, batch: auto}") == {"student", "source_only", "oracle"}
    assert again("distill={steps: 1}", "finetune={steps: 1}") == set()
