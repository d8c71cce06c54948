"""A small recipe as plain values, and one short way to the problems of a wrong one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from da_kd.errors import RecipeError
from da_kd.recipe import parse_recipe

SMALL: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "classes": ["RBC", "WBC"],
    "data": {
        "source": {"path": "source"},
        "target": {"path": "target"},
        "target_labelled": {"path": "labelled"},
        "test": {"path": "test"},
    },
    "teachers": [
        {"name": "big", "weights": "big.pt"},
        {"name": "own", "architecture": {"imgsz": 160}, "schedule": {"steps": 5}},
    ],
    "distill": {"steps": 10},
    "finetune": {"epochs": 2},
    "evaluate": {},
}


@pytest.fixture
def small() -> dict[str, Any]:
    return copy.deepcopy(SMALL)


@pytest.fixture
def problems(small: dict[str, Any]) -> Callable[..., tuple[str, ...]]:
    """Return what is wrong with the small recipe after ``--set`` changes."""

    def of(*changes: str, tree: dict[str, Any] | None = None) -> tuple[str, ...]:
        with pytest.raises(RecipeError) as caught:
            parse_recipe(small if tree is None else tree, changes)
        return caught.value.problems

    return of
