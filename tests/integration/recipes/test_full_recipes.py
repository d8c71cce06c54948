"""The full-size recipes, on a few small images in the layout that each describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import da_kd
from da_kd.cli.deep import problems_of
from da_kd.recipe import Images, Recipe, load_recipe
from da_kd.teachers.coco_names import COCO_80

RECIPES = sorted((Path(da_kd.__file__).parents[1] / "recipes" / "full").glob("*.yaml"))
SETS = ("source", "source_val", "target", "target_labelled", "test")
SIDE = 64  # pixels
TINY = "{model: yolo11n.yaml, width: 0.125, imgsz: 64}"
STEP = "{steps: 1, batch: 4}"
COCO = dict(enumerate(COCO_80))
Load = Callable[[Path], Recipe]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a recipe whose data lies below the test's own folder, made small enough for a test."""
    monkeypatch.setenv("DA_KD_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def load(path: Path) -> Recipe:
        changes = [f"student={TINY}", "predict.batch=4", "workers=0", "device=cpu", "report.images=1"]
        changes += ["evaluate.oracle=false"]
        changes += ["distill.steps=1", "distill.batch=4", "predict.floor=0.0", "fuse.drop.default=0.0"]
        changes += ["fuse.keep.default=0.0", "review.accept.score=0.0"]  # teachers of one step say nothing surely
        whole = load_recipe(path)
        if whole.finetune is not None:
            changes += ["finetune.steps=1", "finetune.batch=4", "finetune.fraction=0.5"]
        if whole.teach is not None:
            changes += [f"teach={STEP}", f"teachers.0.architecture={TINY}"]
        for name in ("source", "source_val"):
            given = getattr(whole.data, name)
            if given is not None:
                changes += [f"data.{name}.holdout.fraction=0.5"] if given.holdout else [f"data.{name}.fraction=0.5"]
        return load_recipe(path, changes)

    return load


def lay_out(recipe: Recipe, root: Path) -> None:
    """Write the images and labels that every set of a recipe names; sets that share a file share it here, too."""
    rng = np.random.default_rng(0)
    for name in SETS:
        spec = getattr(recipe.data, name)
        if spec is not None and not (root / spec.path).exists():
            keys = list(draw(root / (spec.images or spec.path), name, rng, spec))
            if spec.images is not None:
                theirs = {new: old for old, new in spec.classes.items() if new}
                label(root / spec.path, keys, [theirs.get(name, name) for name in recipe.classes])


def draw(folder: Path, name: str, rng: np.random.Generator, spec: Images) -> Iterator[str]:
    """Write noise with a bright square, in two folders where images stay together by folder."""
    folder.mkdir(parents=True, exist_ok=True)
    grouped = spec.holdout is not None and spec.holdout.group == "folder"
    for number in range(8):
        key = f"{'aachen' if number < 4 else 'bochum'}/{number}.png" if grouped else f"{name}_{number}.png"
        pixels = rng.integers(0, 90, (SIDE, SIDE, 3), np.uint8)
        pixels[10:40, 20:50] = 230
        (folder / key).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / key)
        yield key


def label(path: Path, keys: list[str], names: list[str]) -> None:
    """Write COCO JSON: the square of every image, of one class after the other, and one that no recipe knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [*names, "a class of no recipe"]
    extra = [] if len(names) == 80 else [(0, len(names))]  # COCO's own files have no other classes
    boxes = [*((number, number % len(names)) for number in range(len(keys))), *extra]
    tree = {
        "images": [{"id": i, "file_name": key, "width": SIDE, "height": SIDE} for i, key in enumerate(keys)],
        "categories": [{"id": i, "name": word} for i, word in enumerate(words[: len(names) + bool(extra)])],
        "annotations": [
            {"id": i, "image_id": image, "category_id": kind, "bbox": [20, 10, 30, 30], "area": 900, "iscrowd": 0}
            for i, (image, kind) in enumerate(boxes, 1)
        ],
    }
    path.write_text(json.dumps(tree))


def save_teachers(recipe: Recipe) -> None:
    """Write small untrained weights where a recipe names some: with Pascal VOC's classes, or with COCO's."""
    import ultralytics
    from ultralytics import YOLO
    from ultralytics.nn.tasks import yaml_model_load

    configs = Path(ultralytics.__file__).parent / "cfg"
    for path in (Path(teacher.weights) for teacher in recipe.teachers if teacher.weights):
        names = yaml.safe_load((configs / "datasets" / "VOC.yaml").read_text())["names"] if "voc" in path.stem else COCO
        path.parent.mkdir(parents=True, exist_ok=True)
        tree = yaml_model_load(str(configs / "models" / "11" / "yolo11.yaml"))
        tree |= {"scales": {"n": [0.33, 0.125, 1024]}, "scale": "n", "nc": len(names)}
        source = path.with_name("yolo11n.yaml")
        source.write_text(yaml.safe_dump(tree, sort_keys=False))
        model = YOLO(str(source))
        model.model.names = dict(names)
        model.save(path)


def test_there_are_recipes_for_every_case() -> None:
    assert [path.stem for path in RECIPES] == [
        "bdd_day_night",
        "cityscapes_foggy",
        "coco_labels",
        "coco_unlabeled",
        "kitti_cityscapes",
        "sim10k_cityscapes",
        "voc_coco",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_says_what_it_needs_and_opens_what_it_describes(path: Path, load: Load, tmp_path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("schema:")[0]
    assert all(word in head for word in ("Data:", "Layout:", "Command:", "Published:", "Hardware:", "Time:"))
    recipe = load(path)
    assert recipe.name == path.stem
    lay_out(recipe, tmp_path)
    save_teachers(recipe)
    assert problems_of(recipe) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_small_form_of_it_runs_to_its_report(path: Path, load: Load, tmp_path: Path) -> None:
    recipe = load(path)
    lay_out(recipe, tmp_path)
    save_teachers(recipe)
    result = da_kd.run(recipe, tmp_path / "run")
    assert result.metrics is not None and result.report is not None
    wanted = {"student", *(f"teacher:{teacher.name}" for teacher in recipe.teachers)}
    wanted |= {"source_only"} if recipe.data.source is not None else set()
    wanted |= {"finetuned"} if recipe.finetune is not None else set()
    assert wanted <= set(result.metrics.models)
    assert set(result.metrics.differences["student"]) >= wanted & {"source_only"}
    detail = json.loads(
        (next(step.folder for step in result.steps if step.name == "evaluate:student") / "detail.json").read_text()
    )
    assert len(next(iter(detail["curves"].values()))) == 101
