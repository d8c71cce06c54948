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
from typing import Any, Literal, get_args

import numpy as np

from da_kd.boxes import iou
from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, WeightsError
from da_kd.hashing import hash_json
from da_kd.offline import settle_ultralytics
from da_kd.teachers.base import Failure, Image, Predictor, refuse_unknown
from da_kd.teachers.checks import finish, first_line, hash_weights, need_file, number, switch, whole, words

Head = Literal["auto", "one_to_one", "one_to_many", "both"]
_HEADS: tuple[Head, ...] = get_args(Head)
_SAME = 0.5  # overlap from which a box of the one-to-many head is one that the one-to-one head has
_OPTIONS = ("imgsz", "iou", "max_boxes", "head", "half", "prompts", "text_encoder")


class UltralyticsTeacher:
    """A detection checkpoint of the ultralytics package.

    Options:
        imgsz: side of the square an image is scaled into; the default is what the model was trained with.
        iou: NMS overlap, 0.7 unless given.
        max_boxes: most boxes per image, 300 unless given.
        head: for models with two heads, which one answers; ``auto`` takes the one-to-one head where there is one
            (measured on cells: the one-to-many head with NMS lost most of a rare, tiny class). ``both`` joins the
            one-to-one head's boxes with those of the one-to-many head, after NMS, that overlap none of its class among
            them by an IoU of 0.5 or more (the rule of RT-SFOD, ECCV 2026); the images go through the model twice,
            since the library drops the head that does not answer. Models with one head answer with it.
        half: compute with 16 bits on a GPU, which moves boxes and scores a little; a CPU computes with 32 all the same.
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
        self.half = switch(options, "half")
        self.prompts = words(options, "prompts")
        self.text_encoder = Path(options["text_encoder"]) if options.get("text_encoder") is not None else None
        self.head: Head = options.get("head", "auto")
        if self.head not in _HEADS:
            raise InputError(f"Teacher option 'head' must be one of {', '.join(_HEADS)}; found '{self.head}'.")

    def fingerprint(self) -> str:
        """Return a hash of the weights and of the options that change an answer."""
        parts = ["ultralytics", 2, hash_weights(self.weights), self.imgsz, self.iou, self.max_boxes, self.head]
        if self.half:
            parts.append("half")
        if self.prompts is not None:
            parts += [self.prompts, hash_weights(self.text_encoder) if self.text_encoder else ""]
        return hash_json(parts)

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[Predictor]:
        """Load the checkpoint onto ``device``; see :class:`~da_kd.teachers.base.Teacher`."""
        opened = [_UltralyticsPredictor(self, device, floor, batch, many=self.head == "one_to_many")]
        try:
            if self.head == "both" and opened[0].two_heads:
                opened.append(_UltralyticsPredictor(self, device, floor, batch, many=True))
                yield _BothHeads(*opened)
            else:
                yield opened[0]
        finally:
            for predictor in opened:
                predictor.close()


class _UltralyticsPredictor:
    """A loaded checkpoint; of two heads the one-to-one head answers, or the other one if ``many``."""

    def __init__(self, teacher: UltralyticsTeacher, device: str, floor: float, batch: int, *, many: bool) -> None:
        self._floor = floor
        self._model = load_detector(teacher.weights, ("detect", "segment"))
        if teacher.prompts is not None:
            from da_kd.teachers.ultralytics_words import set_prompts

            set_prompts(self._model, teacher.prompts, teacher.text_encoder, teacher.weights)
        names = self._model.names
        self.classes: Vocabulary = tuple(str(names[index]) for index in sorted(names))
        head = self._model.model.model[-1]
        self.two_heads = getattr(head, "one2one_cv2", None) is not None
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
        if teacher.half and device != "cpu":
            self._arguments["half"] = True
        if self.two_heads and not many:
            self._arguments["nms"] = False  # the library's switch for the one-to-one head

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; see :class:`~da_kd.teachers.base.Predictor`."""
        if not batch:
            return []
        import cv2

        bgr = [cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR) for image in batch]
        results = self._model.predict(bgr, **self._arguments)
        return [self._detections(result) for result in results]

    def _detections(self, result: Any) -> Detections:
        boxes = result.boxes.data.cpu().numpy()  # x1, y1, x2, y2, score, label; one way from the device for all
        label = boxes[:, 5].astype(np.int64)
        return finish(self.classes, boxes[:, :4], boxes[:, 4], label, result.orig_shape, self._floor)

    def close(self) -> None:
        """Drop the model and what it holds on the device."""
        import torch

        del self._model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _BothHeads:
    """Two predictors over one checkpoint, one a head."""

    def __init__(self, one: Predictor, many: Predictor) -> None:
        self._one, self._many = one, many
        self.classes = one.classes

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; see :class:`~da_kd.teachers.base.Predictor`."""
        pairs = zip(self._one.predict(batch), self._many.predict(batch), strict=True)
        return [
            one if isinstance(one, Failure) or isinstance(many, Failure) else _union(one, many) for one, many in pairs
        ]


def _union(one: Detections, many: Detections) -> Detections:
    """Return the boxes of ``one``, then those of ``many`` that overlap none of ``one`` of their class."""
    same = (iou(many.xyxy, one.xyxy) >= _SAME) & (many.label[:, None] == one.label[None])
    new = many.pick(~same.any(axis=1))
    return Detections(
        one.vocabulary,
        np.concatenate([one.xyxy, new.xyxy]),
        np.concatenate([one.score, new.score]),
        np.concatenate([one.label, new.label]),
    )


def load_detector(weights: Path, tasks: Sequence[str] = ("detect",)) -> Any:
    """Load a detection checkpoint as the library's model object.

    Args:
        weights: the ``.pt`` file.
        tasks: what the model may be for, in the library's words; a ``segment`` model also answers with boxes.

    Raises:
        WeightsError: missing, unreadable, refused by the allow-list, or not a detector.
    """
    if need_file(weights).suffix != ".pt":
        onnx = f"; give it as 'onnx:{weights}', in a recipe with 'kind: onnx'" if weights.suffix == ".onnx" else ""
        raise WeightsError(f"Expected a '.pt' checkpoint; found {weights.name}{onnx}.")
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
