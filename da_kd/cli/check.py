"""``da-kd check``: a recipe's mistakes, all at once; ``--deep`` also opens what it names."""

from __future__ import annotations

from typing import Annotated

import typer

from da_kd.cli.options import Changes, RecipeFile


def check(
    recipe: RecipeFile,
    changes: Changes = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also open data sets, teachers' weights and architectures.")
    ] = False,
) -> None:
    """Check a recipe without running anything.

    Keys, values, and whether the stages have what they need; every mistake is listed.
    """
    from da_kd.cli.terminal import say
    from da_kd.errors import InputError, RecipeError
    from da_kd.recipe import load_recipe
    from da_kd.recipe.kinds import find_kind

    loaded = load_recipe(recipe, changes or ())
    unknown = []
    for teacher in loaded.teachers:
        try:
            find_kind(teacher.kind)
        except InputError as error:
            unknown.append(f"teachers.{teacher.name}.kind: {error}")
    if unknown:
        raise RecipeError(unknown, str(recipe))
    if deep:
        from da_kd.cli.deep import problems_of

        problems = problems_of(loaded)
        if problems:
            raise RecipeError(problems, str(recipe))
    say(f"{recipe}: fine")
