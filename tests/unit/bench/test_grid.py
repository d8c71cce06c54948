"""Grid files: what a row's recipe is, mistakes in words, and when test images may be opened."""

from pathlib import Path

import pytest
import yaml

from da_kd.bench.grid import load_grid
from da_kd.errors import InputError, RecipeError

RECIPES = Path(__file__).parents[3] / "recipes"


def row(file, name):
    return next(row for row in file.grid.rows if row.name == name)


def test_changes_lie_over_each_other_from_the_grid_to_the_row_to_where_it_is_scored(grid):
    rows = [
        {
            "name": "one",
            "model": "student",
            "set": {"distill.steps": 2, "distill.lr": 0.2, "teach.lr": 0.2},
            "final": {"predict.floor": 0.4},
        }
    ]
    keys = {"set": {"distill.steps": 1, "fuse.iou": 0.1}, "final": {"teach.lr": 0.3, "predict.floor": 0.3}}
    file = grid(rows, **keys)
    recipe = file.recipe(file.grid.rows[0], 7, final=True)
    assert (recipe.distill.steps, recipe.distill.lr, recipe.teach.lr) == (2, 0.2, 0.3)
    assert (recipe.fuse.iou, recipe.predict.floor, recipe.seed) == (0.1, 0.4, 7)
    recipe = file.recipe(file.grid.rows[0], 7, final=False)
    assert (recipe.teach.lr, recipe.predict.floor) == (0.2, 0.02)


def test_the_command_line_has_the_last_word_but_on_the_seed(grid):
    file = grid(changes=("distill.steps=3", "seed=5"))
    recipe = file.recipe(row(file, "source"), 1, final=False)
    assert (recipe.distill.steps, recipe.seed) == (3, 1)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("referense", "source", "referense: no such key; did you mean 'reference'?"),
        (
            "reference",
            "nobody",
            "reference: expected the name of a row ['source', 'student', 'oracle']; found 'nobody'",
        ),
        ("gap", {"low": "source", "high": "top"}, "gap.high: expected the name of a row"),
        ("seeds", [1, 1], "seeds: expected distinct numbers; found [1, 1]"),
        ("seeds", [], "seeds: expected at least 1 item(s)"),
    ],
)
def test_a_mistake_of_the_grid_is_a_sentence(grid, key, value, told):
    with pytest.raises(RecipeError) as caught:
        grid(**{key: value})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "best"}, "rows.0.model: expected a text that matches"),
        ({"line": "a"}, "rows.0: expected 'line' and 'x' together"),
        ({"step": "own"}, "rows.0.step: no such key; did you mean 'steps'?"),
        ({"model": "teacher:big", "steps": "own"}, "rows.0: expected 'steps: own' of an oracle; found it of 'teacher"),
        ({"steps": "own"}, "rows.0: expected 'steps: own' of an oracle; found it of 'student'; leave it out"),
    ],
)
def test_a_mistake_of_a_row_is_a_sentence(grid, change, told):
    with pytest.raises(RecipeError) as caught:
        grid([{"name": "one", "model": "student", **change}])
    assert told in str(caught.value)


def test_two_points_of_a_line_do_not_lie_at_one_place(grid):
    one = {"name": "one", "model": "student", "line": "own", "x": 25}
    with pytest.raises(RecipeError, match="rows: expected distinct points of line 'own'; found x 25 more than once"):
        grid([one, {**one, "name": "two"}])


def test_a_mistake_of_a_rows_recipe_names_the_row(grid):
    file = grid([{"name": "one", "model": "student", "set": {"distil.steps": 1}}])
    with pytest.raises(RecipeError, match=r"(?s)row 'one' of .*distil: no such key; did you mean 'distill'\?"):
        file.recipe(file.grid.rows[0], 0, final=False)


def test_test_images_stay_closed_until_the_choices_are_frozen(grid):
    with pytest.raises(InputError, match="nothing is frozen yet"):
        grid().refuse_unfrozen()
    choices = grid().choices()
    grid(frozen=choices).refuse_unfrozen()
    with pytest.raises(InputError, match=f"a choice changed since {choices}"):
        grid(frozen=choices, set={"fuse.iou": 0.6}).refuse_unfrozen()


def test_where_files_lie_and_what_seeds_there_are_is_no_choice(grid, tmp_path):
    choices = grid().choices()
    assert grid(seeds=[3]).choices() == choices
    assert grid(changes=("device=auto", "workers=2")).choices() == choices
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("grid.yaml", "small.yaml"):
        (other / name).write_text((tmp_path / name).read_text())
    assert load_grid(other / "grid.yaml").choices() == choices


def test_other_weights_of_the_same_name_are_another_choice(grid, tmp_path):
    for folder, content in (("one", b"a"), ("two", b"b"), ("copy", b"a")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "best.pt").write_bytes(content)

    def choices(folder):
        return grid(set={"teachers": [{"name": "big", "weights": f"{folder}/best.pt"}]}).choices()

    assert choices("one") == choices("copy") != choices("two")


def test_a_row_may_have_a_recipe_of_its_own(grid, tmp_path):
    file = grid([{"name": "one", "model": "student", "recipe": "other.yaml"}])
    tree = yaml.safe_load((tmp_path / "small.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**tree, "name": "other"}))
    assert file.recipe(file.grid.rows[0], 0, final=False).name == "other"


def test_a_row_may_have_some_of_the_teachers(grid, tmp_path):
    tree = yaml.safe_load((tmp_path / "small.yaml").read_text())
    second = {"name": "small", "architecture": {"model": "yolo11n.yaml", "imgsz": 64}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({**tree, "teachers": [*tree["teachers"], second]}))
    one = {"model": "student", "recipe": "two.yaml"}
    changes = {"teachers.big.weight": 2.0, "teachers.small.weight": 3.0}
    rows = [{**one, "name": "both"}, {**one, "name": "alone", "teachers": ["small"]}]
    file = grid(rows, set=changes)
    assert [teacher.weight for teacher in file.recipe(row(file, "both"), 0, final=False).teachers] == [2.0, 3.0]
    alone = file.recipe(row(file, "alone"), 0, final=False).teachers
    assert [(teacher.name, teacher.weight) for teacher in alone] == [("small", 3.0)]
    given = grid(
        [{"name": "given", "model": "student", "teachers": ["tiny"]}], set={"teachers": [{**second, "name": "tiny"}]}
    )
    assert [teacher.name for teacher in given.recipe(row(given, "given"), 0, final=False).teachers] == ["tiny"]
    file = grid([{**one, "name": "alone", "teachers": ["tiny"]}])
    with pytest.raises(RecipeError, match=r"names of the recipe's teachers \['big', 'small'\]; found \['tiny'\]"):
        file.recipe(file.grid.rows[0], 0, final=False)


@pytest.mark.parametrize("name", sorted(path.stem for path in (RECIPES / "bench").glob("*.yaml")))
def test_the_projects_own_grids_have_recipes_without_a_mistake(name, monkeypatch):
    monkeypatch.setenv("DA_KD_DATA", "/data")
    file = load_grid(RECIPES / "bench" / f"{name}.yaml")
    for item in file.grid.rows:
        for final in (False, True):
            assert file.recipe(item, 0, final=final).evaluate is not None


FROZEN = sorted(path.stem for path in (RECIPES / "bench").glob("*.yaml") if "\nfrozen:" in path.read_text("utf-8"))


@pytest.mark.parametrize("name", FROZEN)
def test_no_choice_of_the_projects_frozen_grids_has_changed_since(name, monkeypatch):
    monkeypatch.setenv("DA_KD_DATA", "/data")
    # Otherwise a table made before the change is no longer what its command makes.
    load_grid(RECIPES / "bench" / f"{name}.yaml").refuse_unfrozen()
