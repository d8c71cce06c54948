"""Teachers in ONNX files, run by onnxruntime: exports of YOLO, of RT-DETR, and of YOLOX.

The one room for onnxruntime. Knows sessions, inputs and names; what an output means is said in ``onnx_layouts``.
"""

from __future__ import annotations

import ast
import gc
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, WeightsError
from da_kd.hashing import hash_file, hash_json
from da_kd.teachers.base import Failure, Image, refuse_unknown
from da_kd.teachers.batches import out_of_memory
from da_kd.teachers.checks import finish, first_line, hash_weights, missing_package, need_file, number, whole, words
from da_kd.teachers.coco_names import COCO_80
from da_kd.teachers.geometry import letterbox
from da_kd.teachers.onnx_layouts import LAYOUTS, Layout, Raw, Size, guess_layout, suppress

_OPTIONS = ("layout", "imgsz", "names", "iou", "max_boxes")
_LEAST, _MOST = 32, 8192  # pixels of a side of an input
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ELSEWHERE = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff]\x01)")  # then a name of that length
_log = logging.getLogger(__name__)


class OnnxTeacher:
    """An exported detector; ``weights`` is the ``.onnx`` file, beside files that it keeps large tensors in.

    Options:
        layout: ``yolo``, ``yolo_end2end``, ``yolox`` or ``rtdetr``; ``auto``, the default, tells them apart by
            shape and metadata.
        imgsz: side of the square input in pixels, for a model that takes any size and does not say its own.
        names: the class names in the model's order, or ``coco`` for COCO's 80; the default is what the file says.
        iou: NMS overlap, 0.7 unless given.
        max_boxes: most boxes per image, 300 unless given.
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the file and the options; see the class."""
        refuse_unknown("onnx", options, _OPTIONS)
        self.weights = Path(weights)
        self.layout = options.get("layout", "auto")
        if self.layout not in ("auto", *LAYOUTS):  # compared, not hashed: it may be a list
            raise InputError(f"Teacher option 'layout' must be auto, {', '.join(LAYOUTS)}; found '{self.layout}'.")
        self.imgsz = whole(options, "imgsz", _LEAST, _MOST)
        self.names = COCO_80 if options.get("names") == "coco" else words(options, "names")
        iou, most = number(options, "iou", 0, 1), whole(options, "max_boxes", 1, 10_000)
        self.iou = 0.7 if iou is None else iou
        self.max_boxes = 300 if most is None else most

    def fingerprint(self) -> str:
        """Return a hash of the weights and of the options that change an answer."""
        options = [self.layout, self.imgsz, self.names, self.iou, self.max_boxes]
        parts = ["onnx", 1, hash_weights(self.weights), *options]
        if elsewhere := _elsewhere(self.weights):
            parts.append(elsewhere)
        return hash_json(parts)

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_OnnxPredictor]:
        """Load the model; see :class:`~da_kd.teachers.base.Teacher`.

        Raises:
            SetupError: onnxruntime is not installed.
            WeightsError: the file is missing, unreadable, or no detector of a known layout.
            InputError: an option contradicts the file, or one is missing.
        """
        predictor = _OnnxPredictor(self, device, floor)
        try:
            yield predictor
        finally:
            predictor.close()


def _elsewhere(weights: Path) -> dict[str, str]:
    """Return, by name, hashes of the files that hold tensors which a model's own does not, as far as they are there.

    The protobuf names such a file with each tensor, in an entry ``location``.
    """
    model = weights.read_bytes()
    names = set()
    for found in _ELSEWHERE.finditer(model):
        low, high = (*found[1], 0)[:2]
        names.add(os.fsdecode(model[found.end() : found.end() + (low & 0x7F | high << 7)]))
    return {name: hash_file(path) for name in sorted(names) if (path := weights.parent / name).is_file()}


class _OnnxPredictor:
    """A loaded session."""

    def __init__(self, teacher: OnnxTeacher, device: str, floor: float) -> None:
        self._teacher, self._floor = teacher, floor
        self._session = _session(teacher.weights, device)
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        _check_task(metadata, teacher.weights)
        self._input = _only_input(self._session, teacher.weights)
        self._fixed_batch, self._size, self._type = _input_of(self._input, metadata, teacher)
        names = teacher.names or _names_of(metadata)
        shape = self._run(np.zeros((1, 3, self._size[1], self._size[0]), np.float32))[0].shape
        if len(shape) != 2:  # noqa: PLR2004 - boxes and numbers
            raise WeightsError(f"Expected two numbers an image from {teacher.weights}; found the shape {shape}.")
        known = None if names is None else len(names)
        name = guess_layout(shape, self._size, metadata, known) if teacher.layout == "auto" else teacher.layout
        self._layout: Layout = LAYOUTS[name]
        self.classes: Vocabulary = _check_names(names, self._layout.classes(shape), teacher.weights)

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; see :class:`~da_kd.teachers.base.Predictor`."""
        if not batch:
            return []
        boxed = [
            letterbox((image.pixels.shape[1], image.pixels.shape[0]), self._size, self._layout.mode) for image in batch
        ]
        stack = np.stack(
            [self._layout.pixels(box.apply(image.pixels)) for box, image in zip(boxed, batch, strict=True)]
        )
        answers: list[Detections | Failure] = []
        for image, box, output in zip(batch, boxed, self._run(stack), strict=True):
            raw = self._sift(self._layout.decode(output, self._size))
            size = image.pixels.shape[:2]
            answers.append(finish(self.classes, box.back(raw.xyxy), raw.score, raw.label, size, self._floor))
        return answers

    def _sift(self, raw: Raw) -> Raw:
        """Return the best boxes at or above the floor, suppressed where the layout asks for it."""
        raw = raw.pick(raw.score >= self._floor)
        if self._layout.suppress:
            raw = suppress(raw, self._teacher.iou)
        raw = raw.pick(np.argsort(-raw.score, kind="stable")[: self._teacher.max_boxes])
        if len(raw.label) and not 0 <= raw.label.min() <= raw.label.max() < len(self.classes):
            raise WeightsError(
                f"Expected classes 0 to {len(self.classes) - 1} from {self._teacher.weights}; found {raw.label.max()}. "
                "Name all of the model's classes with the option 'names'."
            )
        return raw

    def _run(self, stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output for (N, 3, H, W) inputs, in pieces where the model has a fixed batch."""
        step = self._fixed_batch or len(stack)
        parts = []
        for start in range(0, len(stack), step):
            piece = stack[start : start + step].astype(self._type, copy=False)
            short = step - len(piece)
            fed = np.concatenate([piece, np.zeros((short, *piece.shape[1:]), piece.dtype)]) if short else piece
            parts.append(self._answered(fed)[: len(piece)])
        return np.concatenate(parts).astype(np.float32, copy=False)

    def _answered(self, fed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first output for inputs of the model's own number type and batch."""
        try:
            output: npt.NDArray[Any] = self._session.run(None, {self._input.name: fed})[0]
        except Exception as error:  # the library raises its own classes, which share no base
            if out_of_memory(error):
                raise MemoryError(str(error)) from error  # the caller asks for fewer images at a time
            raise WeightsError(
                f"Expected a model that answers for images in {self._teacher.weights}; onnxruntime cannot run it "
                f"({first_line(error)}); export it anew."
            ) from error
        return output

    def close(self) -> None:
        """Drop the session and what it holds on the device."""
        del self._session
        gc.collect()


def _session(weights: Path, device: str) -> Any:
    """Return an onnxruntime session on the CPU, or on a GPU where one is asked for and the package has support."""
    need_file(weights)
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnx", "onnxruntime", "onnx", error) from error

    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            index = int(device.partition(":")[2] or 0)
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
        else:
            _log.warning("onnxruntime has no support for CUDA here; %s runs on the CPU.", weights.name)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(weights), settings, providers=providers)
    except Exception as error:  # the library raises its own classes, which share no base
        raise WeightsError(
            f"Expected an ONNX model at {weights}; onnxruntime cannot load it ({first_line(error)})."
        ) from error


def _check_task(metadata: Mapping[str, str], weights: Path) -> None:
    """Raise for an export that says it is no detector."""
    task = metadata.get("task", "detect")
    if task != "detect":
        raise WeightsError(f"Expected a detector in {weights}; found a model for '{task}'.")


def _only_input(session: Any, weights: Path) -> Any:
    """Return the input of a model that asks for images and for nothing else."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise WeightsError(
            f"Expected one input, the images, in {weights}; found {len(inputs)} "
            f"({', '.join(one.name for one in inputs)}); export the model anew, without its post-processing."
        )
    return inputs[0]


def _input_of(first: Any, metadata: Mapping[str, str], teacher: OnnxTeacher) -> tuple[int | None, Size, Any]:
    """Return a model's fixed batch (or None), its (width, height) and its number type."""
    shape, weights = first.shape, teacher.weights
    if first.type not in _TYPES or len(shape) != 4 or shape[1] != 3:  # noqa: PLR2004 - N, 3, H, W
        raise WeightsError(
            f"Expected one float input (batch, 3, height, width) in {weights}; found {first.type} {shape}."
        )
    batch, _, high, wide = shape
    fixed = isinstance(high, int) and isinstance(wide, int)
    if fixed and teacher.imgsz not in (None, high, wide):
        raise InputError(
            f"Teacher option 'imgsz' is {teacher.imgsz}; {weights} takes {wide} x {high} only; leave it out."
        )
    if not fixed and teacher.imgsz is not None:
        high = wide = teacher.imgsz
    elif not fixed:
        high, wide = _noted_size(metadata, weights)
    return (batch if isinstance(batch, int) else None), (wide, high), _TYPES[first.type]


def _noted_size(metadata: Mapping[str, str], weights: Path) -> tuple[int, int]:
    """Return the height and width a file notes for itself."""
    try:
        high, wide = map(int, ast.literal_eval(metadata["imgsz"]))
    except (KeyError, ValueError, SyntaxError, TypeError, OverflowError) as error:
        raise InputError(f"{weights} takes any size and names none; give the option 'imgsz', e.g. 640.") from error
    if not (_LEAST <= high <= _MOST and _LEAST <= wide <= _MOST):
        raise InputError(
            f"Expected an input of {_LEAST} to {_MOST} pixels a side in {weights}; it notes {wide} x {high}; give the "
            "option 'imgsz', e.g. 640."
        )
    return high, wide


def _names_of(metadata: Mapping[str, str]) -> Vocabulary | None:
    """Return the class names a file notes for itself."""
    try:
        names = ast.literal_eval(metadata["names"])
        return tuple(str(names[index]) for index in sorted(names))
    except (KeyError, ValueError, SyntaxError, TypeError):
        return None


def _check_names(names: Vocabulary | None, count: int | None, weights: Path) -> Vocabulary:
    """Return the class names, where they are known and as many as the model has."""
    if names is None:
        raise InputError(
            f"{weights} does not name its classes{'' if count is None else f' ({count})'}; give the option 'names': "
            "a list in the model's order, or 'coco' for COCO's 80."
        )
    if count is not None and len(names) != count:
        raise InputError(
            f"Expected {count} class names for {weights}; found {len(names)}; mend the option 'names' (or 'layout')."
        )
    return names
