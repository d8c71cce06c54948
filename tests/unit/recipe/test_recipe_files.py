"""Reading a recipe: YAML, variables, changes, and what a person is told."""

from pathlib import Path

import pytest
import yaml

import da_kd
from da_kd.errors import RecipeError
from da_kd.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

SHIPPED = sorted((Path(da_kd.__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.fixture
def write(tmp_path, small):
    def to(text: str | bytes | None = None, name="r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(small) if text is None else text
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_say_how_they_are_run(path, monkeypatch, tmp_path):
    monkeypatch.setenv("DA_KD_DATA", str(tmp_path))
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    head = path.read_text(encoding="utf-8").split("schema:")[0]
    for word in ("Needs:", "Command:", "Takes:", "Shows:"):
        assert word in head


def test_there_are_recipes_to_load():
    assert "demo" in [path.stem for path in SHIPPED]


def test_every_mistake_is_told_at_once(problems, small):
    small["clases"] = []
    small["seed"] = "many"
    small["teachers"][0]["wieghts"] = "x"
    small["data"]["target"] = {"path": "a", "render": "lab_a", "fraction": 2}
    small["fuse"] = {"iou": 7}
    del small["name"]
    told = problems("review.mode=later", "nothing", tree=small)
    for start in (
        "--set nothing: expected key.sub=value",
        "name: expected a value; found none; add it",
        "seed: expected",
        "clases: no such key; did you mean 'classes'?",
        "data.target.fraction: expected",
        "teachers.0.wieghts: no such key; did you mean 'weights'?",
        "fuse.iou: expected",
        "review.mode: expected",
    ):
        assert len([line for line in told if line.startswith(start)]) == 1, (start, told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("evalute={}", "evalute: no such key; did you mean 'evaluate'?"),
        ("distill.epoch=3", "distill.epoch: no such key; did you mean 'epochs'?"),
        ("teachers.own.architecture.imgsize=64", "teachers.1.architecture.imgsize: no such key; did you mean 'imgsz'?"),
        ("teachers.1.schedule.bacth=2", "teachers.1.schedule.bacth: no such key; did you mean 'batch'?"),
        ("data.source.holdout.groups=image", "data.source.holdout.groups: no such key; did you mean 'group'?"),
        ("report.zzz=1", "report.zzz: no such key; known keys: images"),
        ("schema_=1", "schema_: no such key; did you mean 'schema'?"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(problems, change, told):
    assert problems(change) == (told,)


def test_a_bare_variable_between_braces_comes_with_the_remedy(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("schema: 1\ndata:\n  target: {path: ${DATA}/new}\n")
    with pytest.raises(RecipeError, match=r'needs quotes: \{path: "\$\{NAME\}/images"\}'):
        load_recipe(file)
    file.write_text("schema: 1\ndata:\n  target: {path: [new}\n")
    with pytest.raises(RecipeError) as other:
        load_recipe(file)
    assert "NAME" not in str(other.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed=-1", "seed: expected a number from 0 on; found the number -1"),
        ("seed=[1]", "found a list"),
        ("name=", "found nothing"),
        ("device=gpu", "found the text 'gpu'"),
        ("schema=2", "found the number 2"),
        ("student.imgsz=100", "multiple of 32"),
        ("data=3", "found the number 3"),
    ],
)
def test_a_wrong_value_is_shown_as_a_person_wrote_it(problems, change, told):
    (line,) = problems(change)
    assert line.startswith(change.partition("=")[0])
    assert told in line


def test_changes_reach_into_lists_by_index_and_by_name(small):
    recipe = parse_recipe(
        small,
        [
            "teachers.big.weight=2",
            "teachers.1.name=mine",
            "data.target={path: other, split: val}",
            "fuse.keep.default=0.7",
            "report.images=0",
            "teachers.mine.options.head=one_to_one",
        ],
    )
    assert [teacher.weight for teacher in recipe.teachers] == [2, 1]
    assert recipe.teachers[1].name == "mine"
    assert recipe.teachers[1].options == {"head": "one_to_one"}
    assert (recipe.data.target.path, recipe.data.target.split) == ("other", ("val",))
    assert recipe.fuse.keep == {"default": 0.7}
    assert small["teachers"][1]["name"] == "own"  # what was given is not touched


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("teachers.third.weight=2", "expected an index below 2 or one of the names ['big', 'own']; found 'third'"),
        ("teachers.2.weight=2", "expected an index below 2"),
        ("name.first=x", "'name' is the text 'small', it has no key 'first'"),
        ("seed=[1", "--set seed: the value is not readable as YAML"),
        ("=1", "expected key.sub=value"),
    ],
)
def test_a_change_that_goes_nowhere_is_told(problems, change, told):
    (line,) = problems(change)
    assert line.startswith("--set ")
    assert told in line


def test_variables_are_filled_in(small, monkeypatch, problems):
    monkeypatch.setenv("DA_KD_A", "left")
    monkeypatch.setenv("DA_KD_N", "7")
    monkeypatch.delenv("DA_KD_B", raising=False)
    small["data"]["target"]["path"] = "${DA_KD_A}/${DA_KD_B:-right}/${DA_KD_B:-}x"
    small["classes"] = ["${DA_KD_A}", "$NOT"]
    recipe = parse_recipe(small, ["seed=${DA_KD_N}"])
    assert recipe.data.target.path == "left/right/x"
    assert recipe.classes == ("left", "$NOT")
    assert recipe.seed == 7
    small["data"]["target"]["path"] = "${DA_KD_B}"
    (line,) = problems(tree=small)
    assert line == (
        "data.target.path: uses ${DA_KD_B}, which is not set; export DA_KD_B=... or pass --set data.target.path=..."
    )
    assert parse_recipe(small, ["data.target.path=here"]).data.target.path == "here"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nclasses: [x]\nname: b\n", "line 3, column 1: key 'name' is given twice"),
        ("data: {target: {path: a, path: b}}", "key 'path' is given twice"),
        ("data: {root: ${A}}", "not readable as YAML: line 1"),
        ("data: {{a: 1}: 2}", "not readable as YAML: line 1"),
        ("? [a, b]\n: 1\n", "not readable as YAML: line 1"),
        ("a: [1", "not readable as YAML: line"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("a: \x00", "not readable as YAML"),
        ("- a", "expected keys and values; found a list"),
        ("", "expected keys and values; found nothing"),
        ("just words", "found the text 'just words'"),
        (b"name: caf\xe9", "expected UTF-8 text; byte 9 is not"),
        ("seed: 1\nname: 2024-02-30", "line 2, column 7: expected a date; found '2024-02-30'; put a text in quotes"),
        ("name: 0x_", "line 1, column 7: expected a whole number; found '0x_'; put a text in quotes"),
        ("seed: 0b_", "line 1, column 7: expected a whole number; found '0b_'; put a text in quotes"),
        (f"seed: {'9' * 5000}", f"found '{'9' * 40}...' of 5000 characters"),
        ("name: !!bool perhaps", "expected true or false; found 'perhaps'"),
        ("name: !!timestamp now", "expected a date; found 'now'"),
        ("a: &a [*a]", "line 1, column 4: found a value that holds itself"),
        (f"x: {'[' * 3000}{']' * 3000}", "too deep inside each other"),
        ("name: a\0b", "special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_recipe_is_told(write, text, told):
    path = write(text)
    with pytest.raises(RecipeError, match=r"r\.yaml has 1 mistake") as caught:
        load_recipe(path)
    assert told in caught.value.problems[0]


def test_keys_that_are_no_text_are_told(problems, small):
    small["data"][1] = 2
    assert problems(tree=small)[0].startswith("data.1")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(RecipeError, match="there is none"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="there is none"):
        load_recipe(tmp_path)


def test_yaml_may_repeat_itself_by_anchors(write, small):
    text = yaml.safe_dump({key: value for key, value in small.items() if key not in ("distill", "finetune")})
    text += "distill: &how {steps: 10, batch: 4}\nfinetune:\n  <<: *how\n  batch: 2\n"
    recipe = load_recipe(write("\ufeff" + text))
    assert (recipe.finetune.steps, recipe.finetune.batch, recipe.distill.batch) == (10, 2, 4)


def test_paths_count_from_the_recipes_folder(write, small, tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    folder.mkdir()
    small["student"] = {"model": "own.yaml"}
    small["teachers"][1]["architecture"]["model"] = "start.pt"
    small["teachers"][0]["options"] = {"images": "list.json", "head": "list"}
    small["data"]["root"] = "../data"
    (folder / "own.yaml").write_text("nc: 1")
    (folder / "list.json").write_text("{}")
    path = write(name="deep/r.yaml")
    monkeypatch.chdir(folder)
    for name in (path, "r.yaml", "../deep/r.yaml"):
        recipe = load_recipe(name)
        assert recipe.data.root == str(tmp_path / "data")
        assert recipe.teachers[0].weights == str(folder / "big.pt")
        assert recipe.teachers[0].options == {"images": str(folder / "list.json"), "head": "list"}
        assert recipe.teachers[1].architecture.model == str(folder / "start.pt")
        assert recipe.student.model == str(folder / "own.yaml")
    small["student"] = {"model": "yolo11n.yaml"}
    assert load_recipe(write(name="deep/r.yaml")).student.model == "yolo11n.yaml"  # the library's own


def test_an_option_may_be_a_long_text(small):
    small["teachers"][0]["options"] = {"prompt": "a cell, " * 200}
    assert parse_recipe(small).teachers[0].options == small["teachers"][0]["options"]


@pytest.mark.parametrize("path", [*SHIPPED, None], ids=lambda path: path.stem if path else "small")
def test_a_dumped_recipe_is_the_same_recipe_from_anywhere(path, write, tmp_path, small, monkeypatch):
    monkeypatch.setenv("DA_KD_DATA", "data")
    small["teachers"][0] |= {"classes": {"cell": None, "red": "RBC"}, "options": {"a": [1, {"b": None}]}}
    small["classes"] = ["RBC", "WBC", "größer: #1"]
    recipe = load_recipe(path or write())
    text = dump_recipe(recipe)
    assert load_recipe(write(text, "elsewhere/again.yaml")) == recipe
    assert dump_recipe(load_recipe(tmp_path / "elsewhere/again.yaml")) == text
    assert "report:" in text  # defaults are written out
    assert list(yaml.safe_load(text))[:2] == ["schema", "name"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2024-02-30", "expected a date"),
        ("9" * 5000, "of 5000 characters"),
        ("&a [*a]", "holds itself"),
        ("[" * 3000, "too deep"),
        ("[", "line 1"),
    ],
)
def test_a_change_that_is_no_yaml_is_told(small, value, told):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(small, [f"name={value}", "teachers.².weight=1"])
    assert caught.value.problems[0].startswith("--set name: the value is not readable as YAML: ")
    assert told in caught.value.problems[0]
    assert "found '²'" in caught.value.problems[1]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("~nosuchuser/x.pt", "the folder of '~nosuchuser' is unknown"),
        ("a\0.pt", "which holds a character that no path can hold"),
        (f"{'x' * 300}.pt", "which leads nowhere"),
        ("round/x.pt", "which leads nowhere"),
    ],
)
def test_a_path_that_can_be_none_is_told_at_its_key(small, tmp_path, path, told):
    (tmp_path / "round").symlink_to("round")
    small["data"]["root"] = small["teachers"][0]["weights"] = path
    small["student"] = small["teachers"][1]["architecture"] = {"model": path}
    with pytest.raises(RecipeError) as caught:
        parse_recipe(small, folder=tmp_path)
    keys = ["data.root", "teachers.0.weights", "teachers.1.architecture.model", "student.model"]
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == keys
    assert all("Expected a path; found " in problem and told in problem for problem in caught.value.problems)
    small["data"] |= {"root": ".", "target": {"path": path, "images": path}}
    with pytest.raises(RecipeError) as caught:
        parse_recipe(small, folder=tmp_path)
    assert [problem.partition(": ")[0] for problem in caught.value.problems][:2] == [
        "data.target.path",
        "data.target.images",
    ]


def test_a_path_through_a_link_to_itself_is_told_not_followed(small, tmp_path):
    (tmp_path / "round").symlink_to("round")
    small["data"] = {"root": "round", "target": {"path": "s3://bucket/new"}}
    small["teachers"] = small["teachers"][:1]
    for name in ("finetune", "evaluate"):
        small.pop(name, None)
    assert parse_recipe(small, folder=tmp_path).data.root == str(tmp_path / "round")


def test_a_recipe_is_frozen(small):
    recipe = parse_recipe(small)
    for section, key in [(recipe, "name"), (recipe.data, "root"), (recipe.teachers[0], "weight"), (recipe.fuse, "iou")]:
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, key, getattr(section, key))
    assert isinstance(recipe, Recipe)
