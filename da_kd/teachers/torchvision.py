"""Teachers of torchvision: Faster R-CNN, RetinaNet, FCOS, SSD and SSDLite from a file of weights.

Weights are read as tensors and plain values only (``weights_only``), so a file cannot run code, and nothing is ever
downloaded. Must not know how a model was trained; who trains one writes it with :func:`save_checkpoint`.
"""

from __future__ import annotations

import difflib
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, WeightsError
from da_kd.files import whole as whole_file
from da_kd.hashing import hash_json
from da_kd.teachers.base import Failure, Image, refuse_unknown
from da_kd.teachers.checks import finish, first_line, hash_weights, need_file, number, whole, words
from da_kd.teachers.coco_names import COCO_80
from da_kd.teachers.geometry import groups

MODELS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)
_FIXED = {"ssd300_vgg16": 320, "ssdlite320_mobilenet_v3_large": 320}  # SSD300 takes 300 of it
_COARSEST = 32  # pixels of the input to a place of the last map
_OPTIONS = ("model", "names", "min_size", "max_size", "iou", "max_boxes")
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids of COCO's first list that no object has
_COCO_IDS = tuple(number for number in range(1, 91) if number not in _COCO_GAPS)


class TorchvisionTeacher:
    """A torchvision detector; ``weights`` is a ``.pt`` or ``.pth`` file.

    The file holds either what :func:`save_checkpoint` wrote, or a plain ``state_dict``, which needs the options
    ``model`` and ``names``. Label 0 of the model is background; the names count from label 1.

    Options:
        model: which of :data:`MODELS` the weights belong to; the default is what the file says.
        names: the class names without background, or ``coco`` for weights that count COCO's 91 ids; the default is
            what the file says.
        min_size, max_size: least length of the shorter and most of the longer side an image is scaled to, in pixels;
            the default is what the file says, else the model's own. SSD and SSDLite have one fixed input.
        iou: NMS overlap; the default is the model's own.
        max_boxes: most boxes per image; the default is the model's own.
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the file and the options; see the class."""
        refuse_unknown("torchvision", options, _OPTIONS)
        self.weights = Path(weights)
        self.model = options.get("model")
        if self.model is not None:
            check_model(self.model)
        self.names: Vocabulary | str | None = "coco" if options.get("names") == "coco" else words(options, "names")
        self.min_size = whole(options, "min_size", 32, 8192)
        self.max_size = whole(options, "max_size", 32, 8192)
        self.iou = number(options, "iou", 0, 1)
        self.max_boxes = whole(options, "max_boxes", 1, 10_000)

    def fingerprint(self) -> str:
        """Return a hash of the weights and of the options that change an answer."""
        options = [self.model, self.names, self.min_size, self.max_size, self.iou, self.max_boxes]
        return hash_json(["torchvision", 1, hash_weights(self.weights), *options])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_TorchvisionPredictor]:
        """Load the model onto ``device``; see :class:`~da_kd.teachers.base.Teacher`.

        Raises:
            WeightsError: the file is missing, unreadable, or does not fit the model.
            InputError: an option is missing or does not fit the model.
        """
        predictor = _TorchvisionPredictor(self, device, floor)
        try:
            yield predictor
        finally:
            predictor.close()


def check_model(name: Any) -> str:
    """Return a model's name that is one of :data:`MODELS`.

    Raises:
        InputError: it is not.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(str(name), MODELS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise InputError(f"Expected a torchvision detector, one of {', '.join(MODELS)}; found '{name}'{hint}")
    return str(name)


def check_trainable(name: str, imgsz: int, batch: int) -> None:
    """Refuse a model that cannot be trained with an input of this size, or so few images a step.

    Args:
        name: one of :data:`MODELS`.
        imgsz: what an image's longer side is to be scaled to, in pixels.
        batch: images a step.

    Raises:
        InputError: no such model; its input has another, fixed size; or it needs more images a step.
    """
    fixed = _FIXED.get(check_model(name), imgsz)
    if fixed != imgsz:
        raise InputError(f"The input of {name} is fixed; expected 'imgsz: {fixed}'; found {imgsz}.")
    least = least_batch(name, imgsz)
    if batch < least:
        raise InputError(
            f"The batch normalisation of {name} needs {least} images a step at 'imgsz: {imgsz}'; expected a 'batch' of "
            f"{least} or more; found {batch}."
        )


def least_batch(name: str, imgsz: int) -> int:
    """Return how few images a model can learn from at a time: two, where its last maps have one place an image.

    Args:
        name: one of :data:`MODELS`.
        imgsz: what an image's longer side is scaled to, in pixels; a multiple of 32.
    """
    return 2 if name.startswith("ssdlite") or imgsz == _COARSEST else 1


def build_model(name: str, classes: int, sizes: Mapping[str, int] | None = None) -> Any:
    """Return an untrained detector; nothing is downloaded.

    Args:
        name: one of :data:`MODELS`.
        classes: the number of classes without background.
        sizes: ``min_size`` and ``max_size`` in pixels, where they are not the model's own.

    Raises:
        InputError: no such model, or sizes for a model whose input is fixed.
    """
    check_model(name)
    if sizes and name.startswith("ssd"):
        raise InputError(f"Teacher options 'min_size' and 'max_size' do nothing for {name}; leave them out.")
    from torchvision.models import get_model

    return get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1, **(sizes or {}))


def save_checkpoint(path: Path, model_name: str, names: Sequence[str], model: Any) -> None:
    """Write a detector so that :class:`TorchvisionTeacher` needs no options; under a temporary name, then renamed.

    Args:
        path: the file, ``.pt`` or ``.pth``.
        model_name: one of :data:`MODELS`.
        names: the class names without background.
        model: the torchvision model; its input sizes are kept, too.

    Raises:
        InputError: no such model.
    """
    import torch

    kept: dict[str, Any] = {"model": check_model(model_name), "names": [str(name) for name in names]}
    if not model_name.startswith("ssd"):
        kept["sizes"] = {"min_size": int(model.transform.min_size[0]), "max_size": int(model.transform.max_size)}
    kept["state_dict"] = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    with whole_file(path) as temporary:
        torch.save(kept, temporary)


class _TorchvisionPredictor:
    """A loaded detector; ``model`` is torchvision's own."""

    def __init__(self, teacher: TorchvisionTeacher, device: str, floor: float) -> None:
        file = _read(teacher.weights)
        name, names, sizes = _described(teacher, file)
        self.classes: Vocabulary = COCO_80 if names == "coco" else tuple(names)
        ids = _COCO_IDS if names == "coco" else tuple(range(1, len(names) + 1))
        self._lookup = np.full(max(ids) + 1, -1, np.int64)
        self._lookup[list(ids)] = np.arange(len(ids))
        model = build_model(name, max(ids), sizes)
        _load(model, file.state, teacher.weights, name, len(self._lookup))
        _set_thresholds(model, floor, teacher.iou, teacher.max_boxes)
        self.model = model.to(device).eval()
        self._device, self._floor = device, floor

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; images of one size share a forward pass, others would pad each other."""
        answers: list[Detections | Failure] = [Detections.empty(self.classes)] * len(batch)
        for group in groups([image.pixels.shape for image in batch]):
            for index, said in zip(group, self.look([batch[index].pixels for index in group]), strict=True):
                answers[index] = self._detections(said, batch[index])
        return answers

    def look(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[dict[str, Any]]:
        """Return torchvision's answers for (H, W, 3) pictures in one forward pass."""
        import torch

        with torch.inference_mode():
            said: list[dict[str, Any]] = self.model([_tensor(picture).to(self._device) for picture in pictures])
        return said

    @property
    def one_size(self) -> bool:
        """Whether it scales and pads pictures of all sizes to the same input."""
        transform = self.model.transform
        return transform.fixed_size is not None or transform.max_size <= _COARSEST

    def _detections(self, said: Mapping[str, Any], image: Image) -> Detections:
        boxes, score = said["boxes"].cpu().numpy(), said["scores"].cpu().numpy()
        label = self._lookup[said["labels"].cpu().numpy()]
        return finish(self.classes, boxes, score, label, image.pixels.shape[:2], self._floor)

    def close(self) -> None:
        """Drop the model and what it holds on the device."""
        import torch

        del self.model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _tensor(pixels: npt.NDArray[np.uint8]) -> Any:
    """Return (H, W, 3) uint8 pixels as a (3, H, W) float tensor of 0 to 1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)


@dataclass(frozen=True)
class _File:
    """What a file of weights holds; what it does not say is None."""

    state: Mapping[str, Any]
    model: str | None = None
    names: Sequence[str] | None = None
    sizes: Mapping[str, int] | None = None


def _read(weights: Path) -> _File:
    """Return a file's tensors and what it says of them."""
    import torch

    need_file(weights)
    try:
        held = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # the library raises whatever its unpickler met
        raise WeightsError(
            f"Expected torchvision weights at {weights}; they cannot be read as plain tensors ({first_line(error)})."
        ) from error
    if isinstance(held, dict) and isinstance(held.get("state_dict"), Mapping):
        file = _File(held["state_dict"], held.get("model"), held.get("names"), held.get("sizes"))
    else:
        file = _File(held if isinstance(held, Mapping) else {})
    if not file.state or not all(isinstance(value, torch.Tensor) for value in file.state.values()):
        raise WeightsError(
            f"Expected a state_dict, or {{'model', 'names', 'state_dict'}}, in {weights}; found something else."
        )
    return file


def _described(teacher: TorchvisionTeacher, file: _File) -> tuple[str, Sequence[str], dict[str, int]]:
    """Return the model's name, its class names and its sizes, from the options or else from the file."""
    name, names = teacher.model or file.model, teacher.names or file.names
    missing = [option for option, value in (("model", name), ("names", names)) if not value]
    if name is None or not names:
        raise InputError(
            f"{teacher.weights} is a plain state_dict; give the options {' and '.join(missing)} to say what it holds."
        )
    own = dict(file.sizes or {}) if name == file.model else {}
    given = {"min_size": teacher.min_size, "max_size": teacher.max_size}
    sizes = {**own, **{key: value for key, value in given.items() if value is not None}}
    return check_model(name), names, sizes


def _load(model: Any, state: Mapping[str, Any], weights: Path, name: str, labels: int) -> None:
    """Copy tensors into a model, or say in one sentence why they do not fit."""
    wanted = model.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}  # frozen batch norm has none
    missing = sorted(set(wanted) - set(state) - counters)
    foreign = sorted(set(state) - set(wanted))
    shapes = sorted(key for key in set(wanted) & set(state) if wanted[key].shape != state[key].shape)
    told = [
        f"{len(keys)} {what}, e.g. '{keys[0]}'"
        for keys, what in ((missing, "are missing"), (foreign, "are unknown to it"), (shapes, "have another shape"))
        if keys
    ]
    if told:
        raise WeightsError(
            f"Expected in {weights} the tensors of {name} with {labels} labels (background and {labels - 1} classes); "
            f"{'; '.join(told)}; mend the options 'model' and 'names'."
        )
    model.load_state_dict(dict(state), strict=False)


def _set_thresholds(model: Any, floor: float, iou: float | None, max_boxes: int | None) -> None:
    """Tell a model which boxes to leave out."""
    head = getattr(model, "roi_heads", model)  # two-stage models keep them in their second stage
    head.score_thresh = floor
    if iou is not None:
        head.nms_thresh = iou
    if max_boxes is not None:
        head.detections_per_img = max_boxes
