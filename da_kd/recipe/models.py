"""The recipe as a whole, a typed, frozen, closed model: one optional section per stage, in the order of the pipeline.

The modules beside this one hold the sections. All of them know names, types, ranges and defaults; they must not touch a
disk, a weight or an image (``da-kd check`` runs in under a second), nor know how a stage works.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from da_kd.recipe.data import Data, Restyle
from da_kd.recipe.labels import Fuse, Predict, Teacher
from da_kd.recipe.review import Review
from da_kd.recipe.rules import name_problems, stage_problems, teacher_problems
from da_kd.recipe.training import Distill, Finetune, Rounds, Schedule, Student, Teach
from da_kd.recipe.values import ClassName, Device, Name, Section


class Evaluate(Section):
    """Which models are scored on ``data.test``.

    Attributes:
        source_only: the student's architecture trained on the source alone, with the schedule of ``distill``.
        oracle: the student's architecture trained on all of ``data.target_labelled``.
        oracle_schedule: the oracle's schedule; the default is that of ``distill``.
        batch: images per forward pass.
        max_boxes: boxes per image and class that count.
    """

    source_only: bool = True
    oracle: bool = True
    oracle_schedule: Schedule | None = None
    batch: Annotated[int, Field(ge=1)] = 16
    max_boxes: Annotated[int, Field(ge=1, le=1000)] = 100


class Report(Section):
    """The page at the end.

    Attributes:
        images: how many target images the grid shows.
    """

    images: Annotated[int, Field(ge=0, le=200)] = 6


class Recipe(Section):
    """Everything one adaptation needs, in the order of the pipeline.

    Attributes:
        schema: the version of this layout.
        name: what runs of the recipe are called.
        classes: the student's classes, in order.
        seed: the one seed that all the stages use.
        device: ``auto`` takes a GPU where there is one; else ``cpu``, ``cuda:0``, ... Several GPUs, ``cuda:0,1``, share
            every training of an ultralytics model; all else runs on the first of them.
        workers: processes that load images while a model trains.
        data: the image sets.
        restyle: whether those who learn from the source see it in the target's colours as well; without it they do not.
        teachers: one or more.
        teach: how every teacher is trained that has no schedule of its own.
        predict: how teachers are run.
        fuse: how their boxes become pseudo labels.
        review: who decides about pseudo labels.
        student: the compact model.
        distill: how the student learns from pseudo labels; without it there is no student.
        rounds: how often; a plain number is ``count``.
        finetune: how it goes on with labelled images; without it there is no fine-tuned row.
        evaluate: which models are scored; without it there are no figures.
        report: the page.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: Device = "auto"
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    data: Data
    restyle: Restyle | None = None
    teachers: Annotated[tuple[Teacher, ...], Field(min_length=1)]
    teach: Teach | None = None
    predict: Predict = Predict()
    fuse: Fuse = Fuse()
    review: Review = Review()
    student: Student = Student()
    distill: Distill | None = None
    rounds: Rounds = Rounds()
    finetune: Finetune | None = None
    evaluate: Evaluate | None = None
    report: Report = Report()

    @field_validator("device", mode="before")
    @classmethod
    def _a_list_is_one_text(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(item, str) and item.startswith("cuda:") for item in value):
            return f"cuda:{','.join(item.removeprefix('cuda:') for item in value)}"
        return value

    @field_validator("rounds", mode="before")
    @classmethod
    def _a_number_is_a_count(cls, value: Any) -> Any:
        return {"count": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        # One message for all of them, a line each, so that a person mends everything at once.
        problems = [*name_problems(self), *teacher_problems(self), *stage_problems(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self
