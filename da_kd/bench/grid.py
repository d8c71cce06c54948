"""The grid file of ``da-kd bench``: one recipe, its variants as the rows of a table, seeds, and where they are scored.

Knows the keys of a grid and turns a row into a recipe; must not touch images, runs or a store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from da_kd.errors import InputError, RecipeError
from da_kd.hashing import hash_file, hash_json
from da_kd.recipe import Recipe, parse_recipe
from da_kd.recipe.load import changed, explain, read_tree
from da_kd.recipe.values import Name, Section

Changes = dict[str, Any]  # by dotted key, as ``--set`` takes them

# Keys that change no figure, or that say where files lie.
_NO_CHOICE: dict[str, Any] = {"seed": True, "device": True, "workers": True, "report": True, "data": {"root": True}}
# Keys of a set that leave its images what they are, or take a part of them.
_NO_OTHERS = {"classes", "labelled_classes", "fraction", "count"}
_HASH = 12  # characters of the hash that freezes a grid
# Keys of a row that decide how its figures are judged.
_JUDGED = {"model", "steps", "target_labels", "defaults", "line", "x"}


class Row(Section):
    """One row of the table: a variant of the recipe, and which of its models is scored.

    Attributes:
        name: what the row is called.
        model: the row of the recipe's own ladder that is scored: ``source_only``, ``warm_start``, ``teacher:<name>``,
            ``student``, ``finetuned`` or ``oracle``.
        set: changes of the recipe.
        develop: further changes where the row is scored on the development images.
        final: likewise, on the test images.
        recipe: another recipe file than the grid's.
        teachers: names of the recipe's teachers that this row has; all by default.
        steps: ``equal`` rows must take the grid's number of optimiser steps; ``own`` is for an oracle, which may take
            its own (``validate_on`` and ``patience`` of its schedule end it).
        target_labels: ``none`` claims that not one label of the target is used; a row that uses one is refused.
        defaults: this row is da_kd's method with its defaults.
        line: rows of one line are joined in the plot.
        x: where on that line the row lies.
        note: a sentence below the table.
    """

    name: Name
    model: Annotated[str, Field(pattern=r"^(source_only|warm_start|student|finetuned|oracle|teacher:[A-Za-z0-9_.-]+)$")]
    set: Changes = Field(default_factory=dict)
    develop: Changes = Field(default_factory=dict)
    final: Changes = Field(default_factory=dict)
    recipe: str | None = None
    teachers: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    steps: Literal["equal", "own"] = "equal"
    target_labels: Literal["none"] | None = None
    defaults: bool = False
    line: str | None = None
    x: float | None = None
    note: str = ""

    @model_validator(mode="after")
    def _whole_points(self) -> Self:
        if (self.line is None) != (self.x is None):
            raise ValueError("expected 'line' and 'x' together; a point of a plot needs both")
        return self

    @model_validator(mode="after")
    def _own_steps_are_an_oracles(self) -> Self:
        if self.steps == "own" and self.model != "oracle":
            raise ValueError(
                f"expected 'steps: own' of an oracle; found it of '{self.model}'; leave it out, since rows that "
                "compare take equal steps (those of a teacher are never compared)"
            )
        return self


class Gap(Section):
    """The rows between which a share of the AP is won.

    Attributes:
        low: the lower row, usually ``source_only``.
        high: the upper row, usually the oracle.
    """

    low: Name
    high: Name


class Claim(Section):
    """A sentence that the table is to prove, and the figures it is held against.

    Attributes:
        says: the sentence.
        row: the row that it speaks of, or
        line: the line of points.
        not_below: rows that ``row`` is to have at least the AP of.
        not_below_line: another line, which ``line`` is to be level with or above wherever both have a point.
        each_class: of ``row``, class by class, beside that row of ``not_below`` which is best in the class.
        margin: how much AP below is still level.
        recovers: the share of the gap that ``row`` is to recover at least.
        rises: ``line`` is to rise from each point to the next.
    """

    says: Annotated[str, Field(min_length=1)]
    row: Name | None = None
    line: str | None = None
    not_below: tuple[Name, ...] = ()
    not_below_line: str | None = None
    each_class: bool = False
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    recovers: Annotated[float, Field(gt=0, le=1)] | None = None
    rises: bool = False

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        of_row = bool(self.not_below) + (self.recovers is not None)
        of_line = (self.not_below_line is not None) + self.rises
        if (self.row is None) == (self.line is None) or (of_row, of_line) != ((1, 0) if self.row else (0, 1)):
            raise ValueError(
                "expected 'row' with 'not_below' or with 'recovers', or 'line' with 'not_below_line' or with 'rises'"
            )
        if self.each_class and not self.not_below:
            raise ValueError("'each_class' says how rows are compared; add 'not_below', or leave it out")
        return self


class Grid(Section):
    """A table to be made: rows, seeds, and on which images they are scored.

    Attributes:
        schema: the version of this layout.
        name: what the grid, its runs and its files are called.
        title: the table's heading.
        about: what the table is to show, in a few sentences.
        recipe: the recipe file, relative to the grid.
        seeds: the plain list; every row is made once a seed.
        set: changes of the recipe for all rows.
        develop: further changes while choices are made: what is scored is no test image, and a grid without such a
            ``data.test`` is refused. They stand over a row's ``set``, and a row's own ``develop`` over them.
        final: likewise for the last table, which is scored on the test images.
        frozen: what ``da-kd bench --final`` says the choices hash to, written here when the last one is made; without
            it, or when anything has changed since, the test images stay unopened.
        reference: the row that others are compared with; the first by default.
        gap: between which rows recovered AP is counted; without it there is no such column.
        claims: what the table is to prove; it says of each whether it holds.
        x: what the plot's horizontal axis is, where rows have an ``x``.
        rows: the rows, in order.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    name: Name
    title: str = ""
    about: str = ""
    recipe: str
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)]
    set: Changes = Field(default_factory=dict)
    develop: Changes = Field(default_factory=dict)
    final: Changes = Field(default_factory=dict)
    frozen: str | None = None
    reference: Name | None = None
    gap: Gap | None = None
    claims: tuple[Claim, ...] = ()
    x: str = ""
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_meet(self) -> Self:
        names, problems = [row.name for row in self.rows], []
        if len(set(names)) != len(names):
            problems.append(f"rows: expected distinct names; found {names}")
        if len(set(self.seeds)) != len(self.seeds):
            problems.append(f"seeds: expected distinct numbers; found {list(self.seeds)}")
        wanted = {"reference": self.reference}
        if self.gap is not None:
            wanted |= {"gap.low": self.gap.low, "gap.high": self.gap.high}
        for at, claim in enumerate(self.claims):
            wanted |= {f"claims.{at}.row": claim.row}
            wanted |= {f"claims.{at}.not_below.{place}": name for place, name in enumerate(claim.not_below)}
            if claim.recovers is not None and self.gap is None:
                problems.append(f"claims.{at}.recovers: expected a 'gap' that a share is recovered of; add it")
            elif claim.recovers is not None and self.gap is not None and claim.row in (self.gap.low, self.gap.high):
                problems.append(f"claims.{at}.row: expected a row between the ends of 'gap'; found '{claim.row}'")
        points = [(row.line, row.x) for row in self.rows if row.line is not None]
        problems += [
            f"rows: expected distinct points of line '{line}'; found x {x:g} more than once"
            for line, x in sorted(set(points))
            if points.count((line, x)) > 1
        ]
        lines = [row.line for row in self.rows if row.line is not None]
        problems += [
            f"claims.{at}: expected the name of a line {sorted(set(lines))}; found '{line}'"
            for at, claim in enumerate(self.claims)
            for line in (claim.line, claim.not_below_line)
            if line is not None and line not in lines
        ]
        problems += [
            f"{key}: expected the name of a row {names}; found '{name}'"
            for key, name in wanted.items()
            if name is not None and name not in names
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def reference_row(self) -> str:
        """The row that others are compared with."""
        return self.reference or self.rows[0].name

    @property
    def lines(self) -> dict[str, dict[float, str]]:
        """By line, the rows of its points in the order of x."""
        found: dict[str, dict[float, str]] = {}
        for row in sorted(self.rows, key=lambda row: row.x or 0.0):
            if row.line is not None and row.x is not None:
                found.setdefault(row.line, {})[row.x] = row.name
        return found


class GridFile:
    """A grid and the folder that its recipe's path counts from.

    Attributes:
        grid: the grid.
        path: its file.
        changes: of every row, from the command line; they stand over the file's.
    """

    def __init__(self, grid: Grid, path: Path, changes: Sequence[str] = ()) -> None:
        """Remember them."""
        self.grid, self.path, self.changes = grid, path, tuple(changes)

    def recipe(self, row: Row, seed: int, *, final: bool) -> Recipe:
        """Return the recipe of a row with a seed.

        Raises:
            RecipeError: with every mistake of it, the row named.
        """
        grid, path = self.grid, self.path.resolve().parent / (row.recipe or self.grid.recipe)
        last = (grid.final, row.final) if final else (grid.develop, row.develop)
        changes = [change for part in (grid.set, row.set, *last) for change in _set(part)] + list(self.changes)
        source = f"row '{row.name}' of {self.path} ({path.name})"
        tree = changed(read_tree(path), changes, source)
        if row.teachers is not None:
            _leave_only(tree, row.teachers, source)
        return parse_recipe(tree, [f"seed={seed}"], folder=path.parent, source=source)

    def choices(self) -> str:
        """Return a hash of everything that is chosen: the final recipe of every row, wherever its files lie.

        What a row claims, whether it is compared, and its place on a line are chosen as well, and so are the reference,
        the gap and what the claims ask. Seeds are not: a claim that is close gets more of them.
        """
        trees: dict[str, Any] = {}
        for row in self.grid.rows:
            recipe = self.recipe(row, self.grid.seeds[0], final=True)
            tree = recipe.model_dump(mode="json", exclude=_NO_CHOICE, exclude_none=True)
            trees[row.name] = [row.model_dump(mode="json", include=_JUDGED), _without_places(tree)]
        gap = self.grid.gap
        claims = [claim.model_dump(mode="json", exclude={"says"}) for claim in self.grid.claims]
        ends = None if gap is None else [gap.low, gap.high]
        return hash_json([trees, self.grid.reference_row, ends, claims])[:_HASH]

    def refuse_test_images(self) -> None:
        """Refuse to make choices on images that the last table is scored on.

        Raises:
            InputError: rows are scored on the same images with ``--final``, or on a part of them.
        """
        seed = self.grid.seeds[0]
        found = [
            f"'{row.name}'"
            for row in self.grid.rows
            if (scored := _scored_on(self.recipe(row, seed, final=False))) is not None
            and scored == _scored_on(self.recipe(row, seed, final=True))
        ]
        if found:
            raise InputError(
                f"Expected development images to score on, since --final is not given; found the test images in "
                f"{', '.join(found)}; give other images as 'data.test' under 'develop' of {self.path}."
            )

    def refuse_unfrozen(self) -> None:
        """Refuse to open the test images while choices are still made.

        Raises:
            InputError: nothing is frozen, or something has changed since.
        """
        found = self.choices()
        if self.grid.frozen == found:
            return
        why = "nothing is frozen yet" if self.grid.frozen is None else f"a choice changed since {self.grid.frozen}"
        raise InputError(
            f"--final scores on the test images, and {why}. Make every choice on the development images; then write "
            f"the line 'frozen: \"{found}\"' into {self.path} (in quotes: a hash can look like a number), and run the "
            "same command again."
        )


def load_grid(path: Path, changes: Sequence[str] = ()) -> GridFile:
    """Read and check a grid file.

    Args:
        path: the YAML file.
        changes: ``key.sub=value`` strings laid over every row's recipe.

    Raises:
        RecipeError: with every mistake of the grid.
    """
    tree = read_tree(path)
    try:
        grid = Grid.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(explain(error, Grid), str(path)) from error
    return GridFile(grid, path, changes)


def _leave_only(tree: dict[str, Any], names: Sequence[str], source: str) -> None:
    """Take all teachers but these out of a recipe.

    Raises:
        RecipeError: the recipe has no teacher of that name.
    """
    known = [item for item in tree.get("teachers") or () if isinstance(item, dict)]
    there = [str(item.get("name")) for item in known]
    if unknown := [name for name in names if name not in there]:
        raise RecipeError([f"teachers: expected names of the recipe's teachers {there}; found {unknown}"], source)
    tree["teachers"] = [item for item, name in zip(known, there, strict=True) if name in names]


def _set(changes: Mapping[str, Any]) -> list[str]:
    """Return changes as ``--set`` takes them; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def _scored_on(recipe: Recipe) -> list[Any] | None:
    """Return what tells the images that a recipe is scored on from others, None where it has none."""
    test = recipe.data.test
    return None if test is None else [recipe.data.root, test.model_dump(exclude=_NO_OTHERS)]


def _without_places(value: Any) -> Any:
    """Return plain values with absolute paths replaced by what is the same on every machine.

    That is the hash of the file there; of a folder, and of what is not there, its own name.
    """
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    path = Path(value)
    return hash_file(path) if path.is_file() else path.name
