"""Keys that exclude each other or need each other."""

import pytest

from da_kd.data import yolo
from da_kd.errors import RecipeError
from da_kd.recipe import dump_recipe, parse_recipe, recipe_from_text
from da_kd.recipe.data import _NO_SPLITS


def without(tree, *places):
    for place in places:
        *path, last = place.split(".")
        node = tree
        for step in path:
            node = node[step]
        del node[last]
    return tree


def test_the_small_recipe_is_right(small):
    recipe = parse_recipe(small)
    assert recipe.review.mode == "skip"
    assert recipe.device == "auto"
    assert recipe.fuse.keep == {"default": 0.5}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data.target={path: a, render: lab_a, count: 1, split: x}", "data.target: expected either 'path' or 'render'"),
        ("data.target={split: x}", "data.target: expected either 'path' or 'render'"),
        ("data.target={render: lab_a, split: x}", "data.target: expected 'count' and 'split' beside 'render'"),
        ("data.target={render: lab_a, count: 4}", "data.target: expected 'count' and 'split' beside 'render'"),
        ("data.target={render: lab_a, count: 4, split: [train, test]}", "expected one split beside 'render'"),
        ("data.target={render: lab_a, count: 4, split: names}", "expected one split beside 'render'"),
        ("data.target={render: lab_a, count: 4, split: a.b}", "expected one split beside 'render'"),
        ("teachers.own.weights=w.pt", "expected 'weights' or 'architecture'"),
        ("teachers.big.weights=null", "teachers.0: teacher 'big': expected 'weights' or 'architecture'"),
        ("distill.epochs=3", "distill: expected either 'epochs' or 'steps'"),
        ("finetune.epochs=null", "finetune: expected either 'epochs' or 'steps'"),
        ("fuse.keep={RBC: 0.5}", "fuse.keep: expected a threshold named 'default'"),
        ("fuse.keep=true", "fuse.keep: "),
        ("teachers=[]", "teachers: "),
        ("classes=[]", "classes: "),
        ("name=../x", "name: "),
    ],
)
def test_keys_that_exclude_or_belong_to_each_other(problems, change, told):
    (line,) = problems(change)
    assert line.startswith(told) or told in line


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        (["distill"], "finetune: goes on with the student that 'distill' trains"),
        (["data.target_labelled"], "finetune: needs 'data.target_labelled'"),
        (["data.test"], "evaluate: needs 'data.test'"),
        (["data.source"], "teachers.own: training it needs 'data.source'"),
    ],
)
def test_a_stage_tells_what_it_lacks(problems, small, absent, told):
    (line,) = problems(tree=without(small, *absent))
    assert line.startswith(told)


def test_a_teacher_without_weights_needs_a_schedule(problems, small):
    del small["teachers"][1]["schedule"]
    (line,) = problems(tree=small)
    assert line.startswith("teachers.own: training it needs a section 'teach'")
    assert parse_recipe(small, ["teach.steps=3"]).teach.steps == 3


def test_features_are_those_of_a_teacher_that_has_some(problems, small):
    (line,) = problems("distill.features=nobody")
    assert line.startswith("distill.features: expected the name of a teacher ['big', 'own']; found 'nobody'")
    (line,) = problems("distill.features=big", "teachers.big.kind=onnx")
    assert line.startswith("distill.features: needs a teacher of kind 'ultralytics'; 'big' is of kind 'onnx'")
    (line,) = problems("distill.args.distill_model=x.pt")
    assert "'distill_model' cannot be passed on: it is the key 'features' of distill" in line


def test_several_gpus_are_a_text_or_a_list(small):
    assert parse_recipe(small, ["device=cuda:0,1"]).device == "cuda:0,1"
    assert parse_recipe({**small, "device": ["cuda:0", "cuda:3"]}).device == "cuda:0,3"


def test_starting_from_the_source_needs_it(problems, small):
    small["teachers"].pop()
    (line,) = problems("distill.init=source", tree=without(small, "data.source"))
    assert line.startswith("distill.init: 'source' needs 'data.source'")


def test_class_names_must_be_the_recipes_everywhere(problems, small):
    small["classes"] = ["RBC", "WBC", "RBC"]
    small["fuse"] = {"keep": {"default": 0.5, "rbc": 0.4}, "drop": {"default": 0.1, "default2": 0}}
    small["teachers"][0]["classes"] = {"cell": "Cell", "dirt": None}
    small["teachers"][1]["name"] = "big"
    small["data"]["test"] |= {"classes": {"x": "X"}, "labelled_classes": ["Y"]}
    told = problems(tree=small)
    assert [line.partition(":")[0] for line in told] == [
        "classes",
        "teachers",
        "fuse.keep",
        "fuse.drop",
        "teachers.big.classes",
        "data.test.classes",
        "data.test.labelled_classes",
    ]
    assert told[4].endswith("found 'Cell'")


def test_one_threshold_stands_for_all_and_one_split_for_a_list(small):
    recipe = parse_recipe(small, ["fuse.keep=0.3", "fuse.drop=0", "data.test.split=val"])
    assert recipe.fuse.keep == {"default": 0.3}
    assert recipe.fuse.drop == {"default": 0}
    assert recipe.data.test.split == ("val",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("classes=RBC", "classes: expected a list, as in [a, b]; found the text 'RBC'"),
        ("classes=[]", "classes: expected at least 1 item(s); found a list"),
        ("data=3", "data: expected keys and values below it; found the number 3"),
        (
            "device=gpu",
            "device: expected auto, cpu, mps, cuda, or cuda:0 (cuda:0,1 for several); found the text 'gpu'",
        ),
        (
            "name=a/b",
            "name: expected letters, digits, '_', '.' and '-', beginning with a letter or a digit; "
            "found the text 'a/b'",
        ),
        (
            "name=bench",
            "name: expected none of store, journal, mongo, locks, bench, folders beside the runs; found 'bench'",
        ),
        (
            "student.model=yolo11n",
            "student.model: expected a model YAML or a '.pt' file; found 'yolo11n'; did you mean 'yolo11n.yaml'?",
        ),
        (
            "teachers.0.match_edges=sometimes",
            "teachers.0.match_edges: expected true or false, or 'target_dev'; found the text 'sometimes'",
        ),
        ("teach.batch=0", "teach.batch: expected a number from 1 on, or 'auto'; found the number 0"),
        ("distill.batch=auto2", "distill.batch: expected a whole number, or 'auto'; found the text 'auto2'"),
        ("distill.lr=.inf", "distill.lr: expected a finite number; found the number inf"),
    ],
)
def test_what_is_expected_is_said_without_words_of_python(problems, change, told):
    assert problems(change) == (told,)


def test_a_wrong_item_is_not_also_told_as_an_empty_list(problems, small):
    del small["teachers"][1]
    assert problems("teachers.big.weight=-1", tree=small) == (
        "teachers.0.weight: expected greater than 0; found the number -1",
    )


def test_devices_that_share_a_step_need_an_image_each(small):
    small["distill"]["batch"] = 2
    with pytest.raises(RecipeError, match=r"distill\.batch: 3 devices share a step, and 2 images are fewer"):
        parse_recipe({**small, "device": "cuda:0,1,2"})
    assert parse_recipe({**small, "device": "cuda:0,1"}).distill.batch == 2


def test_a_student_from_source_weights_has_defaults_of_its_own(small):
    plain = parse_recipe(small).distill
    assert (plain.augment, plain.ema, plain.refresh) == ("default", None, None)
    small["distill"]["init"] = "source"
    warm = parse_recipe(small).distill
    assert (warm.augment, warm.ema, warm.refresh.every) == ("strong", 0.25, 3)
    small["distill"] |= {"refresh": {"share": 0.8}}
    refresh = parse_recipe(small).distill.refresh
    assert (refresh.every, refresh.share) == (3, 0.8)
    del small["distill"]["refresh"]


def test_what_a_student_from_source_weights_is_told_stands(small):
    small["distill"] |= {"init": "source", "augment": "weak", "ema": None, "refresh": None}
    recipe = parse_recipe(small)
    assert (recipe.distill.augment, recipe.distill.ema, recipe.distill.refresh) == ("weak", None, None)
    assert recipe_from_text(dump_recipe(recipe)) == recipe


def test_a_rendered_set_has_no_split_that_a_data_yaml_takes_for_something_else():
    assert _NO_SPLITS == yolo._NO_SPLITS
