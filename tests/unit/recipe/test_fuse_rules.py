"""What *fuse* is to measure needs labelled images, and teachers that can be asked about them."""

import pytest

from da_kd.pipeline.steps.keys import flat, keys_of
from da_kd.recipe import dump_recipe, parse_recipe

FITTED = ["fuse.calibrate=logistic", "fuse.thresholds.by=f_beta"]


@pytest.mark.parametrize("change", FITTED)
def test_fitting_needs_labelled_images_that_no_teacher_learned_from(problems, change):
    (line,) = problems(change)
    key = change.partition("=")[0].removesuffix(".by")
    assert (
        line == f"{key}: needs labelled images that no teacher learned from; add 'data.target_dev' or 'data.source_val'"
    )
    (line,) = problems(change, "fuse.fit_on=source_val", "data.target_dev={path: dev}")
    assert line.endswith("add 'data.source_val'")


@pytest.mark.parametrize("change", FITTED)
@pytest.mark.parametrize("data", ["data.source_val={path: val}", "data.target_dev={path: dev}"])
def test_either_set_will_do(small, change, data):
    assert parse_recipe(small, [change, data]).fuse.fit_on == "auto"


@pytest.mark.parametrize("change", FITTED)
def test_stored_predictions_cannot_be_measured(problems, change):
    (line,) = problems(change, "data.source_val={path: val}", "teachers.big.kind=coco_file")
    assert "the predictions of big are stored; leave fuse." in line


def test_counting_the_source_needs_a_source(problems, small):
    assert parse_recipe(small, ["fuse.thresholds.by=source_distribution"]).fuse.thresholds.drop == 0.4
    small["teachers"].pop()
    del small["data"]["source"]
    (line,) = problems("fuse.thresholds.by=source_distribution", tree=small)
    assert line == "fuse.thresholds: 'source_distribution' needs 'data.source' or 'data.source_val'; add one"


def test_a_misspelt_way_lists_those_there_are(problems):
    (line,) = problems("fuse.thresholds.by=magic")
    assert "'fixed', 'quantile', 'source_distribution', 'f_beta' or 'audit'" in line


def test_a_list_of_classes_survives_writing_and_reading(small):
    recipe = parse_recipe(small, ["teachers.big.classes={cell: [RBC, WBC], dirt: null}", "data.test.classes={x: RBC}"])
    assert recipe.teachers[0].classes == {"cell": ("RBC", "WBC"), "dirt": None}
    assert "- RBC" in dump_recipe(recipe)
    # A run remembers its keys as JSON, and must find them unchanged.
    assert flat(recipe.teachers[0].classes, "c") == {"c.cell": ["RBC", "WBC"], "c.dirt": None}


def test_every_new_key_decides_what_comes_out(small):
    keys = keys_of(parse_recipe(small).fuse, "fuse")
    wanted = {"fuse.calibrate": "none", "fuse.fit_on": "auto", "fuse.thresholds.by": "fixed"}
    assert wanted.items() <= keys.items()


def test_a_wrong_list_is_one_sentence(problems):
    (line,) = problems("teachers.big.classes={cell: [RBC]}")
    assert line == (
        "teachers.0.classes.cell: expected a class, null, or a list of two or more different classes; found ['RBC']"
    )


def test_a_floor_above_what_is_to_be_kept_is_refused(problems):
    change = ("predict.floor=0.5", "fuse.keep={default: 0.6, WBC: 0.1}", "fuse.drop=0.03")
    assert problems(*change) == (
        "predict.floor: expected at most the lowest 'fuse.keep' (0.1), since boxes below the floor are never seen; "
        "found 0.5; lower it, or raise 'keep'",
    )


def test_a_floor_that_only_doubtful_boxes_lie_below_is_a_choice(small):
    assert parse_recipe(small, ["predict.floor=0.25", "fuse.keep=0.25", "fuse.drop=0"]).predict.floor == 0.25
    assert parse_recipe(small, ["predict.floor=0.25", "fuse.keep=0", "fuse.drop=0"]).fuse.keep == {"default": 0}
