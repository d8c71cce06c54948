"""Options that several commands share. Knows typer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its name under ./runs, or its folder.")]
RunFolder = Annotated[
    str | None,
    typer.Option("--run", metavar="DIR", help="The run's folder, or a name under ./runs. Default: the recipe's name."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change a value of the recipe, e.g. teach.steps=100."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="STAGE", help="The last stage to run.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Plain lines instead of a live display.")]
Workspace = Annotated[Path, typer.Argument(metavar="[WORKSPACE]", help="The folder that holds runs.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda:0, ...")]
