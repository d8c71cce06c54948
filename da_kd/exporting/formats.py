"""A checkpoint becomes a file of another format, and is not kept if it finds something else in the same images.

Knows ultralytics' exporter; must not know runs, nor what a model is good for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import ImageSet, read_image
from da_kd.detections import Detections
from da_kd.errors import DaKdError, InputError, SetupError
from da_kd.events import Job
from da_kd.exporting.same import FLOOR, SCORE, Agreement, compare
from da_kd.offline import settle_ultralytics
from da_kd.teachers import Image, adapter
from da_kd.teachers.checks import finish, first_line

_BATCH = 8


@dataclass(frozen=True)
class Format:
    """A file format: its ending, the modules that writing and reading it needs, and what installs them."""

    suffix: str
    modules: tuple[str, ...]
    install: str


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime"), "pip install 'da-kd[export]'"),
    "torchscript": Format(".torchscript", (), ""),
    "openvino": Format("_openvino_model", ("openvino",), "pip install 'da-kd[export]'"),
    "engine": Format(".engine", ("tensorrt",), "TensorRT for your GPU, from its maker"),
}


def export(weights: Path, kind: str, images: ImageSet, out: Path, device: str, job: Job) -> Agreement:
    """Write a checkpoint in another format, unless the two find different things in the same images.

    The exported model takes one square image at a time, of the size the checkpoint was trained with. Where neither
    finds a box, the file is kept, and the answer says that it was not checked.

    Args:
        weights: the checkpoint.
        kind: one of :data:`FORMATS`.
        images: what the two are compared on; every image must be readable.
        out: the file to write (for ``openvino``, a folder); what is there is replaced.
        device: where to run.
        job: where progress goes.

    Raises:
        InputError: no such format, or no image to compare on.
        SetupError: a library that the format needs is not installed.
        DaKdError: the library cannot export this model, or what it wrote finds something else.
    """
    check_format(kind, device)
    if not len(images):
        raise InputError("Expected images to compare the exported model on; found none.")
    pictures = [Image(key, read_image(images.path(index))) for index, key in enumerate(images.table.key)]
    with adapter("ultralytics")(weights, {}).open(device, FLOOR - SCORE, _BATCH) as predictor:
        starts = job.track(range(0, len(pictures), _BATCH), "checkpoint", unit="batches")
        before = [answer for start in starts for answer in predictor.predict(pictures[start : start + _BATCH])]
    if any(not isinstance(answer, Detections) for answer in before):
        raise DaKdError(f"The checkpoint {weights} gives no answer for some of the images; it cannot be compared.")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as spare, _settled():
        written = _written(weights, kind, Path(spare), device)
        with _exactly(kind):
            found = _found(written, pictures, device, job)
        agreement = compare([answer for answer in before if isinstance(answer, Detections)], found)
        if agreement.checked and not agreement.same:
            raise DaKdError(
                f"The {kind} file does not find what the checkpoint finds ({agreement}), so it was not kept; "
                "try another format, or other versions of its libraries."
            )
        if out.is_dir():
            shutil.rmtree(out)
        os.replace(written, out)
    return agreement


def check_format(kind: str, device: str) -> None:
    """Raise where a format is unknown or cannot be written here.

    Raises:
        InputError: no such format.
        SetupError: a library, or the GPU, that it needs is not there.
    """
    if kind not in FORMATS:
        raise InputError(f"Expected one of the formats {', '.join(FORMATS)}; found '{kind}'.")
    missing = [name for name in FORMATS[kind].modules if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"The format '{kind}' needs {' and '.join(missing)}; install it: {FORMATS[kind].install}.")
    if kind == "engine" and not device.startswith("cuda"):
        raise SetupError("The format 'engine' (TensorRT) is built on the GPU that will run it; found no GPU here.")


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Keep the libraries quiet and at home while they export."""
    settle_ultralytics()
    # OpenVINO would send usage figures; without this module it has nothing to send them with.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _exactly(kind: str) -> Iterator[None]:
    """Let OpenVINO compute in full precision: on CPUs that can, it takes bfloat16, and boxes move by pixels."""
    if kind != "openvino":
        yield
        return
    import openvino

    compile_model = openvino.Core.compile_model

    def in_full(core: Any, model: Any, device_name: str, config: Mapping[str, Any]) -> Any:
        return compile_model(core, model, device_name, {**config, "INFERENCE_PRECISION_HINT": "f32"})

    openvino.Core.compile_model = in_full
    try:
        yield
    finally:
        openvino.Core.compile_model = compile_model


def _written(weights: Path, kind: str, folder: Path, device: str) -> Path:
    """Return what the library wrote into ``folder``."""
    from ultralytics import YOLO

    copy = folder / "model.pt"  # it writes beside its input
    shutil.copyfile(weights, copy)
    model = YOLO(str(copy))
    extra: dict[str, Any] = {"simplify": False} if kind == "onnx" else {}
    if getattr(model.model.model[-1], "one2one_cv2", None) is not None:
        extra["nms"] = False  # the library's switch for the one-to-one head; else it writes the other one
    try:
        size = int(model.overrides.get("imgsz", 640))
        return Path(model.export(format=kind, imgsz=size, device=device.removeprefix("cuda:"), verbose=False, **extra))
    except Exception as error:  # the library raises whatever its backends met
        raise DaKdError(f"The model cannot be written as {kind}: {first_line(error)}.") from error


def _found(file: Path, pictures: Sequence[Image], device: str, job: Job) -> list[Detections]:
    """Return what an exported model finds, image by image."""
    from ultralytics import YOLO

    model = YOLO(str(file), task="detect")
    answers = []
    for picture in job.track(pictures, "exported", unit="images"):
        bgr = np.ascontiguousarray(picture.pixels[:, :, ::-1])
        floor = FLOOR - SCORE
        result = model.predict(bgr, conf=floor, iou=0.7, max_det=300, device=device, rect=False, verbose=False)[0]
        names, boxes = tuple(str(name) for name in result.names.values()), result.boxes
        xyxy, score, label = (part.cpu().numpy() for part in (boxes.xyxy, boxes.conf, boxes.cls))
        answers.append(finish(names, xyxy, score, label.astype(np.int64), result.orig_shape, floor))
    return answers
