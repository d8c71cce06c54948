"""Teachers from the ultralytics package: any detection checkpoint (``.pt``) it can load.

Loading a checkpoint unpickles it, which can run code; the library's allow-list of known classes is switched on, and
weights should still come only from people you trust.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, WeightsError
from da_kd.hashing import hash_file, hash_json
from da_kd.offline import settle_ultralytics
from da_kd.teachers.base import Failure, Image, refuse_unknown

Head = Literal["auto", "one_to_one", "one_to_many"]
_OPTIONS = ("imgsz", "iou", "max_boxes", "head")


class UltralyticsTeacher:
    """A detection checkpoint of the ultralytics package.

    Options:
        imgsz: side of the square an image is scaled into; the default is what the model was trained with.
        iou: NMS overlap, 0.7 unless given.
        max_boxes: most boxes per image, 300 unless given.
        head: for models with two heads, which one answers; ``auto`` takes the one-to-one head where there is one
            (measured on cells: the one-to-many head with NMS lost most of a rare, tiny class).
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the file and the options; see the class."""
        refuse_unknown("ultralytics", options, _OPTIONS)
        self.weights = Path(weights)
        self.imgsz: int | None = None if "imgsz" not in options else int(_number("imgsz", options["imgsz"], 32, 8192))
        self.iou = _number("iou", options.get("iou", 0.7), 0, 1)
        self.max_boxes = int(_number("max_boxes", options.get("max_boxes", 300), 1, 10_000))
        self.head: Head = options.get("head", "auto")
        if self.head not in ("auto", "one_to_one", "one_to_many"):
            raise InputError(f"Teacher option 'head' must be auto, one_to_one or one_to_many; found '{self.head}'.")

    def fingerprint(self) -> str:
        """Return a hash of the weights and of the options that change an answer."""
        return hash_json(["ultralytics", 1, hash_file(self.weights), self.imgsz, self.iou, self.max_boxes, self.head])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_UltralyticsPredictor]:
        """Load the checkpoint onto ``device``; see :class:`~da_kd.teachers.base.Teacher`."""
        predictor = _UltralyticsPredictor(self, device, floor, batch)
        try:
            yield predictor
        finally:
            predictor.close()


def _number(name: str, value: Any, least: float, most: float) -> float:
    """Return an option that must be a number in a range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"Teacher option '{name}' must be a number from {least} to {most}; found '{value}'.")
    return float(value)


class _UltralyticsPredictor:
    """A loaded checkpoint."""

    def __init__(self, teacher: UltralyticsTeacher, device: str, floor: float, batch: int) -> None:
        self._model = load_detector(teacher.weights)
        names = self._model.names
        self.classes: Vocabulary = tuple(str(names[index]) for index in sorted(names))
        head = self._model.model.model[-1]
        two_heads = getattr(head, "one2one_cv2", None) is not None
        self._arguments = {
            "conf": floor,
            "iou": teacher.iou,
            "max_det": teacher.max_boxes,
            "imgsz": teacher.imgsz or self._model.overrides.get("imgsz", 640),
            "device": device,
            "batch": batch,
            "rect": False,  # else the padding, and with it the answer, depends on an image's neighbours in the batch
            "verbose": False,
        }
        if two_heads and teacher.head != "one_to_many":
            self._arguments["nms"] = False  # the library's switch for the one-to-one head

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; see :class:`~da_kd.teachers.base.Predictor`."""
        bgr = [np.ascontiguousarray(image.pixels[:, :, ::-1]) for image in batch]
        results = self._model.predict(bgr, **self._arguments)
        return [self._detections(result) for result in results]

    def _detections(self, result: Any) -> Detections:
        boxes = result.boxes
        return Detections(
            self.classes,
            boxes.xyxy.cpu().numpy().astype(np.float32),
            np.clip(boxes.conf.cpu().numpy().astype(np.float32), 0, 1),
            boxes.cls.cpu().numpy().astype(np.int32),
        )

    def close(self) -> None:
        """Drop the model and what it holds on the device."""
        import torch

        del self._model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_detector(weights: Path) -> Any:
    """Load a detection checkpoint as the library's model object.

    Raises:
        WeightsError: missing, unreadable, refused by the allow-list, or not a detector.
    """
    if not weights.is_file():
        raise WeightsError(f"Expected a model file at {weights}; there is none. Put it there: nothing is downloaded.")
    if weights.suffix != ".pt":
        raise WeightsError(f"Expected a '.pt' checkpoint; found {weights.name}.")
    settle_ultralytics()
    from ultralytics import YOLO

    try:
        model = YOLO(str(weights))
    except Exception as error:  # the library raises whatever its unpickler met
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"Expected an ultralytics detection checkpoint at {weights}; it cannot be loaded ({first[:200]}). "
            "Loading is limited to classes of the library itself, since a pickle can run code."
        ) from error
    if model.task != "detect":
        raise WeightsError(f"Expected a detector in {weights}; found a model for '{model.task}'.")
    return model
