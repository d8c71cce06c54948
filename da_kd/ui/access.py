"""Whatever a request says is checked here: names of runs and recipes, paths inside recipes, numbers, uploads.

A handler of the page can be called by anybody who reaches the port, with any value; hiding a button closes nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from da_kd.errors import InputError, RecipeError
from da_kd.pipeline import Run
from da_kd.recipe import TAKEN, Recipe, load_recipe, recipe_from_text
from da_kd.ui.settings import Settings

LONGEST_RECIPE, LONGEST_PATH = 50_000, 1000  # characters
_MOST_ALIASES = 20  # a few kilobytes of nested YAML aliases can stand for more than fits into memory
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_VARIABLE = re.compile(r"\$\{(\w+)")
_OPEN_VARIABLES = ("DA_KD_DATA",)
_OF_A_SET = re.compile(r"data\.\w+\.(path|images)")  # yielded from their root as well


def checked_name(name: Any, what: str = "a run") -> str:
    """Return a name that is one part of a path.

    Raises:
        InputError: it is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in TAKEN:
        shown = repr(name)[:60]
        raise InputError(f"Expected the name of {what}: letters, digits, '_', '.', '-', up to 80; found {shown}.")
    return name


def run_named(settings: Settings, name: Any) -> Run:
    """Return the run of that name, which need not exist.

    Raises:
        InputError: the name is none, or leads out of the workspace.
    """
    folder = settings.workspace / checked_name(name)
    if folder.resolve() != folder:
        raise InputError(f"The run '{name}' is a link that leads out of the workspace; the app does not follow it.")
    return Run(folder)


def existing_run(settings: Settings, name: Any) -> Run:
    """Return a run that is there.

    Raises:
        InputError: there is none of that name.
    """
    run = run_named(settings, name)
    if not run.exists and not (run.folder / "launch.json").is_file():
        raise InputError(f"There is no run '{name}' (any more). Choose another one above, or start one.")
    return run


def recipe_files(settings: Settings) -> dict[str, Path]:
    """Return the recipes to begin with, by file name."""
    return {path.name: path for path in sorted(settings.recipes.glob("*.yaml")) if path.is_file()}


def recipe_file(settings: Settings, name: Any) -> Path:
    """Return one of them.

    Raises:
        InputError: there is none of that name.
    """
    found = recipe_files(settings)
    if not isinstance(name, str) or name not in found:
        raise InputError(f"There is no recipe {name!r:.60} in {settings.recipes}. Choose one of the list.")
    return found[name]


def typed_recipe(settings: Settings, text: Any, based_on: Path | None) -> Recipe:
    """Return the recipe that somebody typed, with the mistakes ``da-kd check`` would tell.

    Args:
        settings: say which folders it may name.
        text: what was typed.
        based_on: the recipe file it began with; relative paths count from its folder. Unchanged, it may name anything.

    Raises:
        RecipeError: with every problem found.
    """
    if not isinstance(text, str) or len(text) > LONGEST_RECIPE:
        raise RecipeError([f"expected a text of at most {LONGEST_RECIPE} characters"])
    if based_on is not None and unchanged(text, based_on):
        return load_recipe(based_on)
    _check_yaml(text)
    recipe = recipe_from_text(text, folder=based_on.parent if based_on else settings.start)
    problems = [
        f"{place}: {path} lies outside the folders that the app may read ({_listed(settings.roots)}). "
        "Use a path inside them, or start the app with --data FOLDER"
        for place, path in _paths(recipe.model_dump(mode="json", by_alias=True, exclude_none=True))
        if not _allowed(path, settings)
    ]
    if problems:
        raise RecipeError(problems)
    return recipe


def unchanged(text: str, file: Path) -> bool:
    """Say whether a text is that of a recipe file, but for the white space at its ends."""
    return text.strip() == file.read_text(encoding="utf-8").strip()


def _check_yaml(text: str) -> None:
    """Refuse variables of the environment, which may be secrets, and texts that grow when they are read."""
    strange = sorted(set(_VARIABLE.findall(text)) - set(_OPEN_VARIABLES))
    if strange:
        raise RecipeError(
            [f"uses ${{{name}}}; a recipe typed in the page may use ${{DA_KD_DATA}} alone" for name in strange]
        )
    try:
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return  # the reader tells where
    if aliases > _MOST_ALIASES:
        raise RecipeError([f"expected at most {_MOST_ALIASES} YAML aliases; found {aliases}"])


def _paths(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a resolved recipe that leads to a place on the disk, and where it stands."""
    if isinstance(value, dict):
        root = value.get("root", "") if place == "data" else ""
        for key, item in value.items():
            yield from _paths(item, f"{place}.{key}".strip("."))
            if place == "data" and isinstance(item, dict):
                for name in ("path", "images"):
                    if isinstance(item.get(name), str):
                        yield f"data.{key}.{name}", str(Path(root) / Path(item[name]).expanduser())
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, f"{place}.{index}")
    elif isinstance(value, str) and (value.startswith(("/", "~")) or _leads(value, place) or "://" in value):
        yield place, value


def _leads(value: str, place: str) -> bool:
    """Say whether a text may lead elsewhere from where the app was started; paths of sets count from ``data.root``."""
    return ("/" in value or value == "..") and not _OF_A_SET.fullmatch(place)


def _allowed(path: str, settings: Settings) -> bool:
    """Say whether a path, links followed, lies in a folder that the app may read."""
    if "://" in path:
        return False
    try:
        real = (settings.start / Path(path).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    if settings.cache in (real, *real.parents):
        return False  # anybody may upload, and what was uploaded must not be loaded as weights
    return any(real == root or root in real.parents for root in settings.roots)


def readable_place(settings: Settings, name: str) -> Path:
    """Return the file or folder that a person typed; relative paths count from where the app was started.

    Raises:
        InputError: it lies outside the folders that the app may read.
    """
    if not name.isprintable() or len(name) > LONGEST_PATH or not _allowed(name, settings):
        raise InputError(
            f"{name[:200]!r} lies outside the folders that the app may read ({_listed(settings.roots)}). "
            "Use a path inside them, or start the app with --data FOLDER."
        )
    return (settings.start / Path(name).expanduser()).resolve()


def readable_file(settings: Settings, name: Any, kinds: Iterable[str]) -> Path:
    """Return the file of one of these kinds that a person typed.

    Raises:
        InputError: there is none, it is of another kind, or lies outside the folders that the app may read.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"Expected the path of a file that ends in {_either(kinds)}; give one.")
    path = readable_place(settings, name.strip())
    if path.suffix.lower() not in kinds or not path.is_file():
        raise InputError(f"Expected a file that ends in {_either(kinds)} at {path}; found none. Check the path.")
    return path


def uploaded_file(settings: Settings, value: Any, missing: str) -> Path:
    """Return the file that somebody uploaded; nothing outside the app's own folder is opened.

    Raises:
        InputError: there is none, or it lies elsewhere.
    """
    if not isinstance(value, str) or not value:
        raise InputError(missing)
    path = Path(value).resolve()
    if settings.cache not in path.parents or not path.is_file():
        raise InputError("Expected a file uploaded through this page; upload it again.")
    return path


def _either(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _listed(paths: tuple[Path, ...]) -> str:
    return ", ".join(map(str, paths))


def number(value: Any, low: float, high: float, what: str) -> float:
    """Return a finite number in a range.

    Raises:
        InputError: it is not one.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        raise InputError(f"{what}: expected a number from {low} to {high}; found {value!r:.40}.")
    return float(value)


def one_of(value: Any, known: Any, what: str) -> Any:
    """Return a value that is one of those offered.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{what}: expected one of {', '.join(map(str, known)) or 'none yet'}; found {value!r:.60}.")
    return value
