"""What a teacher of a recipe may be asked: what it learns, how often it looks, which kinds are trained."""

import pytest

from da_kd.errors import RecipeError
from da_kd.recipe import parse_recipe


def recipe(tmp_path, *changes):
    tree = {
        "name": "small",
        "classes": ["cat", "dog"],
        "data": {"source": {"path": "s"}, "target": {"path": "t"}},
        "teachers": [
            {"name": "own", "kind": "torchvision", "architecture": {"model": "fcos_resnet50_fpn", "imgsz": 160}},
            {"name": "given", "weights": "w.pt"},
        ],
        "teach": {"steps": 4},
    }
    return parse_recipe(tree, changes, tmp_path)


def test_a_torchvision_teacher_learns_some_classes_and_looks_more_than_once(tmp_path):
    made = recipe(
        tmp_path, "teach.args={flipud: 0.5, colour: 0}", "teachers.own.learns=[dog]", "teachers.own.views.scales=[1.2]"
    )
    own, given = made.teachers
    assert own.learns == ("dog",)
    assert (own.views.flip, own.views.scales, own.views.merge) == (True, (1.2,), "wbf")
    assert (given.learns, given.views) == (None, None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("teachers.own.learns=[fox]", r"teachers\.own\.learns: expected one of the recipe's classes .*; found 'fox'"),
        ("teachers.own.learns=[dog, dog]", r"teachers\.own\.learns: expected distinct classes"),
        ("teachers.given.learns=[dog]", r"teachers\.given: 'learns' is for training; beside 'weights' use 'classes'"),
        ("teachers.own.views={flip: false}", "there is nothing more to look at"),
        ("teachers.own.views.scales=[1.2, 1.2]", "expected different scales other than 1"),
        ("teachers.own.views.scales=[1]", "expected different scales other than 1"),
        ("teachers.own.kind=onnx", r"teachers of kind 'onnx' are not trained here; give 'weights'"),
        ("teachers.own.architecture.width=0.5", r"torchvision's models have no 'width'; leave it out"),
        ("teach.freeze=3", r"teach\.freeze: a torchvision teacher is trained from scratch"),
        (
            "teach.args={mosaic: 1}",
            r"teach\.args: .* no argument 'mosaic'; its arguments are: fliplr, flipud, scale, co",
        ),
        ("teach.args={scale: 2}", r"teach\.args: 'scale' must be a number from 0 to 0\.9; found '2'"),
        ("teachers.own.schedule={steps: 3, args: {a: 1}}", r"teachers\.own\.schedule\.args: .* no argument 'a'"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path, change, told):
    with pytest.raises(RecipeError, match=told):
        recipe(tmp_path, change)


def test_stored_predictions_have_no_views(tmp_path):
    with pytest.raises(RecipeError, match="stored predictions look at no image"):
        recipe(tmp_path, "teachers.given.kind=coco_file", "teachers.given.views.flip=true")


def test_every_class_has_a_teacher_that_may_know_it(tmp_path):
    alone = "teachers=[{name: own, architecture: {imgsz: 64}, learns: [dog]}]"
    with pytest.raises(RecipeError, match="expected one that learns each class; found none for cat"):
        recipe(tmp_path, alone)
    recipe(tmp_path, "teachers.own.learns=[dog]")  # the other teacher's weights may know the rest
