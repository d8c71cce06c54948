"""A small world for runs up to the review: two target images with labels, one stored teacher, and its recipe."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from da_kd.events import Job
from da_kd.pipeline import build_steps, load_inputs
from da_kd.recipe import Recipe, parse_recipe
from da_kd.store import Store


@pytest.fixture
def recipe(tmp_path: Path):
    """A recipe of two target images and one stored teacher, in a world of its own."""
    for kind in ("images", "labels"):
        (tmp_path / "target" / kind).mkdir(parents=True)
    for at in range(2):
        Image.new("RGB", (16, 16), (40 * at, 9, 9)).save(tmp_path / "target" / "images" / f"{at}.png")
        (tmp_path / "target" / "labels" / f"{at}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "target" / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": {0: "RBC"}}))
    listed = {"images": [{"id": at, "file_name": f"{at}.png"} for at in range(2)]}
    (tmp_path / "list.json").write_text(json.dumps({**listed, "categories": [{"id": 1, "name": "RBC"}]}))
    rows = [{"image_id": at, "category_id": 1, "bbox": [6, 6, 4, 4], "score": 0.9} for at in range(2)]
    (tmp_path / "one.json").write_text(json.dumps(rows))

    def make(*changes: str) -> Recipe:
        tree = {
            **{"schema": 1, "name": "small", "device": "cpu", "classes": ["RBC"]},
            "data": {"root": ".", "target": {"path": "target"}, "target_labelled": {"path": "target"}},
            "teachers": [
                {"name": "one", "kind": "coco_file", "weights": "one.json", "options": {"images": "list.json"}}
            ],
        }
        return parse_recipe(tree, changes, tmp_path)

    return make


@pytest.fixture
def steps(tmp_path: Path):
    store = Store(tmp_path / "runs")
    return lambda recipe: build_steps(recipe, load_inputs(recipe, store, Job()), store)
