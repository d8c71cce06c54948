import subprocess
import sys

import pytest
from PIL import Image

HEAVY = ("torch", "numpy", "ultralytics", "fiftyone", "pyarrow", "PIL", "pycocotools", "plotly")


def test_a_good_recipe_is_fine(da_kd, recipe):
    result = da_kd("check", recipe)
    assert (result.exit_code, result.stdout) == (0, f"{recipe}: fine\n")


def test_every_mistake_is_listed_on_stderr(da_kd, recipe):
    result = da_kd("check", recipe, "--set", "teach.stepz=3", "--set", "fuse.iou=7")
    assert result.exit_code == 2
    assert "teach.stepz: no such key; did you mean 'steps'?" in result.stderr
    assert "fuse.iou" in result.stderr
    assert result.stdout == ""


def test_a_recipe_that_is_not_there_says_where(da_kd):
    result = da_kd("check", "nothing.yaml")
    assert result.exit_code == 2
    assert "nothing.yaml" in result.stderr


@pytest.mark.parametrize("arguments", [["check", "small.yaml"], ["--help"], ["--version"], ["run", "--help"]])
def test_light_commands_load_no_heavy_library(recipe, arguments):
    code = (
        "import sys\nfrom da_kd.cli import main\n"
        f"sys.argv = ['da-kd', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=recipe.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_deep_lists_what_only_shows_when_things_are_opened(da_kd, recipe):
    recipe.write_text(
        recipe.read_text().replace("target: {render: lab_b, split: train, count: 4}", "target: {path: gone}")
        + "student: {model: yolo99.yaml}\n"
    )
    recipe.write_text(recipe.read_text() + "distill: {steps: 4}\n")
    result = da_kd("check", recipe, "--deep", "--set", "teachers.big.options={size: 3}")
    assert result.exit_code == 2
    assert "3 mistakes" in result.stderr
    for word in ("data.target", "yolo99.yaml", "no option 'size'"):
        assert word in result.stderr


def test_deep_finds_a_device_that_is_not_there(da_kd, recipe):
    result = da_kd("check", recipe, "--deep", "--set", "device=cuda:99")
    assert result.exit_code == 2
    assert "cuda:99" in result.stderr


def test_deep_finds_a_class_no_teacher_learns(da_kd, recipe):
    result = da_kd("check", recipe, "--deep", "--set", "teachers.big.classes={WBC: null}")
    assert result.exit_code == 2
    assert "No teacher can see the class 'WBC'" in result.stderr


def test_deep_says_fine_and_leaves_nothing_behind(da_kd, recipe):
    result = da_kd("check", recipe, "--deep")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("fine\n")
    assert [path.name for path in recipe.parent.iterdir()] == ["small.yaml"]


def test_deep_finds_rendered_sets_in_a_workspace_that_is_not_beside_the_recipe(da_kd, recipe):
    (recipe.parent / "runs").mkdir()
    (recipe.parent / "recipes").mkdir()
    place = recipe.rename(recipe.parent / "recipes" / recipe.name)
    result = da_kd("check", place, "--deep")
    assert result.exit_code == 0, result.stderr
    assert not (place.parent / "runs").exists()


def test_deep_tells_of_images_that_a_run_goes_on_without(da_kd, recipe):
    photographs = recipe.parent / "photographs"
    photographs.mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(photographs / f"{number}.png")
    (photographs / "bad.jpg").write_text("no picture")
    result = da_kd("check", recipe, "--deep", "--set", "data.target={path: photographs}")
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert told.count("data.target: 1 of 7 images cannot be read and are left out (bad.jpg: not an image).") == 1


def test_an_unknown_kind_of_teacher_is_a_mistake_without_deep(da_kd, recipe):
    result = da_kd("check", recipe, "--set", "teachers.big={name: big, kind: torchvison, weights: w.pt}")
    assert result.exit_code == 2
    assert "teachers.big.kind: Expected the name of a teacher adapter; found 'torchvison'" in result.stderr
    assert "did you mean 'torchvision'?" in " ".join(result.stderr.split())
