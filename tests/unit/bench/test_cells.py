"""What a row stands on: its steps, the optimiser steps of all phases, and the labels of the target it uses."""

import pytest
from PIL import Image

from da_kd.errors import DataError, InputError, RecipeError
from da_kd.pipeline.steps import for_rows

FINETUNED = {"name": "one", "model": "finetuned"}


def planned(cell):
    return {name: step.training_steps for name, step in (cell.trained | cell.taught).items()}


def test_the_seeds_of_a_row_stand_side_by_side(cells):
    assert [(cell.row.name, cell.seed) for cell in cells()] == [
        ("source", 0), ("source", 1), ("student", 0), ("student", 1), ("oracle", 0), ("oracle", 1)
    ]  # fmt: skip


def test_a_row_stands_on_what_its_model_needs_and_on_nothing_else(cells):
    source, _, student, _, oracle, _ = cells()
    assert list(source.steps) == ["source_only", "evaluate:source_only"]
    assert list(oracle.steps) == ["oracle", "evaluate:oracle"]
    assert {"teach:big", "adapt:big", "predict:big", "fuse", "review", "source_only", "student"} < set(student.steps)
    assert not {"finetuned", "oracle"} & set(student.steps)


def test_optimiser_steps_are_those_of_all_phases_and_teachers_are_apart(cells):
    source, _, student, _, _, _ = cells()
    assert planned(source) == {"source_only": 8}
    assert planned(student) == {"teach:big": 6, "source_only": 4, "student": 4}
    assert set(student.trained) == {"source_only", "student"}


def test_earlier_rounds_are_phases_too(cells):
    cell = cells([{"name": "one", "model": "student", "set": {"rounds": 2}}])[0]
    assert set(cell.trained) == {"source_only", "student@1", "student"}


def test_source_weights_can_go_on_with_labels_and_no_pseudo_label(cells):
    cell = cells([{**FINETUNED, "set": {"finetune.init": "source"}}])[0]
    assert list(cell.steps) == ["source_only", "finetuned", "evaluate:finetuned"]
    plain = cells([FINETUNED])[0]
    assert {"student", "finetuned"} < set(plain.steps)
    assert not [key for key in plain.steps["finetuned"].output.parts if key.startswith("finetune.init")]


@pytest.mark.parametrize(
    ("row", "used"),
    [
        ({"model": "student"}, {}),
        ({"model": "teacher:big"}, {}),
        ({"model": "finetuned"}, {"data.target_labelled": 4}),
        ({"model": "oracle"}, {"data.target_labelled": 8}),
        ({"model": "student", "set": {"distill.mix.target_labelled": 1}}, {"data.target_labelled": 8}),
        (
            {"model": "student", "set": {"review.mode": "simulate"}},
            {"data.target_labelled": 8, "review": 8},
        ),
        (
            {"model": "source_only", "set": {"distill.validate_on": "target_dev", "distill.patience": 1}},
            {"data.target_dev": 2},
        ),
        (
            {"model": "student", "set": {"fuse.thresholds": {"by": "f_beta"}}},
            {"data.target_dev": 2},
        ),
        ({"model": "student", "set": {"fuse.calibrate": "logistic"}}, {"data.target_dev": 2}),
        ({"model": "student", "set": {"teachers.0.match_edges": "target_dev"}}, {"data.target_dev": 2}),
    ],
)
def test_labels_of_the_target_are_found_wherever_they_went_in_and_only_there(cells, row, used):
    keys = {"set": {"data.target_dev": {"render": "lab_b", "split": "dev", "count": 2}}}  # given to all rows
    assert cells([{"name": "one", **row}], **keys)[0].labels == used
    if used:
        with pytest.raises(RecipeError, match="row 'one' claims to use no label of the target, and uses some"):
            cells([{"name": "one", "target_labels": "none", **row}], **keys)


def test_every_refused_row_is_told_at_once(cells):
    rows = [
        {**FINETUNED, "target_labels": "none"},
        {"name": "two", "model": "oracle", "target_labels": "none"},
        {"name": "three", "model": "student", "set": {"review.mode": "human"}},
    ]
    with pytest.raises(RecipeError) as caught:
        cells(rows)
    assert len(caught.value.problems) == 3
    assert "row 'three' waits for a person" in str(caught.value)


def test_rows_that_cannot_be_compared_are_refused(cells):
    one = {"name": "one", "model": "source_only"}
    other = {"render": "lab_b", "split": "dev", "count": 4}
    with pytest.raises(RecipeError, match="row 'two' is scored on other images than the rest"):
        cells([one, {**one, "name": "two", "develop": {"data.test": other}}])
    with pytest.raises(RecipeError, match="row 'two' has classes that the row with the most classes lacks: cell"):
        cells([one, {**one, "name": "two", "set": renamed("cell", "RBC", "WBC")}])


def test_choices_are_not_made_on_test_images(cells):
    with pytest.raises(InputError, match=r"found the test images in 'source', 'student', 'oracle'; give other images"):
        cells(develop={})
    part = [{"name": "one", "model": "source_only", "develop": {"data.test.split": "test", "data.test.count": 2}}]
    with pytest.raises(InputError, match="found the test images in 'one'"):
        cells(part)


@pytest.fixture
def smears(tmp_path):
    """A set of six images with one box each, in two splits, as YOLO has it."""
    root = tmp_path / "smears"
    for index in range(6):
        place = f"{'val' if index < 2 else 'test'}/{index}"
        for folder in ("images", "labels"):
            (root / folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (40 * index, 0, 0)).save(root / "images" / f"{place}.png")
        (root / "labels" / f"{place}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text("{path: ., val: images/val, test: images/test, names: [RBC, WBC, Platelets]}")
    return {"path": str(root), "split": ["val", "test"]}


@pytest.mark.parametrize(
    "part", [{"split": ["test", "val"]}, {"split": ["val"]}, {"holdout": {"fraction": 0.5, "keep": "rest"}}]
)
def test_choices_are_not_made_on_a_part_of_the_test_images_however_it_is_named(cells, smears, part):
    row = {"name": "one", "model": "source_only", "final": {"data.test": smears}}
    with pytest.raises(InputError, match=r"row 'one' is scored on \d of the images that --final scores on"):
        cells([{**row, "develop": {"data.test": {**smears, **part}}}])
    assert cells([{**row, "final": {"data.test": {**smears, "split": ["test"]}},
                   "develop": {"data.test": {**smears, "split": ["val"]}}}])  # fmt: skip


def test_rows_that_are_scored_on_other_labels_of_the_same_images_are_refused(cells, smears):
    one = {"name": "one", "model": "source_only", "develop": {"data.test": smears}}
    swapped = {"data.test": {**smears, "classes": {"RBC": "WBC", "WBC": "RBC"}}}
    with pytest.raises(RecipeError, match="row 'two' is scored on the same images with other labels than the rest"):
        cells([one, {**one, "name": "two", "develop": swapped}])
    with pytest.raises(RecipeError, match="row 'two' counts 5 boxes per image and class, others 100"):
        cells([one, {**one, "name": "two", "set": {"evaluate.max_boxes": 5}}])


def test_a_row_is_refused_for_its_own_teachers_beside_any_other(cells, tmp_path):
    (tmp_path / "said.json").write_text("[]")
    unlabelled = {"data.source.classes": {"Platelets": None}}
    stored = [{"name": "big", "kind": "coco_file", "weights": str(tmp_path / "said.json")}]
    good = {"name": "good", "model": "source_only", "set": {**unlabelled, "teachers": stored, "teach": None}}
    assert cells([good])
    with pytest.raises(DataError, match="expected labels for every class that only trained teachers know"):
        cells([good, {"name": "bad", "model": "source_only", "set": unlabelled}])


def renamed(name, *classes):
    """Return changes to a recipe whose only class is these classes of the sets, by another name."""
    left = {"Platelets": None, **dict.fromkeys(classes, name)}
    sets = ("source", "target_labelled", "test")
    return {"classes": [name], **{f"data.{one}.classes": left for one in sets}}


def test_a_model_that_the_recipe_does_not_score_is_told(cells):
    with pytest.raises(
        InputError, match=r"Row 'one': expected a model that its recipe scores \(.*\); found 'teacher:x'"
    ):
        cells([{"name": "one", "model": "teacher:x"}])


def test_rows_that_a_recipe_does_not_score_cannot_be_asked_for(cells):
    cell = cells()[0]
    assert for_rows(cell.steps, ["source_only"]) == cell.steps
    with pytest.raises(InputError, match=r"rows that the recipe scores \(source_only\); found 'oracle'"):
        for_rows(cell.steps, ["oracle"])


def test_a_cell_that_no_run_keeps_is_not_done(cells, finished):
    cell = cells()[0]
    assert cell.missing == list(cell.steps)
    finished(cell, 0.5)
    assert not cell.missing
    assert not cell.done  # nobody refers to its outputs, so that they could be removed
