"""Reads recipes: YAML, ``${VARIABLES}``, ``--set`` changes, and mistakes rewritten for people.

Must not know what a stage does with a key, nor look whether files that a recipe names exist.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from da_kd.errors import InputError, RecipeError
from da_kd.files import expanded, is_file
from da_kd.plain_yaml import PlainLoader, read_yaml
from da_kd.recipe.labels import Teacher
from da_kd.recipe.models import Recipe
from da_kd.recipe.training import Architecture
from da_kd.recipe.values import PATTERNS

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
# What pydantic puts at the end of an error's path for a branch of a union.
_BRANCH = re.compile(r"(constrained-|function-|literal\[|list\[|dict\[|tuple\[).*|int|float|str|bool|none")


class _UniqueKeys(PlainLoader):
    """A YAML loader that refuses a key given twice, which plain YAML would silently overwrite."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read one mapping and check its keys as they are written, before ``<<`` merges others into it."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the loader refuses it with a message of its own
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
            seen.add((key.tag, key.value))
        return node


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the YAML file; relative ``data.root`` counts from its folder.
        changes: ``key.sub=value`` strings laid over the file, the value read as YAML.

    Raises:
        RecipeError: with every problem found.
    """
    path = Path(path)
    return parse_recipe(read_tree(path), changes, folder=path.resolve().parent, source=str(path))


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises:
        RecipeError: there is no such file, or it holds something else.
    """
    if not is_file(path):
        raise RecipeError([f"expected a YAML file at {path}; there is none"], str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError([f"expected UTF-8 text; byte {error.start} is not"], str(path)) from error
    return _tree_of(text, str(path))


def recipe_from_text(
    text: str, changes: Sequence[str] = (), folder: Path | None = None, source: str = "the recipe"
) -> Recipe:
    """Check a recipe given as YAML; ``folder`` is what relative paths count from.

    Raises:
        RecipeError: with every problem found.
    """
    return parse_recipe(_tree_of(text, source), changes, folder=folder, source=source)


def _tree_of(text: str, source: str) -> dict[str, Any]:
    try:
        tree = read_yaml(text, _UniqueKeys)
    except ValueError as error:
        raise RecipeError([f"not readable as YAML: {error}{_quotes(error.__cause__, text)}"], source) from error
    if not isinstance(tree, dict):
        raise RecipeError([f"expected keys and values; found {_kind(tree)}"], source)
    return tree


def parse_recipe(
    tree: Mapping[str, Any], changes: Sequence[str] = (), folder: Path | None = None, source: str = "the recipe"
) -> Recipe:
    """Check a recipe given as a tree of plain values; ``folder`` is what relative paths count from.

    Raises:
        RecipeError: with every problem found.
    """
    problems: list[str] = []
    merged = _with_changes(tree, changes, problems)
    filled = _fill(merged, "", problems)
    try:
        recipe = _anchored(Recipe.model_validate(filled), folder or Path.cwd(), problems)
    except ValidationError as error:
        problems += explain(error, Recipe)
    if problems:
        raise RecipeError(problems, source)
    return recipe


def changed(tree: Mapping[str, Any], changes: Sequence[str], source: str = "the recipe") -> dict[str, Any]:
    """Return a tree of plain values with changes as ``--set`` takes them; nothing else of it is checked.

    Raises:
        RecipeError: with every change that cannot be made.
    """
    problems: list[str] = []
    merged = _with_changes(tree, changes, problems)
    if problems:
        raise RecipeError(problems, source)
    return merged


def _anchored(recipe: Recipe, folder: Path, problems: list[str]) -> Recipe:
    """Return the recipe with every path that counts from ``folder`` made absolute."""

    def place(name: str, key: str, above: Path = folder) -> str:
        try:
            return os.path.realpath(expanded(name, above))  # pathlib's raises an error of its own where links go round
        except InputError as error:
            problems.append(f"{key}: {error}")
            return name

    def model(architecture: Architecture, key: str) -> Architecture:
        name = architecture.model
        own = name.endswith(".pt") or is_file(folder / name)
        return architecture.model_copy(update={"model": place(name, f"{key}.model")}) if own else architecture

    def teacher(item: Teacher, key: str) -> Teacher:
        weights = place(item.weights, f"{key}.weights") if item.weights else None
        architecture = model(item.architecture, f"{key}.architecture") if item.architecture else None
        given = {name: value for name, value in item.options.items() if isinstance(value, str)}
        files = {name: place(v, f"{key}.options.{name}") for name, v in given.items() if is_file(folder / v)}
        changes = {"weights": weights, "architecture": architecture, "options": {**item.options, **files}}
        return item.model_copy(update=changes)

    def check_sets(root: str) -> None:
        """Tell of paths of sets that can be none; the others stay as they are."""
        for part in type(recipe.data).model_fields:
            for key in ("path", "images"):
                name = getattr(getattr(recipe.data, part), key, None)
                if name and "://" not in name:
                    place(name, f"data.{part}.{key}", Path(root))

    root = place(recipe.data.root, "data.root")
    if not any(problem.startswith("data.root: ") for problem in problems):
        check_sets(root)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"root": root}),
            "teachers": tuple(teacher(item, f"teachers.{index}") for index, item in enumerate(recipe.teachers)),
            "student": model(recipe.student, "student"),
        }
    )


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML, every default written out, so that it says all there is to say about a run.

    So is null: where defaults hang together, a key that is left out is not one that is switched off.
    """
    tree = recipe.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def _with_changes(tree: Mapping[str, Any], changes: Sequence[str], problems: list[str]) -> dict[str, Any]:
    """Return the tree with ``key.sub=value`` changes laid over it; a list is entered by its index or an item's name."""
    result: dict[str, Any] = _copy(tree)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            problems.append(f"--set {change}: expected key.sub=value")
            continue
        try:
            value = read_yaml(text)
        except ValueError as error:
            problems.append(f"--set {key}: the value is not readable as YAML: {error}")
            continue
        problem = _put(result, key.split("."), value)
        if problem:
            problems.append(f"--set {key}: {problem}")
    return result


def _copy(value: Any) -> Any:
    """Return a deep copy of plain values."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _put(node: Any, path: list[str], value: Any) -> str:
    """Set one place of a tree; return what is wrong with the path, or ''."""
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(node, list):
            names = [item.get("name") if isinstance(item, dict) else None for item in node]
            index = int(step) if step.isdecimal() else names.index(step) if step in names else None
            if index is None or index >= len(node):
                return f"expected an index below {len(node)} or one of the names {names}; found '{step}'"
            if last:
                node[index] = value
            node = node[index]
        elif isinstance(node, dict):
            if last:
                node[step] = value
            elif node.get(step) is None:
                node[step] = {}
            node = node[step]
        else:
            return f"'{'.'.join(path[:depth])}' is {_kind(node)}, it has no key '{step}'"
    return ""


def _fill(value: Any, place: str, problems: list[str]) -> Any:
    """Return the tree with ``${NAME}`` and ``${NAME:-default}`` replaced from the environment."""
    if isinstance(value, dict):
        return {key: _fill(item, f"{place}.{key}".strip("."), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, f"{place}.{index}", problems) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name: str = match.group(1)
        default: str | None = match.group(2)
        found = os.environ.get(name, default)
        if found is None:
            problems.append(f"{place}: uses ${{{name}}}, which is not set; export {name}=... or pass --set {place}=...")
            return ""
        return found

    return _VARIABLE.sub(replace, value)


def _quotes(error: BaseException | None, text: str) -> str:
    """Return how a variable is written between braces, where YAML took its own braces for theirs; else ''."""
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines()[max(0, mark.line - 1) : mark.line + 1] if mark else []
    bare = any(re.search(r"\{[^\"']*\$\{", line) for line in lines)
    return '; inside { }, a place with ${NAME} needs quotes: {path: "${NAME}/images"}' if bare else ""


def _kind(value: Any) -> str:
    """Return how a person would call the kind of a YAML value."""
    names = {dict: "keys and values", list: "a list", str: f"the text '{value}'", type(None): "nothing"}
    names |= {bool: f"{value}".lower(), int: f"the number {value}", float: f"the number {value}"}
    return names.get(type(value), f"{value!r}")


def explain(error: ValidationError, whole: type[BaseModel]) -> list[str]:
    """Return one sentence for each mistake in a ``whole``: where, what was expected, what was found, what to do."""
    problems: list[str] = []
    found = error.errors(include_url=False)
    ways = _ways(found)
    for item in found:
        if item["type"] == "too_short" and any(_below(other["loc"], item["loc"]) for other in found):
            continue  # items that are wrong themselves are not counted; they have their own sentences
        if len(either := ways.get(item["loc"][:-1], ())) > 1:
            place = ".".join(map(str, item["loc"][:-1]))
            problems.append(f"{place}: expected {', or '.join(either)}; found {_kind(item['input'])}")
            continue
        place = ".".join(str(step) for step in item["loc"] if not str(step).startswith("function-"))
        if item["type"] == "extra_forbidden":
            problems.append(_unknown_key(place, item["loc"], whole))
        elif item["type"] == "missing":
            problems.append(f"{place}: expected a value; found none; add it")
        elif item["type"] == "value_error":
            text = str(item["ctx"]["error"]) if "ctx" in item else item["msg"]
            problems += [f"{place}: {line}" if place else line for line in text.splitlines()]
        else:
            problems.append(f"{place}: {_wanted(item)}; found {_kind(item['input'])}")
    return list(dict.fromkeys(problems))


def _ways(found: Sequence[ErrorDetails]) -> dict[tuple[int | str, ...], list[str]]:
    """Return, by key, what would have been right where a key may be one of several kinds: an error has each of them."""
    ways: dict[tuple[int | str, ...], list[str]] = {}
    for item in found:
        if item["loc"] and _BRANCH.fullmatch(str(item["loc"][-1])):
            ways.setdefault(item["loc"][:-1], []).append(_wanted(item).removeprefix("expected "))
    return ways


def _below(place: Sequence[int | str], list_: Sequence[int | str]) -> bool:
    """Say whether a place lies inside a list."""
    return len(place) > len(list_) and tuple(place[: len(list_)]) == tuple(list_)


def _wanted(item: Mapping[str, Any]) -> str:
    """Return what a key expects, in words that need no knowledge of Python."""
    kind, limits = item["type"], item.get("ctx", {})
    pattern = str(limits.get("pattern"))
    words = {
        "tuple_type": "expected a list, as in [a, b]",
        "too_short": f"expected at least {limits.get('min_length')} item(s)",
        "model_type": "expected keys and values below it",
        "dict_type": "expected keys and values below it",
        "string_type": "expected a text",
        "string_pattern_mismatch": f"expected {PATTERNS.get(pattern, f'a text that matches {pattern}')}",
        "int_parsing": "expected a whole number",
        "int_from_float": "expected a whole number",
        "float_parsing": "expected a number",
        "bool_parsing": "expected true or false",
        "bool_type": "expected true or false",
        "greater_than_equal": f"expected a number from {limits.get('ge')} on",
    }
    text = item["msg"].replace("Input should be", "expected").replace("Input should", "expected it to")
    return words.get(kind, f"{text[0].lower()}{text[1:]}")


def _unknown_key(place: str, loc: Sequence[int | str], whole: type[BaseModel]) -> str:
    """Return the sentence for a key that no section knows, with the nearest key it does know."""
    model: type[BaseModel] | None = whole
    for step in loc[:-1]:
        model = _inner(model, step)
    known = [field.alias or name for name, field in model.model_fields.items()] if model is not None else []
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"{place}: no such key; {hint}"


def _inner(model: type[BaseModel] | None, step: int | str) -> type[BaseModel] | None:
    """Return the section that a step of an error's path leads into."""
    if model is None or isinstance(step, int):
        return model
    for name, field in model.model_fields.items():
        if step in (name, field.alias):
            return _section(field.annotation)
    return None


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside an annotation such as ``tuple[Teacher, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in found if part is not None), None)
