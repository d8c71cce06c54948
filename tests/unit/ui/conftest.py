"""Workspaces and tables made by hand; neither gradio nor torch is loaded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, DetectionTable, ImageRecord, table_of
from da_kd.pipeline import Run, RunState
from da_kd.ui.settings import Settings, make_settings

CLASSES = ("cat", "dog")
RECIPE = """\
schema: 1
name: demo
classes: [cat, dog]
data: {root: ROOT, target: {path: images}, test: {path: images}}
teachers: [{name: a, weights: a.json, kind: coco_file}]
fuse: {keep: 0.5, drop: 0.1}
evaluate: {}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DA_KD_DATA", raising=False)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "demo.yaml").write_text(RECIPE.replace("ROOT", "."))
    return make_settings(tmp_path)


@pytest.fixture
def recipe_text() -> str:
    """A recipe whose data root is still to be put in for ROOT."""
    return RECIPE


@pytest.fixture
def run(settings: Settings) -> Run:
    """A run that says it is done, with a recipe."""
    place = Run(settings.workspace / "demo")
    place.folder.mkdir(parents=True)
    (place.folder / "recipe.yaml").write_text(RECIPE.replace("ROOT", str(settings.start)))
    place.save(RunState("done", "report", "", started=time.time() - 60, ended=time.time()))
    return place


@pytest.fixture
def tell(run: Run) -> Callable[..., None]:
    """Append an event to the run's."""

    def write(kind: str, **values: object) -> None:
        with (run.folder / "events.jsonl").open("a") as file:
            file.write(json.dumps({"kind": kind, "stage": "distill", "time": time.time(), **values}) + "\n")

    return write


@pytest.fixture
def finished(run: Run) -> Callable[[str, str], Path]:
    """Put a finished output of a step into the store, and into the run's record."""

    def make(step: str, stage: str) -> Path:
        print_ = f"{step.replace(':', '-')}-print"
        folder = run.workspace / "store" / stage / print_
        folder.mkdir(parents=True)
        (folder / "output.json").write_text("{}")
        state = run.state()
        steps = {**state.steps, step: {"stage": stage, "fingerprint": print_, "made": {}}}
        run.save(RunState(**{**state.__dict__, "steps": steps}))
        return folder

    return make


@pytest.fixture
def held(run: Run) -> Callable[[], None]:
    """Let the run be held by this process, as far as its lock file says."""

    def hold() -> None:
        (run.folder / "lock").write_text(json.dumps({"pid": os.getpid(), "since": time.time()}))

    return hold


@pytest.fixture
def boxes() -> Callable[..., Detections]:
    """Make boxes of rows of x1, y1, x2, y2, score, label."""

    def make(*rows: tuple[float, ...]) -> Detections:
        array = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(CLASSES, array[:, :4], array[:, 4], array[:, 5].astype(np.int32))

    return make


@pytest.fixture
def table() -> Callable[..., DetectionTable]:
    """Make a table of boxes by image, all images of 100 by 100 pixels."""

    def make(found: dict[str, Detections]) -> DetectionTable:
        return table_of(CLASSES, [ImageRecord(key, f"sha-{key}", 100, 100) for key in found], found)

    return make


@pytest.fixture
def images(settings: Settings) -> Path:
    folder = settings.start / "images"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (100, 100), (200, 150, 40 * number)).save(folder / f"{number}.png")
    return folder
