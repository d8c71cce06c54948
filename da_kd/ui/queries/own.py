"""A person's own image or video under the models of runs, by one warm process that loads them.

What is uploaded is checked here before anything reads it: how large it is, and whether it is an image or a video.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data.images import IMAGE_SUFFIXES, probe
from da_kd.data.video import VIDEO_SUFFIXES, open_video
from da_kd.detections import Detections
from da_kd.errors import DaKdError, DataError, InputError
from da_kd.pipeline import TRAINED, Run, list_runs
from da_kd.stages.report.facts import name_of
from da_kd.ui.queries.runs import MOST_OFFERED, outputs
from da_kd.ui.queries.sets import recipe_of

MOST_PIXELS = 50_000_000
MOST_FRAMES = 120
WEIGHTS = frozenset({".pt", ".onnx"})
_FRAMES_A_SECOND = 1.0
_PATIENCE = 120.0  # seconds for an answer, the loading of a model included


@dataclass(frozen=True)
class Model:
    """A model that can be asked: the adapter's kind, its file, and its settings."""

    kind: str
    weights: Path
    options: Mapping[str, Any]


def models(workspace: Path) -> dict[str, Model]:
    """Return the models of all runs whose weights are there, by what they are called."""
    found: dict[str, Model] = {}
    for run in list_runs(workspace)[:MOST_OFFERED]:
        try:
            found |= _models_of(run)
        except DaKdError:
            continue
    return found


def _models_of(run: Run) -> dict[str, Model]:
    recipe, done = recipe_of(run), outputs(run)
    found = {}
    for row in ("source_only", "student", "finetuned", "oracle"):
        if row in done and (done[row] / "weights.pt").is_file():
            found[f"{run.name} / {name_of(row)}"] = Model("ultralytics", done[row] / "weights.pt", {})
    for teacher in recipe.teachers:
        made = next((done[f"{step}:{teacher.name}"] for step in TRAINED if f"{step}:{teacher.name}" in done), None)
        weights = made / "weights.pt" if made else Path(teacher.weights) if teacher.weights else None
        if weights is not None and weights.is_file() and teacher.kind != "coco_file":
            called = f"{run.name} / {name_of(f'teacher:{teacher.name}')}"
            found[called] = Model(teacher.kind, weights, dict(teacher.options))
    return found


def model_at(path: Path) -> Model:
    """Return the model in a file; its suffix says what reads it."""
    return Model("onnx" if path.suffix.lower() == ".onnx" else "ultralytics", path, {})


def uploaded_model(path: Path, allowed: bool) -> Model:
    """Return an uploaded model.

    Raises:
        InputError: the operator did not allow it, or the file is no model.
    """
    if not allowed:
        raise InputError(
            "Weights are not taken from the page: loading them can run code on this machine. Whoever trusts everybody "
            "who reaches the page can start the app with --allow-weights."
        )
    if path.suffix.lower() not in WEIGHTS:
        raise InputError(f"Expected weights as {' or '.join(sorted(WEIGHTS))}; found '{path.suffix}'.")
    return model_at(path)


@contextmanager
def pictures_of(path: Path, frames: Path, most: int = MOST_FRAMES) -> Iterator[list[Path]]:
    """Give an uploaded image, or the first frames of an uploaded video, one a second; these are removed afterwards.

    Args:
        path: the uploaded file.
        frames: the folder that frames lie in meanwhile.
        most: frames to take of a video, :data:`MOST_FRAMES` at most.

    Raises:
        InputError: the file is neither, or too large.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        yield [_checked_image(path)]
        return
    frames.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=frames) as place:
        try:
            source = open_video(path, _FRAMES_A_SECOND, Path(place), most=min(most, MOST_FRAMES))
        except DataError as error:
            raise InputError(f"Expected a video; '{path.name}' does not decode as one ({error}).") from error
        yield [source.root / key for key in source.keys]


def _checked_image(path: Path) -> Path:
    """Return an uploaded image that decodes and is not too large."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"Expected an image or a video; found '{path.name}'.")
    header = probe(path, verify=False)
    if header.width * header.height > MOST_PIXELS:
        raise InputError(f"Expected an image of at most {MOST_PIXELS // 1_000_000} megapixels; found more.")
    seen = probe(path) if not header.reason else header
    if seen.reason:
        raise InputError(f"Expected an image; '{path.name}' does not decode as one ({seen.reason}).")
    return path


class Worker:
    """The warm process; started with the first question, and again where it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, model: Model, image: Path, floor: float) -> Detections:
        """Return what a model finds in an image.

        Raises:
            InputError: it cannot be asked.
        """
        said = self._said(model, floor, {"image": str(image)})
        xyxy = np.array(said["xyxy"], np.float32).reshape(-1, 4)
        return Detections(tuple(said["vocabulary"]), xyxy, np.array(said["score"]), np.array(said["label"], np.int32))

    def names(self, model: Model) -> tuple[str, ...]:
        """Return the names of a model's classes.

        Raises:
            InputError: it cannot be loaded.
        """
        return tuple(self._said(model, 0.5, {})["vocabulary"])

    def _said(self, model: Model, floor: float, more: Mapping[str, Any]) -> dict[str, Any]:
        asked = {"kind": model.kind, "weights": str(model.weights), "options": dict(model.options), "floor": floor}
        with self._lock:
            said: dict[str, Any] = json.loads(self._line(json.dumps({**asked, **more})))
        if "error" in said:
            raise InputError(str(said["error"]))
        return said

    def _line(self, question: str) -> str:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise InputError("The process that runs models has no way to answer; try again.")
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except OSError as error:
            raise InputError(f"The process that runs models has ended ({error}); try again.") from error
        end = time.monotonic() + _PATIENCE
        while not select.select([process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                raise InputError("The model did not answer; it may be too large for this machine. Choose another one.")
        line = process.stdout.readline()
        if not line:
            raise InputError("The process that runs models has ended; it may be out of memory. Choose another model.")
        return line

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "da_kd.ui.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process


worker = Worker()
