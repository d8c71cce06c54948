import json

import pytest

from da_kd.recipe import load_recipe

CATEGORIES = [{"id": 7, "name": "ship"}, {"id": 2, "name": "buoy: red"}]


@pytest.fixture
def yolo(tmp_path):
    folder = tmp_path / "labelled"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(b"")
    (folder / "data.yaml").write_text("train: images\nnames: [car, 'traffic light']\n")
    return folder


def test_flags_alone_make_a_recipe_that_loads(da_kd, yolo, tmp_path):
    result = da_kd(
        *("init", "first.yaml", "--yes", "--source", "labelled", "--target", "new", "--test", "test"),
        *("--target-labelled", "few"),
    )
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(tmp_path / "first.yaml")
    assert recipe.name == "first"
    assert recipe.classes == ("car", "traffic light")  # from the source's data.yaml
    assert recipe.finetune is not None and recipe.evaluate is not None and recipe.evaluate.oracle
    header = (tmp_path / "first.yaml").read_text().split("schema:")[0]
    for word in ("Needs:", "Command: da-kd run first.yaml", "Takes:"):
        assert word in header


def test_a_teacher_with_weights_needs_no_source(da_kd, tmp_path):
    result = da_kd("init", "--yes", "--target", "new", "--teacher-weights", "t.pt", "--classes", "a, b", "--name", "x")
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert (recipe.name, recipe.classes, recipe.data.source, recipe.evaluate) == ("x", ("a", "b"), None, None)
    assert recipe.teachers[0].weights == str(tmp_path / "t.pt")


def test_paths_count_from_the_new_files_folder(da_kd, tmp_path):
    result = da_kd("init", "sub/r.yaml", "--yes", "--target", "new", "--teacher-weights", "t.pt", "--classes", "a")
    assert result.exit_code == 0, result.stderr
    recipe = load_recipe(tmp_path / "sub" / "r.yaml")
    assert (recipe.data.target.path, recipe.teachers[0].weights) == ("../new", str(tmp_path / "t.pt"))


def test_places_in_an_object_store_stay_as_they_are(da_kd, tmp_path):
    arguments = ("--target", "s3://bucket/new", "--source", "old", "--classes", "a")
    assert da_kd("init", "sub/r.yaml", "--yes", *arguments).exit_code == 0
    data = load_recipe(tmp_path / "sub" / "r.yaml").data
    assert (data.target.path, data.source.path) == ("s3://bucket/new", "../old")


@pytest.mark.parametrize("name", ["2024", "1.5", "on", "null"])
def test_names_that_yaml_reads_as_something_else_are_names(da_kd, tmp_path, name):
    arguments = ("--yes", "--target", "new", "--teacher-weights", "t.pt", "--classes", "a")
    for file, more in ((f"{name}.yaml", ()), ("recipe.yaml", ("--name", name))):
        result = da_kd("init", file, *arguments, *more)
        assert result.exit_code == 0, result.stderr
        assert load_recipe(tmp_path / file).name == name


def test_classes_come_from_coco(da_kd, tmp_path):
    tree = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": CATEGORIES}
    (tmp_path / "source.json").write_text(json.dumps(tree))
    assert da_kd("init", "--yes", "--target", "new", "--source", "source.json").exit_code == 0
    assert load_recipe(tmp_path / "recipe.yaml").classes == ("buoy: red", "ship")


def test_of_sets_with_splits_those_are_taken_that_each_is_for(da_kd, yolo, tmp_path):
    (yolo / "data.yaml").write_text("train: images\nval: images\ntest: images\nnames: [car]\n")
    arguments = ("--source", "labelled", "--target", "labelled", "--target-labelled", "labelled", "--test", "labelled")
    assert da_kd("init", "--yes", *arguments).exit_code == 0
    data = load_recipe(tmp_path / "recipe.yaml").data
    splits = [getattr(data, name).split for name in ("source", "source_val", "target", "target_labelled", "test")]
    assert splits == [("train",), ("val",), ("train",), ("train",), ("val", "test")]
    (yolo / "data.yaml").write_text("test: images\nnames: [car]\n")
    assert da_kd("init", "--yes", "--force", *arguments).exit_code == 0
    data = load_recipe(tmp_path / "recipe.yaml").data
    assert (data.source.split, data.source_val, data.test.split) == ((), None, ())  # there is nothing to choose


def test_a_place_without_class_names_or_without_anything_is_told(da_kd, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.jpg").write_bytes(b"")
    missing = da_kd("init", "--yes", "--target", "new", "--source", "nowhere")
    assert "--classes: the student's classes, with commas between them; " in missing.stderr
    assert "nowhere" in missing.stderr
    plain = da_kd("init", "--yes", "--target", "new", "--source", "plain")
    assert "'plain' has images alone, no class names" in plain.stderr
    named = da_kd("init", "--yes", "--target", "new", "--source", "plain", "--classes", "a")
    assert "Nothing lies yet at 'new'." in named.stdout


def test_everything_that_is_missing_is_listed(da_kd, tmp_path):
    result = da_kd("init", "--yes")
    assert result.exit_code == 2
    for word in ("--target", "--teacher-weights", "--classes"):
        assert word in result.stderr
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_overwritten_by_force_alone(da_kd, tmp_path):
    (tmp_path / "recipe.yaml").write_text("mine")
    arguments = ("init", "--yes", "--target", "new", "--teacher-weights", "t.pt", "--classes", "a")
    assert da_kd(*arguments).exit_code == 2
    assert (tmp_path / "recipe.yaml").read_text() == "mine"
    assert da_kd(*arguments, "--force").exit_code == 0
    assert load_recipe(tmp_path / "recipe.yaml").classes == ("a",)


def test_a_name_no_run_can_have_is_refused_and_nothing_is_written(da_kd, tmp_path):
    result = da_kd("init", "--yes", "--target", "n", "--teacher-weights", "t.pt", "--classes", "a", "--name", "a b")
    assert result.exit_code == 2
    assert "Error: recipe.yaml has 1 mistake" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("folder", "Expected a file to write; folder is a folder"),
        ("file/r.yaml", "Expected a folder at file, to write file/r.yaml in; found a file"),
        ("file/deep/r.yaml", "Expected a folder at file"),
        (f"{'x' * 300}.yaml", "which leads nowhere (File name too long)"),
        ("~nosuchuser/r.yaml", "the folder of '~nosuchuser' is unknown"),
    ],
)
def test_a_place_where_no_recipe_can_be_written_is_told(da_kd, tmp_path, place, told):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    result = da_kd(
        *("init", place, "--force", "--yes", "--target", "n", "--teacher-weights", "t.pt", "--classes", "a"),
    )
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("option", ["--target", "--source", "--teacher-weights"])
def test_the_folder_of_a_user_that_nobody_knows_is_told(da_kd, tmp_path, option):
    given = {"--target": "n", "--teacher-weights": "t.pt"} | {option: "~nosuchuser/x"}
    result = da_kd("init", "--yes", "--classes", "a", *(word for pair in given.items() for word in pair))
    assert result.exit_code == 2
    assert "the folder of '~nosuchuser' is unknown" in " ".join(result.stderr.split())
