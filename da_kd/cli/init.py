"""``da-kd init``: writes a first recipe, from flags or from answers in a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from da_kd.cli.options import Force
from da_kd.errors import DaKdError, InputError
from da_kd.files import expanded, file_in_the_way, whole
from da_kd.recipe.template import Answers, recipe_text


def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file to write.")] = Path("recipe.yaml"),
    source: Annotated[str | None, typer.Option("--source", help="Labelled images the teacher learns from.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Images of the new domain.")] = None,
    target_labelled: Annotated[
        str | None, typer.Option("--target-labelled", help="A few labelled images of the new domain.")
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="Labelled images to compare the models on.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="The student's classes: a,b,c.")] = None,
    teacher_weights: Annotated[
        str | None, typer.Option("--teacher-weights", help="A trained detector; else one is trained on the source.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What runs are called. Default: the file's name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Force = False,
) -> None:
    """Write a commented recipe to begin with.

    In a terminal, what no flag says is asked for.
    """
    from da_kd.cli.terminal import say

    _check_place(path)
    if path.exists() and not force:
        raise InputError(f"{path} is there already. Name another file, or overwrite it with --force.")
    given = {
        "source": source,
        "target": target,
        "target_labelled": target_labelled,
        "test": test,
        "weights": teacher_weights,
        "name": name,
    }
    if sys.stdin.isatty() and not yes:
        given = _asked(given, path)
    answers = _answers(given, path, classes, asking=sys.stdin.isatty() and not yes)
    _write(path, recipe_text(answers, str(path)))
    lacking = [str(place) for key, place in given.items() if key != "name" and _lacks(place)]
    note = f" Nothing lies yet at {', '.join(map(repr, lacking))}." if lacking else ""
    say(f"Wrote {path}.{note} Next: da-kd check {path} --deep")


def _check_place(path: Path) -> None:
    """Refuse a place where no file can be written.

    Raises:
        InputError: it is a folder, or lies below a file.
    """
    if expanded(path).is_dir():
        raise InputError(
            f"Expected a file to write; {path} is a folder. Name a file in it, e.g. {path / 'recipe.yaml'}."
        )
    if blocking := file_in_the_way(path.parent):
        raise InputError(f"Expected a folder at {blocking}, to write {path} in; found a file. Name another place.")


def _asked(given: dict[str, str | None], path: Path) -> dict[str, str | None]:
    """Ask for what no flag said; an empty answer means there is none."""
    questions = {
        "target": "Images of the new domain (folder, data.yaml, COCO JSON or video)",
        "weights": "Weights of a trained teacher ('.pt'; empty: one is trained on labelled source images)",
        "source": "Labelled source images (empty: none)",
        "test": "Labelled test images of the new domain, to compare the models (empty: none)",
        "target_labelled": "A few more labelled images of the new domain, for fine-tuning (empty: none)",
        "name": "Name of the runs",
    }
    answers = dict(given)
    for key, question in questions.items():
        if answers[key] is None:
            default = _name_of(path) if key == "name" else ""
            said = str(typer.prompt(question, default=default, show_default=bool(default))).strip()
            answers[key] = said or None
    return answers


def _answers(given: dict[str, str | None], path: Path, classes: str | None, asking: bool) -> Answers:
    """Return all answers.

    Raises:
        InputError: lists everything that is missing.
    """
    target, source, weights = given["target"], given["source"], given["weights"]
    missing = []
    if target is None:
        missing.append("--target: the images of the new domain")
    if source is None and weights is None:
        missing.append("--source or --teacher-weights: labelled images to train a teacher on, or a trained teacher")
    told: list[str] = []
    names = _split(classes) if classes else _found_classes([source, given["test"], given["target_labelled"]], told)
    if asking:
        names = _split(str(typer.prompt("Classes, with commas between them", default=",".join(names) or None)))
    if not names:
        missing.append("--classes: the student's classes, with commas between them" + "".join(f"; {x}" for x in told))
    if missing or target is None:
        raise InputError("A recipe needs more than was given:\n" + "\n".join(f"  - {item}" for item in missing))
    folder = path.resolve().parent
    places = {key: _place(given[key], folder) for key in ("source", "target_labelled", "test", "weights")}
    return Answers(
        given["name"] or _name_of(path),
        names,
        _place(target, folder) or target,
        source=places["source"],
        target_labelled=places["target_labelled"],
        test=places["test"],
        weights=places["weights"],
        splits={key: _splits_of(given[key]) for key in ("source", "target", "target_labelled", "test")},
    )


def _lacks(place: str | None) -> bool:
    return place is not None and "://" not in place and not _from_here(place).exists()


def _splits_of(place: str | None) -> tuple[str, ...]:
    from da_kd.data.naming import splits_of

    try:
        return splits_of(_from_here(place)) if place is not None else ()
    except DaKdError:
        return ()  # 'check --deep' tells what is wrong with it


def _from_here(place: str) -> Path:
    return expanded(place).absolute()


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _found_classes(places: Sequence[str | None], told: list[str]) -> tuple[str, ...]:
    """Return the classes of the first data set that names some; ``told`` gets why others name none."""
    from da_kd.data.naming import class_names

    for place in places:
        if place is None:
            continue
        try:
            names = class_names(_from_here(place))
        except DaKdError as error:
            told.append(str(error).rstrip("."))
            continue
        if names:
            return names
        told.append(f"'{place}' has images alone, no class names")
    return ()


def _place(name: str | None, folder: Path) -> str | None:
    """Return a path that was given from here as the recipe, which counts from its own folder, has to hold it."""
    if name is None or "://" in name or folder == Path.cwd().resolve() or expanded(name).is_absolute():
        return name
    return os.path.relpath(Path(name).absolute(), folder)


def _name_of(path: Path) -> str:
    """Return a name that runs may have, made of the file's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or "run"


def _write(path: Path, text: str) -> None:
    """See that the text is a recipe, then write the file."""
    from da_kd.recipe import recipe_from_text

    recipe_from_text(text, folder=path.resolve().parent, source=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
