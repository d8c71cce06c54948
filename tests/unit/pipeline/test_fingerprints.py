"""What a change makes run again, and what it does not."""

import json
import shutil

import pytest
from PIL import Image

from da_kd.errors import DataError, WeightsError
from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.run import why_again
from da_kd.pipeline.steps import absent_rows, build_steps, rows
from da_kd.recipe import parse_recipe
from da_kd.store import Store

ALL = (
    "teach:own",
    "predict:one",
    "predict:own",
    "predict:own:source",
    "fuse",
    "review",
    "student",
    "finetuned",
    "source_only",
    "oracle",
    "evaluate:source_only",
    "evaluate:teacher:one",
    "evaluate:teacher:own",
    "evaluate:student",
    "evaluate:finetuned",
    "evaluate:oracle",
)
STUDENT = {"student", "finetuned", "evaluate:student", "evaluate:finetuned"}
FUSED = {"fuse", "review", *STUDENT}
BASELINES = {"source_only", "oracle", "evaluate:source_only", "evaluate:oracle"}
OWN = {"teach:own", "predict:own", "predict:own:source", "evaluate:teacher:own", *FUSED}


def prints(steps):
    return {name: step.output.fingerprint for name, step in steps.items()}


def before(steps):
    """What a run's record keeps of its steps, as it comes back from the disk."""
    return json.loads(json.dumps({name: {"made": dict(step.output.parts)} for name, step in steps.items()}))


def test_steps_come_in_the_order_they_run(recipe, steps):
    assert tuple(steps(recipe())) == ALL
    with_start = list(steps(recipe("distill.init=source")))
    assert with_start.index("source_only") < with_start.index("student")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("distill.epochs=2", STUDENT | BASELINES),
        ("distill.args.flipud=0.5", STUDENT | BASELINES),
        ("distill.weight=score", STUDENT),
        ("distill.uncertain=ignore_all", STUDENT),
        ("distill.unsearched=background", STUDENT),
        ("distill.oversample=2", STUDENT),
        ("finetune.lr=0.5", {"finetuned", "evaluate:finetuned"}),
        ("finetune.fraction=0.5", {"finetuned", "evaluate:finetuned"}),
        ("fuse.keep=0.6", FUSED),
        ("fuse.method=nms", FUSED),
        ("review.mode=human", FUSED - {"fuse"}),
        ("fuse.lonely=drop", FUSED),
        ("teachers.one.weight=2", FUSED),
        ("teachers.one.class_weights.WBC=2", FUSED),
        ("teachers.one.classes.dirt=WBC", FUSED | {"evaluate:teacher:one"}),
        ("teachers.one.classes.dirt=null", FUSED | {"evaluate:teacher:one"}),
        ("teach.epochs=2", OWN),
        ("teachers.own.options.iou=0.5", OWN - {"teach:own"}),
        ("predict.floor=0.1", FUSED | {"predict:one", "predict:own", "predict:own:source"}),
        ("student.imgsz=128", STUDENT | BASELINES),
        ("evaluate.max_boxes=10", {name for name in ALL if name.startswith("evaluate:")}),
        ("evaluate.oracle_schedule.epochs=9", {"oracle", "evaluate:oracle"}),
        ("data.test.fraction=0.5", {name for name in ALL if name.startswith("evaluate:")}),
        ("data.target.fraction=0.5", FUSED | {"predict:one", "predict:own"}),
        ("data.target_labelled.fraction=0.5", {"finetuned", "evaluate:finetuned", "oracle", "evaluate:oracle"}),
        ("data.source.fraction=0.5", OWN | {"source_only", "evaluate:source_only"}),
        ("seed=1", set(ALL) - {"predict:one", "evaluate:teacher:one"}),
        ("classes=[WBC, RBC]", set(ALL) - {"predict:one"}),
    ],
)
def test_a_changed_key_makes_only_what_follows_from_it_again(recipe, steps, change, again):
    old, new = steps(recipe()), steps(recipe(change))
    assert {name for name in ALL if prints(old)[name] != prints(new)[name]} == again
    told = {name: why_again(step, before(old)) for name, step in new.items()}
    assert {name for name, why in told.items() if why} == again


@pytest.mark.parametrize(
    ("change", "step", "why"),
    [
        ("distill.epochs=2", "student", "distill.epochs: 1 -> 2"),
        ("fuse.keep=0.6", "fuse", "fuse.keep.default: 0.5 -> 0.6"),
        ("fuse.keep=0.6", "student", "review changed"),
        ("teachers.one.classes.dirt=null", "fuse", "teachers.one.classes.dirt: absent -> None"),
        ("distill.args.flipud=0.5", "student", "distill.args.flipud: absent -> 0.5"),
        ("data.test.fraction=0.5", "evaluate:oracle", "data.test changed"),
        ("distill={steps: 4}", "student", "distill.epochs: 1 -> None, distill.steps: None -> 4"),
    ],
)
def test_the_reason_is_told_by_the_key_a_person_knows(recipe, steps, change, step, why):
    assert why_again(steps(recipe(change))[step], before(steps(recipe()))) == why


def test_ground_truth_that_leaves_nothing_open_need_not_be_learned_again(recipe, steps):
    whole, part = steps(recipe()), steps(recipe("data.source.labelled_classes=[RBC]"))
    assert {whole[name].output.version for name in ("teach:own", "source_only", "oracle", "finetuned")} == {1}
    assert part["source_only"].output.version == 2
    assert part["teach:own"].output.parts["teachers.own.learns"] == ["RBC"]  # the class that is open is not its own
    assert part["oracle"].output.version == 1


def test_a_first_time_needs_no_reason(recipe, steps):
    now = steps(recipe())
    assert why_again(now["fuse"], {}) == ""
    assert why_again(now["fuse"], {"fuse": {}}) == ""


def test_labels_made_anew_decide_a_student_and_a_recipe_without_them_is_as_before(recipe, steps):
    plain, asked = steps(recipe()), steps(recipe("distill.refresh.every=3"))
    assert {name for name in ALL if prints(plain)[name] != prints(asked)[name]} == STUDENT
    assert not [key for key in plain["student"].output.parts if "refresh" in key]
    other = steps(recipe("distill.refresh.every=3", "distill.refresh.share=0.4"))
    assert prints(other)["student"] != prints(asked)["student"]
    assert why_again(asked["student"], before(plain)).startswith("distill.refresh.every: absent -> 3")


def test_a_teacher_whose_features_are_imitated_decides_a_student(recipe, steps):
    plain, asked = steps(recipe()), steps(recipe("distill.features=own"))
    assert {name for name in ALL if prints(plain)[name] != prints(asked)[name]} == STUDENT
    parts = asked["student"].output.parts
    assert parts["distill.features.teach:own"] == prints(asked)["teach:own"]
    assert "distill.features" not in plain["student"].output.parts


@pytest.mark.parametrize(
    "change",
    ["device=auto", "workers=3", "predict.batch=2", "predict.max_bad=1", "evaluate.batch=2", "report.images=0"],
)
def test_the_machine_is_no_part_of_a_fingerprint(recipe, steps, change):
    assert prints(steps(recipe())) == prints(steps(recipe(change)))
    assert prints(steps(recipe())) == prints(steps(recipe("name=other")))


def test_where_the_files_lie_is_no_part_of_a_fingerprint(recipe, steps, world, tmp_path):
    old = prints(steps(recipe()))
    moved = shutil.copytree(world, tmp_path / "moved")
    shutil.rmtree(world)
    assert prints(steps(recipe(folder=moved))) == old


def test_the_content_of_the_files_is(recipe, steps, world):
    old = prints(steps(recipe()))
    (world / "one.json").write_text((world / "one.json").read_text().replace("0.9", "0.8"))
    new = prints(steps(recipe()))
    assert {name for name in ALL if old[name] != new[name]} == {"predict:one", "evaluate:teacher:one", *FUSED}
    Image.new("RGB", (16, 16), (1, 2, 3)).save(world / "data" / "test" / "images" / "0.png")
    (world / "data" / "labelled" / "labels" / "1.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    newer = prints(steps(recipe()))
    assert {name for name in ALL if newer[name] != new[name]} == {
        *(name for name in ALL if name.startswith("evaluate:")),
        *("finetuned", "oracle"),
    }


def test_labels_of_the_target_are_never_looked_at(recipe, steps, world):
    old = prints(steps(recipe()))
    for path in (world / "data" / "target" / "labels").iterdir():
        path.write_text("this is no label")
    assert prints(steps(recipe())) == old


def test_another_teacher_leaves_the_first_alone(recipe, steps):
    old = prints(steps(recipe()))
    more = (
        "teachers=[{name: two, kind: coco_file, weights: two.json, options: {images: list.json}},"
        " {name: own, architecture: {imgsz: 64}},"
        " {name: one, kind: coco_file, weights: one.json, options: {images: list.json}}]"
    )
    new = prints(steps(recipe(more)))
    assert {name for name in ALL if old[name] != new[name]} == FUSED
    assert set(new) - set(old) == {"predict:two", "evaluate:teacher:two"}


def test_rendered_sets_are_drawn_once_and_lead_to_the_same_steps(recipe, tmp_path, world):
    drawn = {name: {"render": "lab_b", "count": 4, "split": name} for name in ("target", "test")}
    tree = recipe().model_dump(mode="json", by_alias=True, exclude_none=True)
    tree |= {"classes": ["RBC", "WBC", "Platelets"], "data": drawn, "teachers": tree["teachers"][:1]}
    small = parse_recipe({key: value for key, value in tree.items() if key != "finetune"}, (), world)
    store = Store(tmp_path / "runs")
    first = build_steps(small, load_inputs(small, store, Job()), store)
    folders = {path: path.stat().st_mtime_ns for path in store.everything()}
    again = build_steps(small, load_inputs(small, store, Job()), store)
    assert prints(first) == prints(again)
    assert {path: path.stat().st_mtime_ns for path in store.everything()} == folders
    assert len([path for path in folders if path.parent.name == "data"]) == 2
    assert tuple(first) == ("predict:one", "fuse", "review", "student", "evaluate:teacher:one", "evaluate:student")


def test_what_a_step_needs_must_be_there(recipe, steps, world):
    (world / "one.json").unlink()
    with pytest.raises(WeightsError, match=r"teachers\.one\.weights: expected a file at .*one\.json; there is none"):
        steps(recipe())
    with pytest.raises(DataError, match=r"data\.test"):
        steps(recipe("data.test.path=nowhere"))


def test_rows_that_a_recipe_cannot_have_come_with_the_reason(recipe):
    full = recipe()
    assert rows(full) == ("source_only", "teacher:one", "teacher:own", "student", "finetuned", "oracle")
    assert absent_rows(full) == {}
    lean = full.model_copy(update={"distill": None, "finetune": None})
    assert set(absent_rows(lean)) == {"source_only", "student", "finetuned", "oracle"}
    no_data = full.model_copy(update={"data": full.data.model_copy(update={"source": None, "target_labelled": None})})
    assert absent_rows(no_data) == {
        "source_only": "there are no source images (data.source)",
        "oracle": "there are no labelled target images (data.target_labelled)",
    }
    assert "evaluate.oracle: false" in absent_rows(recipe("evaluate.oracle=false"))["oracle"]
    assert set(absent_rows(full.model_copy(update={"evaluate": None}))) == set(rows(full))
