"""Teachers from the ultralytics package: any detection checkpoint (``.pt``) it can load.

Open-vocabulary models (YOLO-World, YOLOE) take their words in ``prompts``. Must not know how a model was trained.

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
from da_kd.hashing import hash_json
from da_kd.offline import settle_ultralytics
from da_kd.teachers.base import Failure, Image, refuse_unknown
from da_kd.teachers.checks import finish, first_line, hash_weights, need_file, number, whole, words

Head = Literal["auto", "one_to_one", "one_to_many"]
_OPTIONS = ("imgsz", "iou", "max_boxes", "head", "prompts", "text_encoder")


class UltralyticsTeacher:
    """A detection checkpoint of the ultralytics package.

    Options:
        imgsz: side of the square an image is scaled into; the default is what the model was trained with.
        iou: NMS overlap, 0.7 unless given.
        max_boxes: most boxes per image, 300 unless given.
        head: for models with two heads, which one answers; ``auto`` takes the one-to-one head where there is one
            (measured on cells: the one-to-many head with NMS lost most of a rare, tiny class).
        prompts: what an open-vocabulary model looks for, in words; they become the vocabulary. Words that the
            checkpoint already has among its classes need nothing else.
        text_encoder: for other words, the file of the encoder the model was trained with: CLIP's ``ViT-B-32.pt`` for
            YOLO-World, ``mobileclip_blt.ts`` (or ``mobileclip2_b.ts``) for YOLOE. The latter can run code.
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the file and the options; see the class."""
        refuse_unknown("ultralytics", options, _OPTIONS)
        self.weights = Path(weights)
        self.imgsz = whole(options, "imgsz", 32, 8192)
        iou, most = number(options, "iou", 0, 1), whole(options, "max_boxes", 1, 10_000)
        self.iou = 0.7 if iou is None else iou
        self.max_boxes = 300 if most is None else most
        self.prompts = words(options, "prompts")
        self.text_encoder = Path(options["text_encoder"]) if options.get("text_encoder") is not None else None
        self.head: Head = options.get("head", "auto")
        if self.head not in ("auto", "one_to_one", "one_to_many"):
            raise InputError(f"Teacher option 'head' must be auto, one_to_one or one_to_many; found '{self.head}'.")

    def fingerprint(self) -> str:
        """Return a hash of the weights and of the options that change an answer."""
        parts = ["ultralytics", 2, hash_weights(self.weights), self.imgsz, self.iou, self.max_boxes, self.head]
        if self.prompts is not None:
            parts += [self.prompts, hash_weights(self.text_encoder) if self.text_encoder else ""]
        return hash_json(parts)

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_UltralyticsPredictor]:
        """Load the checkpoint onto ``device``; see :class:`~da_kd.teachers.base.Teacher`."""
        predictor = _UltralyticsPredictor(self, device, floor, batch)
        try:
            yield predictor
        finally:
            predictor.close()


class _UltralyticsPredictor:
    """A loaded checkpoint."""

    def __init__(self, teacher: UltralyticsTeacher, device: str, floor: float, batch: int) -> None:
        self._floor = floor
        self._model = load_detector(teacher.weights, ("detect", "segment"))
        if teacher.prompts is not None:
            from da_kd.teachers.ultralytics_words import set_prompts

            set_prompts(self._model, teacher.prompts, teacher.text_encoder, teacher.weights)
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
        if not batch:
            return []
        bgr = [np.ascontiguousarray(image.pixels[:, :, ::-1]) for image in batch]
        results = self._model.predict(bgr, **self._arguments)
        return [self._detections(result) for result in results]

    def _detections(self, result: Any) -> Detections:
        boxes = result.boxes
        xyxy, score, label = boxes.xyxy.cpu().numpy(), boxes.conf.cpu().numpy(), boxes.cls.cpu().numpy()
        return finish(self.classes, xyxy, score, label.astype(np.int64), result.orig_shape, self._floor)

    def close(self) -> None:
        """Drop the model and what it holds on the device."""
        import torch

        del self._model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_detector(weights: Path, tasks: Sequence[str] = ("detect",)) -> Any:
    """Load a detection checkpoint as the library's model object.

    Args:
        weights: the ``.pt`` file.
        tasks: what the model may be for, in the library's words; a ``segment`` model also answers with boxes.

    Raises:
        WeightsError: missing, unreadable, refused by the allow-list, or not a detector.
    """
    if need_file(weights).suffix != ".pt":
        raise WeightsError(f"Expected a '.pt' checkpoint; found {weights.name}.")
    settle_ultralytics()
    from ultralytics import YOLO

    try:
        model = YOLO(str(weights))
    except Exception as error:  # the library raises whatever its unpickler met
        raise WeightsError(f"Expected an ultralytics detection checkpoint at {weights}; {_refusal(error)}") from error
    if model.task not in tasks:
        raise WeightsError(f"Expected a detector in {weights}; found a model for '{model.task}'.")
    return model


def _refusal(error: Exception) -> str:
    """Return why a checkpoint was not loaded and what to do; the library's own words advise to run its command line."""
    text = str(error)
    if "truncated or corrupted" in text:
        return "found a file that is empty, truncated or damaged. Copy it again."
    if "outside the supported" in text:
        return (
            "found something else, or a checkpoint with objects that the library does not know. It was not opened, "
            "since a pickle can run code; name the right file, or export it again with ultralytics."
        )
    return f"it cannot be loaded ({first_line(error)}). Name the right file, or export it again with ultralytics."
