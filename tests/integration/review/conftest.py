"""A small table of labels with its images, and a look for servers that were left behind."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from da_kd.detections import DetectionTable, State
from da_kd.events import Job
from da_kd.stages.review import ReviewInput

K, U, D = int(State.KEPT), int(State.UNCERTAIN), int(State.DROPPED)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server or setting of the machine's user shines through."""
    for key in [key for key in os.environ if key.startswith("FIFTYONE_")]:
        monkeypatch.delenv(key)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path):
    """No process that works for the test's folder outlives the test."""
    yield
    left = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(tmp_path) in line and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            left.append(line)
            process.kill()
    assert left == []


@pytest.fixture
def given(tmp_path: Path) -> ReviewInput:
    return make_input(tmp_path / "images")


@pytest.fixture
def told() -> "Told":
    return Told()


@pytest.fixture
def other(tmp_path: Path) -> ReviewInput:
    return make_input(tmp_path / "other", seed=1)


class Told(Job):
    """A job that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list = []
        super().__init__(self.events.append)

    @property
    def text(self) -> str:
        return "\n".join(getattr(event, "text", "") for event in self.events)


def make_input(folder: Path, run: str = "cells", seed: int = 0) -> ReviewInput:
    """Three readable images (5, 0 and 3 boxes), one that is not; sizes that no power of two divides."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [(641, 479), (333, 777), (97, 1201), (0, 0)]
    for number, size in enumerate(sizes[:3]):
        Image.new("RGB", size, (90 + number, 120, 200)).save(folder / f"{number}.png")
    counts = [5, 0, 3, 0]
    corners = np.concatenate(
        [rng.uniform(0.0, 1.0, (n, 2)) * (w, h) * 0.5 for (w, h), n in zip(sizes, counts, strict=True)]
    )
    extents = rng.uniform(5, 40, (8, 2))
    table = DetectionTable(
        vocabulary=("RBC", "WBC", "Platelets"),
        key=("0.png", "1.png", "2.png", "3.png"),
        sha=(*(f"{seed:02d}{number}" * 8 for number in range(3)), ""),
        size=np.array(sizes, np.int32),
        reason=("", "", "", "is no image"),
        searched=np.ones((4, 3), bool),
        offsets=np.cumsum([0, *counts]),
        xyxy=np.concatenate([corners, corners + extents], axis=1).astype(np.float32),
        score=np.array([0.9, 0.8, 0.4, 0.05, 0.7, 0.95, 0.3, 0.6], np.float32),
        label=np.array([0, 1, 2, 0, 0, 1, 1, 2], np.int32),
        state=np.array([K, K, U, D, K, K, U, K], np.int8),
        agreement=np.array([1, 0.5, 0.5, 0.5, 1, 1, 0.5, 1], np.float32),
        protected=np.zeros(8, bool),
        teachers=("yolo-n.v2", "frcnn"),
        teacher_score=np.array([[0.9, 0.8], [0.8, np.nan]] * 4, np.float32),
    )
    return ReviewInput(folder, table, run, f"fingerprint{seed}")
