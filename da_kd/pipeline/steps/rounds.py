"""Rounds: who labels the target in each of them, and what their steps are called. Nothing is built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from da_kd.recipe import Recipe, Teacher

STUDENT = "student-"  # what the name of an earlier student as a teacher begins with


@dataclass(frozen=True)
class Round:
    """One labelling of the target and one student; the steps of the last round have plain names.

    Attributes:
        number: from 1.
        count: of all rounds.
        voices: who labels: the teachers, the student of the round before, or both.
    """

    number: int
    count: int
    voices: tuple[Teacher, ...]

    def name(self, step: str) -> str:
        """Return what a step of this round is called."""
        return step if self.number == self.count else f"{step}@{self.number}"

    def before(self, step: str) -> str:
        """Return what a step of the round before is called."""
        return f"{step}@{self.number - 1}"


def rounds_of(recipe: Recipe) -> tuple[Round, ...]:
    """Return the rounds of a recipe, in order."""
    count, found = recipe.rounds.count, []
    for number in range(1, count + 1):
        voices = recipe.teachers if number == 1 or recipe.rounds.student == "joins" else ()
        found.append(Round(number, count, (*voices, *(() if number == 1 else (_student(number - 1),)))))
    return tuple(found)


def first(steps: Mapping[str, Any], step: str) -> str:
    """Return what a step of the first round, the one a person reviews, is called."""
    return f"{step}@1" if f"{step}@1" in steps else step


def _student(number: int) -> Teacher:
    """Return the student of a round as one of the teachers; its weights are found by the step that makes them."""
    return Teacher(name=f"{STUDENT}{number}", weights=f"student@{number}")
