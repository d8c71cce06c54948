"""The documentation says what the code says."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_recipe_keys_is_the_one_the_models_make():
    spec = importlib.util.spec_from_file_location("recipe_page", ROOT / "tools" / "recipe_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == module.page()


def test_every_key_of_a_recipe_is_explained():
    rows = [
        line for line in (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    assert len(rows) > 60
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


def test_every_command_is_on_the_map():
    from typer.main import get_command

    from da_kd.cli import app

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in get_command(app).commands if f"`da-kd {name}" not in text] == []
