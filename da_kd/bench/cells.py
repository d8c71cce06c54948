"""The cells of a table: one row with one seed, its recipe, the steps it stands on, and what these must not do.

Plans only: images are read and rendered sets drawn, nothing is trained or predicted. Must not know processes or tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from da_kd.bench.grid import GridFile, Row
from da_kd.data import ImageSet, nested_fraction
from da_kd.detections import DetectionTable
from da_kd.errors import DataError, InputError, RecipeError
from da_kd.events import Job
from da_kd.hashing import hash_json
from da_kd.pipeline import Inputs, Run, build_steps, load_inputs, only_set
from da_kd.pipeline.steps import Step, lineage
from da_kd.recipe import Recipe
from da_kd.store import Store

_OF_TARGET = ("data.target_labelled", "data.target_dev")
_REVIEWED = ("human", "simulate")  # modes of review in which somebody who knows decides


@dataclass(frozen=True, eq=False)
class Cell:
    """One row of a grid with one seed.

    Attributes:
        row: the row.
        seed: the seed.
        recipe: its recipe.
        inputs: the image sets of it.
        steps: what the scored model stands on, in the order they run; the last scores it.
        store: where outputs lie.
        run: the run that makes it.
    """

    row: Row
    seed: int
    recipe: Recipe
    inputs: Inputs
    steps: Mapping[str, Step]
    store: Store
    run: Run

    @property
    def name(self) -> str:
        """What the cell is called in progress and messages."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def score(self) -> Step:
        """The step that scores the model."""
        return self.steps[f"evaluate:{self.row.model}"]

    @property
    def trained(self) -> dict[str, Step]:
        """The trainings of the student's architecture, all phases of them."""
        return {name: step for name, step in self.steps.items() if step.training_steps and not _taught(name)}

    @property
    def taught(self) -> dict[str, Step]:
        """The trainings of teachers."""
        return {name: step for name, step in self.steps.items() if step.training_steps and _taught(name)}

    @property
    def missing(self) -> list[str]:
        """The steps that are not made yet."""
        return [name for name, step in self.steps.items() if not self.store.finished(step.output)]

    @property
    def done(self) -> bool:
        """Whether everything is there, and kept by a run that refers to it."""
        known = self.run.state()
        kept = known.steps.get(self.score.name, {}).get("fingerprint") == self.score.output.fingerprint
        return known.state == "done" and kept and not self.missing

    @cached_property
    def labelled(self) -> dict[str, set[str]]:
        """The labels of the target that the model stands on: where they are from, and the content of their images."""
        used: dict[str, set[str]] = {}
        for step in self.steps.values():
            for place, images in self._labels_of(step).items():
                used.setdefault(place, set()).update(images.table.sha)
        return used

    @property
    def labels(self) -> dict[str, int]:
        """Of how many images these labels are, by where they are from."""
        return {place: len(images) for place, images in self.labelled.items()}

    @property
    def label_images(self) -> int:
        """Of how many images they are together; an image that two sets have counts once."""
        return len(set[str]().union(*self.labelled.values()))

    def _labels_of(self, step: Step) -> dict[str, ImageSet]:
        """Return the images whose labels went into one step; scoring and asking teachers use none."""
        if step.stage == "predict" or step is self.score:
            return {}
        parts, sets = step.output.parts, self.inputs.sets
        used = {place: sets[place[5:]] for place in _OF_TARGET if place in parts}
        shares = {f"tune:{teacher.name}": teacher.finetune for teacher in self.recipe.teachers}
        if (share := {**shares, "finetuned": self.recipe.finetune}.get(step.name)) is not None:
            used["data.target_labelled"] = nested_fraction(sets["target_labelled"], share.fraction)
        if parts.get("review.mode") in _REVIEWED or parts.get("review.decisions") or "review.audit" in parts:
            used["review"] = sets["target"]
        return used


def _taught(step: str) -> bool:
    return step.startswith(("teach:", "tune:"))


def plan_cells(
    file: GridFile, workspace: Path, job: Job, *, seeds: Sequence[int] = (), rows: Sequence[str] = (), final: bool
) -> list[Cell]:
    """Return the cells of a grid, row after row, the seeds of one row side by side.

    Args:
        file: the grid.
        workspace: where its runs and their store lie.
        job: where progress goes.
        seeds: other seeds than the grid's.
        rows: only some rows; the reference is always among them.
        final: score on the test images.

    Raises:
        InputError: no such row, or the test images would be opened before their time.
        DaKdError: a recipe has mistakes, its data do not fit, or a row does what it claims not to do.
    """
    grid, store, known = file.grid, Store(workspace), dict[str, Inputs]()
    unknown = sorted(set(rows) - {row.name for row in grid.rows})
    if unknown:
        raise InputError(f"Expected rows of the grid ({', '.join(row.name for row in grid.rows)}); found {unknown[0]}.")
    if final:
        file.refuse_unfrozen()
    else:
        file.refuse_test_images()
    cells, closed = [], dict[str, set[str]]()
    for row in grid.rows:
        if rows and row.name not in {*rows, grid.reference_row}:
            continue
        for seed in seeds or grid.seeds:
            recipe = file.recipe(row, seed, final=final)
            taught = [[teacher.name, teacher.weights, teacher.learns] for teacher in recipe.teachers]
            data = hash_json(
                [recipe.data.model_dump(mode="json"), list(recipe.classes), seed, recipe.predict.max_bad, taught]
            )
            if data not in known:
                job.check()
                known[data] = load_inputs(recipe, store, job)
            if not final:
                _refuse_part_of_test(file, row, seed, known[data], closed, store, job)
            name = f"{grid.name}.{row.name}.seed{seed}{'.final' if final else ''}"
            cells.append(_cell(row, seed, recipe, known[data], store, Run(workspace / name)))
    _refuse(cells)
    return cells


def _refuse_part_of_test(
    file: GridFile, row: Row, seed: int, inputs: Inputs, closed: dict[str, set[str]], store: Store, job: Job
) -> None:
    """Refuse a row without ``--final`` that is scored on images of the last table, by their content.

    Args:
        file: the grid.
        row: the row.
        seed: its seed.
        inputs: what it has without ``--final``.
        closed: the content of the images of last tables, by what tells their sets apart; grows.
        store: where the scan of images lies.
        job: where progress goes.

    Raises:
        InputError: some images are the same.
    """
    recipe = file.recipe(row, seed, final=True)
    test = recipe.data.test
    if test is None or test.render is not None:  # other splits are drawn with other seeds
        return
    key = hash_json([recipe.data.root, test.model_dump(mode="json")])
    if key not in closed:
        try:
            found = load_inputs(only_set(recipe, "test"), store, job)
        except DataError:  # not there yet, so nothing can be a part of it
            found = None
        closed[key] = set(found.get("test").table.sha) if found is not None else set()
    if shared := closed[key].intersection(inputs.get("test").table.sha):
        raise InputError(
            f"Expected development images to score on, since --final is not given; row '{row.name}' is scored on "
            f"{len(shared)} of the images that --final scores on; give other images as 'data.test' under 'develop' of "
            f"{file.path}."
        )


def _cell(row: Row, seed: int, recipe: Recipe, inputs: Inputs, store: Store, run: Run) -> Cell:
    steps = build_steps(recipe, inputs, store)
    score = f"evaluate:{row.model}"
    if score not in steps:
        there = ", ".join(name.removeprefix("evaluate:") for name in steps if name.startswith("evaluate:"))
        raise InputError(
            f"Row '{row.name}': expected a model that its recipe scores ({there or 'none'}); found '{row.model}'. "
            "Change 'model', or the recipe so that it has that row."
        )
    return Cell(row, seed, recipe, inputs, lineage(steps, score), store, run)


def truths_of(cells: Sequence[Cell]) -> dict[int, DetectionTable]:
    """Return, by seed, the labelled images that every row is scored on: those of the row with the most classes."""
    widest = max(cells, key=lambda cell: len(cell.recipe.classes)).row
    return {cell.seed: cell.inputs.get("test").table for cell in cells if cell.row == widest}


def _refuse(cells: Sequence[Cell]) -> None:
    """Refuse rows that cannot be compared, wait for a person, or use labels though they claim not to; all at once."""
    problems: dict[str, None] = {}
    truths, most = truths_of(cells), most_of(cells[0])
    for cell in cells:
        own, truth = cell.inputs.get("test").table, truths[cell.seed]
        if (own.key, own.sha) != (truth.key, truth.sha):
            problems[
                f"row '{cell.row.name}' is scored on other images than the rest; give all rows the same 'data.test'"
            ] = None
        elif set(own.vocabulary) == set(truth.vocabulary) and _objects(own) != _objects(truth):
            problems[
                f"row '{cell.row.name}' is scored on the same images with other labels than the rest; give all rows "
                "the same 'data.test', its class map included"
            ] = None
        if most_of(cell) != most:
            problems[
                f"row '{cell.row.name}' counts {most_of(cell)} boxes per image and class, others {most}; give all rows "
                "the same 'evaluate.max_boxes'"
            ] = None
        if unknown := sorted(set(cell.recipe.classes) - set(truth.vocabulary)):
            problems[
                f"row '{cell.row.name}' has classes that the row with the most classes lacks: {', '.join(unknown)}"
            ] = None
        if cell.recipe.review.mode == "human" and any(name.startswith("review") for name in cell.steps):
            problems[
                f"row '{cell.row.name}' waits for a person (review.mode: human); use 'auto', 'skip' or 'simulate'"
            ] = None
        if cell.row.target_labels == "none" and cell.labels:
            used = ", ".join(f"{what} ({images} images)" for what, images in cell.labels.items())
            problems[
                f"row '{cell.row.name}' claims to use no label of the target, and uses some: {used}; "
                "take the claim or the labels away"
            ] = None
    if problems:
        raise RecipeError(list(problems), "the grid")


def most_of(cell: Cell) -> int:
    """Return how many boxes per image and class count where a cell is scored."""
    return cell.recipe.evaluate.max_boxes if cell.recipe.evaluate is not None else 100


def _objects(table: DetectionTable) -> str:
    """Return a hash of what is labelled; the order of the classes is nothing to it."""
    names = [table.vocabulary[label] for label in table.label.tolist()]
    return hash_json([table.offsets.tolist(), table.xyxy.tolist(), names, table.state.tolist()])
