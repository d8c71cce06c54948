"""A small world on the disk: four YOLO sets of pictures, two stored teachers, and the recipe that joins them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.steps import Step, build_steps
from da_kd.recipe import Recipe, parse_recipe
from da_kd.store import Store

CLASSES = ["RBC", "WBC"]
SETS = ("source", "target", "labelled", "test")


def _write_set(folder: Path, tone: int, count: int = 4) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((16, 16, 3), tone + index, np.uint8)).save(folder / "images" / f"{index}.png")
        (folder / "labels" / f"{index}.txt").write_text(f"{index % 2} 0.5 0.5 0.25 0.25\n")
    (folder / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": dict(enumerate(CLASSES))}))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder ``world`` with ``data/<set>``, ``one.json``, ``two.json`` and ``list.json``."""
    place = tmp_path / "world"
    for index, name in enumerate(SETS):
        _write_set(place / "data" / name, 10 + 50 * index)
    images = [{"id": index, "file_name": f"{index}.png"} for index in range(4)]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate([*CLASSES, "dirt"])]
    (place / "list.json").write_text(json.dumps({"images": images, "categories": categories}))
    for name, score in (("one", 0.9), ("two", 0.7)):
        rows = [{"image_id": i, "category_id": i % 2 + 1, "bbox": [6, 6, 4, 4], "score": score} for i in range(4)]
        (place / f"{name}.json").write_text(json.dumps(rows))
    return place


@pytest.fixture
def recipe(world: Path) -> Callable[..., Recipe]:
    """Return the recipe after ``--set`` changes, its paths counting from a folder like ``world``."""

    def make(*changes: str, folder: Path = world) -> Recipe:
        tree: dict[str, Any] = {
            "schema": 1,
            "name": "small",
            "device": "cpu",
            "classes": CLASSES,
            "data": {
                "root": "data",
                "source": {"path": "source"},
                "target": {"path": "target"},
                "target_labelled": {"path": "labelled"},
                "test": {"path": "test"},
            },
            "teachers": [
                {"name": "one", "kind": "coco_file", "weights": "one.json", "options": {"images": "list.json"}},
                {"name": "own", "architecture": {"imgsz": 64}},
            ],
            "teach": {"epochs": 1},
            "distill": {"epochs": 1},
            "finetune": {"epochs": 1},
            "evaluate": {},
        }
        return parse_recipe(tree, changes, folder)

    return make


@pytest.fixture
def steps(tmp_path: Path) -> Callable[[Recipe], dict[str, Step]]:
    """Return the steps of a recipe in the workspace ``runs``."""

    def of(recipe: Recipe) -> dict[str, Step]:
        store = Store(tmp_path / "runs")
        return build_steps(recipe, load_inputs(recipe, store, Job()), store)

    return of
