"""What a teacher's own keys decide: the classes it learns, its views, its kind, a folder for weights."""

import json

import pytest

from da_kd.data import nested_fraction
from da_kd.errors import DataError, RecipeError, WeightsError
from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.used import labels_of_row, labels_of_trainings
from da_kd.store import Store
from da_kd.teachers.edges import EdgedTeacher
from da_kd.teachers.views import ViewedTeacher


def parts(steps, name):
    return dict(steps[name].output.parts)


def test_a_teacher_that_learns_all_classes_is_as_before(recipe, steps):
    plain = parts(steps(recipe()), "teach:own")
    assert not {key for key in plain if "learns" in key or "kind" in key or "views" in key}
    told = parts(steps(recipe("teachers.own.learns=[RBC, WBC]")), "teach:own")
    assert told == plain


def test_the_classes_a_teacher_learns_decide_its_training_alone(recipe, steps):
    old, new = steps(recipe()), steps(recipe("teachers.own.learns=[WBC]"))
    assert parts(new, "teach:own")["teachers.own.learns"] == ["WBC"]
    assert parts(new, "teach:own")["data.source"] != parts(old, "teach:own")["data.source"]
    assert parts(new, "source_only") == parts(old, "source_only")


def test_a_teacher_is_the_same_beside_fewer_classes_of_a_recipe(recipe, steps):
    both = steps(recipe("teachers.own.learns=[RBC]"))
    lines = [f"data.{name}.classes={{WBC: null}}" for name in ("source", "target_labelled", "test")]
    alone = ("classes=[RBC]", "teachers=[{name: own, architecture: {imgsz: 64}}]", *lines)
    assert parts(both, "teach:own")["data.source"] == parts(steps(recipe(*alone)), "teach:own")["data.source"]


def test_a_teacher_with_a_seed_of_its_own_is_shared_by_runs_of_other_seeds(recipe, steps):
    shared, other = (steps(recipe("teachers.own.seed=3", f"seed={seed}")) for seed in (0, 1))
    for name in ("teach:own", "predict:own"):
        assert shared[name].output.fingerprint == other[name].output.fingerprint
    assert shared["student"].output.fingerprint != other["student"].output.fingerprint
    assert parts(shared, "teach:own") == parts(steps(recipe("seed=3")), "teach:own")


def test_a_seed_means_nothing_beside_weights(recipe):
    with pytest.raises(RecipeError, match=r"teachers\.one: 'seed' is for training"):
        recipe("teachers.one.seed=3")


def test_views_decide_predictions_and_not_the_training(recipe, steps):
    old, new = steps(recipe()), steps(recipe("teachers.own.views.scales=[1.2]"))
    assert parts(new, "teach:own") == parts(old, "teach:own")
    told = {key: value for key, value in parts(new, "predict:own").items() if "views" in key}
    assert told == {
        "teachers.own.views.flip": True, "teachers.own.views.scales": [1.2], "teachers.own.views.merge": "wbf"
    }  # fmt: skip
    assert not any("views" in key for key in parts(old, "predict:own"))


def test_the_kind_decides_a_training(recipe, steps):
    made = "teachers.own={name: own, kind: torchvision, architecture: {model: fcos_resnet50_fpn, imgsz: 64}}"
    assert parts(steps(recipe(made)), "teach:own")["teachers.own.kind"] == "torchvision"


def test_a_class_to_learn_needs_labels_of_the_source(recipe, tmp_path):
    changes = ("classes=[RBC, WBC, Dog]", "teachers.own.learns=[Dog]")
    with pytest.raises(DataError, match=r"expected labels for every class .* found none for 'Dog'"):
        load_inputs(recipe(*changes), Store(tmp_path / "runs"), Job())


def test_a_folder_of_transformers_is_a_teachers_weights(recipe, steps, world):
    folder = world / "detr"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "detr"}))
    made = "teachers.one={{name: one, kind: transformers, weights: {}}}"
    first = parts(steps(recipe(made.format("detr"))), "predict:one")
    assert first == parts(steps(recipe(made.format("detr/config.json"))), "predict:one")
    (folder / "model.safetensors").write_bytes(b"weights")
    assert first != parts(steps(recipe(made.format("detr"))), "predict:one")
    with pytest.raises(WeightsError, match="Expected a model file at"):
        steps(recipe("teachers.one={name: one, weights: detr}"))


def test_the_scale_is_matched_in_a_step_of_its_own_that_no_label_decides(recipe, steps):
    plain, new = steps(recipe()), steps(recipe("teachers.own.match_scale=true"))
    told = parts(new, "adapt:own")
    assert told["teachers.own.match_scale"] is True and told["teachers.own.adapt"] == "none"
    assert "adapt:own" not in plain
    assert parts(new, "predict:own")["adapt:own"] == new["adapt:own"].output.fingerprint
    assert parts(new, "teach:own") == parts(plain, "teach:own")
    head = parts(steps(recipe("teachers.own.match_scale=true", "teachers.own.options={head: both}")), "adapt:own")
    assert head["teachers.own.options.head"] == "both"  # who is asked decides what is heard
    adapted, both = (
        steps(recipe("teachers.own.adapt=batch_norm")),
        steps(recipe("teachers.own.adapt=batch_norm", "teachers.own.match_scale=true")),
    )
    assert set(parts(both, "adapt:own")) - set(parts(adapted, "adapt:own")) == {
        "teachers.own.match_scale", "data.source"
    }  # fmt: skip


def test_a_file_that_an_option_names_counts_by_its_content_where_the_teacher_is_adapted(recipe, steps, tmp_path):
    file = tmp_path / "encoder.pt"

    def made(text, path=file):
        path.write_text(text)
        options = f"teachers.own.options={{prompts: [cell], text_encoder: {path}}}"
        built = steps(recipe("teachers.own.match_scale=true", options))
        return [built[name].output.fingerprint for name in ("adapt:own", "predict:own")]

    one, other = made("a cell"), made("a blood cell")
    assert one[0] != other[0] and one[1] != other[1]
    assert made("a cell", tmp_path / "elsewhere.pt") == one


def test_a_scale_that_cannot_be_matched_is_refused_with_the_reason(recipe):
    with pytest.raises(RecipeError, match=r"'match_scale' chooses the input size; leave 'imgsz' out"):
        recipe("teachers.own.match_scale=true", "teachers.own.options={imgsz: 64}")
    with pytest.raises(RecipeError, match="'match_scale' needs kind 'ultralytics'; found 'torchvision'"):
        recipe("teachers.own.match_scale=true", "teachers.own.kind=torchvision")
    with pytest.raises(RecipeError, match=r"teachers\.one\.match_scale: compares with source images"):
        recipe(
            "data.source=null",
            "data.source_val=null",
            "teach=null",
            "teachers=[{name: one, weights: x.pt, match_scale: true}]",
        )


def test_edges_are_matched_in_a_step_of_its_own_that_no_target_label_decides(recipe, steps, tmp_path):
    plain, new = steps(recipe()), steps(recipe("teachers.own.match_edges=true"))
    told = parts(new, "edges:own")
    assert "edges:own" not in plain
    assert parts(new, "predict:own")["edges:own"] == new["edges:own"].output.fingerprint
    assert parts(new, "evaluate:teacher:own")["edges:own"] == new["edges:own"].output.fingerprint
    assert told["data.target"] == parts(plain, "predict:own")["data.target"]  # which knows no label
    for same in ("teach:own", "predict:own:source"):  # at home a teacher is as it was trained
        assert parts(new, same) == parts(plain, same)
    looks = recipe("teachers.own.match_edges=true", "teachers.own.views.flip=true")
    store = Store(tmp_path / "runs")
    builder = Builder(looks, load_inputs(looks, store, Job()), store)
    builder.steps |= steps(looks)
    (own,) = [teacher for teacher in looks.teachers if teacher.name == "own"]
    away, home = builder.teacher(own)[0], builder.teacher(own, at_home=True)[0]
    assert isinstance(away, EdgedTeacher) and isinstance(away.inner, ViewedTeacher)
    assert isinstance(home, ViewedTeacher)
    views = parts(steps(looks), "edges:own")
    assert views["teachers.own.views.flip"] is True


LIKE_THE_TARGET = ("teachers.own.match_edges=target_dev", "data.target_dev={path: target}")


def test_edges_matched_by_labels_of_the_target_count_them_as_used(recipe, steps, tmp_path):
    plain, new = recipe("teachers.own.match_edges=true"), recipe(*LIKE_THE_TARGET)
    told, before = parts(steps(new), "edges:own"), parts(steps(plain), "edges:own")
    assert {key: value for key, value in told.items() if key != "data.target_dev"} == before
    assert "data.target_dev" in told
    inputs = load_inputs(new, Store(tmp_path / "runs"), Job())
    (sentence,) = labels_of_trainings(new, inputs.sets)
    assert "ends its boxes as the labels of" in sentence and "data.target_dev" in sentence
    assert labels_of_row("student", 3, new, inputs.sets) == sentence
    with pytest.raises(RecipeError, match=r"teachers\.own\.match_edges: needs 'data\.target_dev'"):
        recipe("teachers.own.match_edges=target_dev")


def test_edges_that_cannot_be_matched_are_refused_with_the_reason(recipe):
    with pytest.raises(RecipeError, match=r"'match_edges' needs a model that can be asked; found 'coco_file'"):
        recipe("teachers=[{name: one, kind: coco_file, weights: x.json, match_edges: true}]", "teach=null")
    with pytest.raises(RecipeError, match=r"teachers\.one\.match_edges: compares with source images"):
        recipe(
            "data.source=null",
            "data.source_val=null",
            "teach=null",
            "teachers=[{name: one, weights: x.pt, match_edges: true}]",
        )


TUNED = "teachers.own.finetune={steps: 4, fraction: 0.5}"


def test_a_teacher_that_goes_on_with_labels_is_another_and_its_labels_are_told(recipe, steps, tmp_path):
    plain, new = steps(recipe()), steps(recipe(TUNED))
    assert parts(new, "teach:own") == parts(plain, "teach:own")
    told = parts(new, "tune:own")
    assert told["teach:own"] == new["teach:own"].output.fingerprint
    assert told["teachers.own.finetune.steps"] == 4
    for asked in ("predict:own", "predict:own:source", "evaluate:teacher:own"):
        assert parts(new, asked)["tune:own"] == new["tune:own"].output.fingerprint
    made = recipe(TUNED)
    inputs = load_inputs(made, Store(tmp_path / "runs"), Job())
    count = len(nested_fraction(inputs.get("target_labelled"), 0.5))
    (sentence,) = labels_of_trainings(made, inputs.sets)
    assert f"Teacher 'own' went on with the labels of {count} images of data.target_labelled" in sentence
    assert labels_of_row("teacher:own", 3, made, inputs.sets) == sentence
    assert labels_of_row("student", 3, made, inputs.sets) == sentence


def test_a_teacher_that_cannot_go_on_is_refused_with_the_reason(recipe):
    with pytest.raises(RecipeError, match=r"leave 'adapt' and 'match_edges' out"):
        recipe(TUNED, "teachers.own.adapt=batch_norm", "teachers.own.match_edges=true")
    with pytest.raises(RecipeError, match=r"'finetune' needs kind 'ultralytics' and an 'architecture'"):
        recipe("teachers=[{name: one, weights: x.pt, finetune: {steps: 4}}]", "teach=null")
    with pytest.raises(RecipeError, match=r"teachers\.own\.finetune: needs 'data.target_labelled'"):
        recipe(TUNED, "data.target_labelled=null")
    with pytest.raises(RecipeError, match=r"teachers\.own\.finetune\.validate_on: needs 'data.target_dev'"):
        recipe("teachers.own.finetune={steps: 4, validate_on: target_dev}")
