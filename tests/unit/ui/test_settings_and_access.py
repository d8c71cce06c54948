"""What the operator may ask for, and what a request may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from da_kd.errors import InputError, RecipeError
from da_kd.recipe import TAKEN
from da_kd.ui.access import (
    checked_name,
    existing_run,
    number,
    one_of,
    readable_file,
    recipe_file,
    run_named,
    typed_recipe,
    uploaded_file,
)
from da_kd.ui.settings import Login, is_loopback, make_settings

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "my-machine", "::"])  # noqa: S104
def test_an_address_open_to_others_demands_a_login(tmp_path, host):
    with pytest.raises(InputError, match="opens the app to other machines"):
        make_settings(tmp_path, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_the_machine_itself_needs_none(tmp_path, host):
    assert is_loopback(host)
    assert make_settings(tmp_path, host=host).login is None


def test_the_login_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DA_KD_APP_USER", "eve")
    monkeypatch.setenv("DA_KD_APP_PASSWORD", "short")
    with pytest.raises(InputError, match="at least 8 characters"):
        make_settings(tmp_path, auth=True)
    monkeypatch.setenv("DA_KD_APP_PASSWORD", "long enough")
    login = make_settings(tmp_path, host="0.0.0.0", auth=True).login  # noqa: S104
    assert login is not None and (login.user, login.password) == ("eve", "long enough")


def test_a_login_file_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "login"
    file.write_text("eve:long enough\n")
    file.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        make_settings(tmp_path, auth_file=file)
    file.chmod(0o600)
    login = make_settings(tmp_path, auth_file=file).login
    assert login == Login("eve", "long enough")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", *TAKEN, "x" * 81, None, 3, ["a"], ".app", "a\n", "-x"]
)
def test_what_is_no_name_of_a_run_is_refused(settings, name):
    with pytest.raises(InputError, match="Expected the name"):
        checked_name(name)


def test_a_run_that_is_a_link_out_of_the_workspace_is_not_followed(settings, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    settings.workspace.mkdir()
    (settings.workspace / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out"):
        run_named(settings, "x")


def test_a_vanished_run_is_told(settings):
    with pytest.raises(InputError, match="There is no run 'gone'"):
        existing_run(settings, "gone")


@pytest.mark.parametrize("name", ["../demo.yaml", "other.yaml", "", None, 5])
def test_only_recipes_of_the_folder_are_offered(settings, name):
    with pytest.raises(InputError, match="There is no recipe"):
        recipe_file(settings, name)


def test_an_unchanged_recipe_may_name_what_its_owner_likes(settings, tmp_path, recipe_text):
    file = settings.recipes / "demo.yaml"
    file.write_text(recipe_text.replace("ROOT", "/"))
    assert typed_recipe(settings, file.read_text() + "\n", file).data.root == "/"
    with pytest.raises(RecipeError, match="outside the folders"):
        typed_recipe(settings, file.read_text() + "# changed", file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ROOT", "/etc"),
        ("ROOT", "../.."),
        ("path: images}, test", "path: ../../etc}, test"),
        ("root: ROOT, target: {path: images}", "root: '', target: {path: ../../etc}"),
        ("path: images}, test", "path: /etc/passwd}, test"),
        ("path: images}, test", "path: ~/x}, test"),
        ("a.json", "/etc/passwd"),
        ("a.json", "../../../../etc/passwd"),
        ("kind: coco_file", "kind: coco_file, options: {truth: /etc/passwd}"),
        ("kind: coco_file", "kind: coco_file, options: {truth: 'https://evil.example/x'}"),
    ],
)
def test_a_typed_recipe_stays_in_the_folders_of_the_app(settings, old, new, recipe_text):
    text = recipe_text.replace(old, new).replace("ROOT", ".")
    with pytest.raises(RecipeError, match="outside the folders"):
        typed_recipe(settings, text, None)


def test_a_path_of_a_set_counts_from_the_root_of_the_data(settings, recipe_text):
    file = settings.recipes / "demo.yaml"
    (settings.start / "images").mkdir()
    text = recipe_text.replace("ROOT", ".").replace("path: images}", "path: ../images}").replace("a.json", "../a.json")
    assert typed_recipe(settings, text, file).data.target.path == "../images"
    with pytest.raises(RecipeError, match="outside the folders"):
        typed_recipe(settings, text.replace("../images", "../../images"), file)


@pytest.mark.parametrize("weights", ["runs/.app/x/model.pt", "runs/./.app/x/model.pt", "way/x/model.pt"])
def test_what_was_uploaded_is_no_weights_of_a_recipe(settings, recipe_text, weights):
    file = settings.cache / "x" / "model.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a pickle")
    (settings.start / "way").symlink_to(settings.cache)
    change = f"weights: {settings.start / weights}, kind: ultralytics"
    text = recipe_text.replace("ROOT", ".").replace("weights: a.json, kind: coco_file", change)
    with pytest.raises(RecipeError, match="outside the folders"):
        typed_recipe(settings, text, None)
    with pytest.raises(InputError, match="outside the folders"):
        readable_file(settings, weights, {".pt"})


@pytest.mark.parametrize(
    "change",
    [
        "architecture: {model: runs/.app/x/evil.yaml}",
        "architecture: {model: way/x/evil.yaml}",
        "weights: a.json, kind: coco_file, options: {truth: runs/.app/x/evil.yaml}",
        "weights: a.json, kind: coco_file, options: {many: [way/x/evil.yaml]}",
    ],
)
def test_no_model_and_no_option_of_a_recipe_leads_to_what_was_uploaded(settings, recipe_text, change):
    file = settings.cache / "x" / "evil.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("activation: print(1)")
    (settings.start / "way").symlink_to(settings.cache)
    text = recipe_text.replace("ROOT", ".").replace("weights: a.json, kind: coco_file", change)
    text = text.replace("data: {", "data: {source: {path: images}, ") + "teach: {steps: 1}\n"
    for base in (None, settings.recipes / "demo.yaml"):
        with pytest.raises(RecipeError, match="outside the folders"):
            typed_recipe(settings, text, base)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.name)
def test_the_recipes_of_the_repository_may_be_changed_in_the_page(file, monkeypatch):
    monkeypatch.setenv("DA_KD_DATA", str(RECIPES.parent / "data"))
    typed_recipe(make_settings(RECIPES.parent), file.read_text() + "# changed", file)


def test_a_file_that_is_typed_is_found_from_where_the_app_was_started(settings):
    (settings.start / "model.pt").write_bytes(b"")
    assert readable_file(settings, " model.pt", {".pt", ".onnx"}) == settings.start / "model.pt"
    for wrong in ("other.pt", "recipes", "recipes/demo.yaml"):
        with pytest.raises(InputError, match=r"ends in \.onnx or \.pt"):
            readable_file(settings, wrong, {".pt", ".onnx"})
    for wrong in ("../x.pt", "/etc/passwd", "~/x.pt", "x\n.pt", "http://x/y.pt", "x" * 2000):
        with pytest.raises(InputError, match="outside the folders"):
            readable_file(settings, wrong, {".pt"})


def test_only_what_came_through_the_page_counts_as_uploaded(settings):
    (settings.start / "a.png").write_bytes(b"")
    for wrong in (str(settings.start / "a.png"), str(settings.cache / ".." / ".." / "a.png"), "/etc/passwd"):
        with pytest.raises(InputError, match="uploaded through this page"):
            uploaded_file(settings, wrong, "none")
    with pytest.raises(InputError, match="none"):
        uploaded_file(settings, None, "none")


def test_a_link_does_not_lead_a_recipe_out(settings, tmp_path, recipe_text):
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(RecipeError, match="outside the folders"):
        typed_recipe(settings, recipe_text.replace("ROOT", "link"), None)


def test_a_typed_recipe_cannot_ask_for_the_environment(settings, monkeypatch, recipe_text):
    monkeypatch.setenv("TOKEN", "very-secret")
    with pytest.raises(RecipeError) as caught:
        typed_recipe(settings, recipe_text.replace("name: demo", "name: '${TOKEN} '"), None)
    assert "very-secret" not in str(caught.value)
    assert "TOKEN" in str(caught.value)


def test_a_text_that_grows_when_it_is_read_is_refused(settings):
    grows = "a: &a [1]\n" + "\n".join(f"b{i}: [*a, *a]" for i in range(20))
    with pytest.raises(RecipeError, match="aliases"):
        typed_recipe(settings, grows, None)


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), -0.1, 1.1, [0.5]])
def test_a_number_is_checked(value):
    with pytest.raises(InputError, match="expected a number"):
        number(value, 0, 1, "Score")


@pytest.mark.parametrize("value", [None, 0, "c", ["a"]])
def test_a_choice_is_checked(value):
    with pytest.raises(InputError, match="expected one of a, b"):
        one_of(value, ("a", "b"), "Model")
