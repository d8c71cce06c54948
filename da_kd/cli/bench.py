"""``da-kd bench``: a table of variants over seeds, made as ordinary runs, compared fairly."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from da_kd.cli.options import Changes, Quiet
from da_kd.cli.words import WORKSPACE, count, duration
from da_kd.errors import InputError

if TYPE_CHECKING:
    from da_kd.bench.cells import Cell
    from da_kd.bench.grid import GridFile
    from da_kd.events import Job


def bench(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="The grid, a YAML file.")],
    seeds: Annotated[str, typer.Option("--seeds", metavar="0,1,2", help="Other seeds than the grid's.")] = "",
    rows: Annotated[str, typer.Option("--rows", metavar="A,B", help="Only these rows, and the reference.")] = "",
    final: Annotated[bool, typer.Option("--final", help="Score on the test images; choices must be frozen.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Runs side by side. Default: one a processor with memory enough, or one on a GPU.",
        ),
    ] = None,
    workspace: Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The folder of runs.")] = WORKSPACE,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the table goes. Default: in the workspace.")
    ] = None,
    changes: Changes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be made, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a table of variants of a recipe over seeds.

    Every row and seed is an ordinary run. What is done is only read, so the same command goes on after anything. Rows
    that differ in their total optimiser steps are marked, and test images are scored with --final alone.
    """
    from da_kd.bench.cells import plan_cells
    from da_kd.bench.grid import load_grid
    from da_kd.cli.progress import shown
    from da_kd.cli.stopping import stoppable
    from da_kd.events import Job

    file = load_grid(grid, changes or ())
    place = workspace.resolve()
    with stoppable() as stopping, shown(quiet) as sink:
        job = Job(sink, stopping, "bench")
        cells = plan_cells(file, place, job, seeds=_seeds(seeds), rows=_names(rows), final=final)
        if not dry_run:
            command = _command(grid, seeds, rows, final, changes or ())
            folder = out or place / "bench" / f"{file.grid.name}-{'test' if final else 'development'}"
            paths = _make(file, cells, folder, jobs, command, job, final=final)
    if dry_run:
        _show_plan(cells)
        return
    _tell(paths)


def _make(
    file: GridFile, cells: Sequence[Cell], folder: Path, jobs: int | None, command: str, job: Job, *, final: bool
) -> list[Path]:
    """Make what is missing, then the table; return its files."""
    from da_kd.bench.figures import seconds_of, tree_of
    from da_kd.bench.files import machine, note_sitting, write_all
    from da_kd.bench.leaks import near_duplicates
    from da_kd.bench.running import default_jobs, make_cells

    if any(not cell.done for cell in cells):
        began, side, found = time.time(), jobs or default_jobs(cells), machine()
        try:
            make_cells(cells, side, job)
        finally:
            note_sitting(folder, {**found, "jobs": side, "worked": round(time.time() - began, 1)})
    job.progress("resampling", 0, None)
    tree = tree_of(file.grid, cells, final=final)
    tree["duplicates"] = near_duplicates(cells, job)
    return write_all(tree, folder, command, seconds_of(cells))


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = [-1]
    if len(set(found)) < len(found) or any(seed < 0 for seed in found):
        raise InputError(f"--seeds: expected different whole numbers from 0, as in 0,1,2; found '{text}'.")
    return found


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _command(grid: Path, seeds: str, rows: str, final: bool, changes: Sequence[str]) -> str:
    """Return what to type to make the same table; places of this machine are left out."""
    path = os.path.relpath(grid) if grid.is_absolute() else str(grid)
    words = ["da-kd", "bench", path]
    words += ["--seeds", seeds] if seeds else []
    words += ["--rows", rows] if rows else []
    words += ["--final"] if final else []
    words += [word for change in changes for word in ("--set", change) if not change.startswith("data.root=")]
    return shlex.join(words)


def _show_plan(cells: Sequence[Cell]) -> None:
    """Print a line a row: how much of it is there, and its optimiser steps."""
    from da_kd.cli.terminal import new_table, say, show

    by_row: dict[str, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell.row.name, []).append(cell)
    numbers = ("seeds done", "steps", "teachers")
    table = new_table("row", "model", *numbers, "to do", right=numbers)
    promised: set[str] = set()
    for name, mine in by_row.items():
        done, first = sum(cell.done for cell in mine), mine[0]
        table.add_row(
            f"{name}{' (own)' if first.row.steps == 'own' else ''}",
            first.row.model,
            f"{done}/{len(mine)}",
            str(sum(step.training_steps for step in first.trained.values())),
            str(sum(step.training_steps for step in first.taught.values())),
            _to_do(mine, promised),
        )
    show(table)
    waiting = sum(not cell.done for cell in cells)
    say(f"{waiting} of {count(len(cells), 'run')} to make; steps are those planned, at most.")


def _to_do(cells: Sequence[Cell], promised: set[str]) -> str:
    """Return the trainings that a row adds to those of the rows before it."""
    told: dict[str, int] = {}
    for cell in cells:
        for name in cell.missing:
            step = cell.steps[name]
            if step.training_steps and step.output.fingerprint not in promised:
                promised.add(step.output.fingerprint)
                told[name] = told.get(name, 0) + 1
    return ", ".join(f"{name} x {times}" for name, times in told.items())


def _tell(paths: Sequence[Path]) -> None:
    """Print the table, what breaks a rule, and where everything lies."""
    from da_kd.bench.files import read_tree_of
    from da_kd.bench.table import sentences
    from da_kd.cli.terminal import complain, say

    tree = read_tree_of(paths[0].parent)
    _show_table(tree)
    say()
    for sentence in sentences(tree):
        (complain if sentence.startswith("(!)") else say)(sentence)
    say(f"The outputs took {duration(tree['seconds'])} together.")
    say(f"Table: {paths[0]}")


def _show_table(tree: dict[str, Any]) -> None:
    from da_kd.bench.table import cells_of
    from da_kd.cli.terminal import new_table, show

    head, *lines = cells_of(tree)
    table = new_table(*head)
    for row, line in zip(tree["rows"], lines, strict=True):
        table.add_row(*line, style="bold" if row["name"] == tree["defaults"] else None)
    show(table)
