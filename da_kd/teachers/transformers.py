"""Teachers of the transformers package: the DETR family, and Grounding DINO and OWLv2 with prompts as vocabulary.

The one room for transformers. Models come from a folder on the disk and from nowhere else, and code that lies in such a
folder is not run. Knows processors and raw answers; must not know how prompts were found.
"""

from __future__ import annotations

import gc
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, WeightsError
from da_kd.hashing import hash_file, hash_json
from da_kd.offline import settle_transformers
from da_kd.teachers.base import Failure, Image, refuse_unknown
from da_kd.teachers.checks import finish, first_line, missing_package, whole, words
from da_kd.teachers.geometry import corners, groups

_OPTIONS = ("prompts", "max_boxes")
_IGNORED = (".md", ".txt.license", ".gitattributes")  # files that say nothing to the model
_NOTHING = "N/A"  # how COCO's folders name the ids that no object has
Answer = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]  # xyxy in pixels, score, label


class TransformersTeacher:
    """A folder that ``save_pretrained`` wrote; ``weights`` is the folder, or the ``config.json`` in it.

    Options:
        prompts: what to look for, in words; needed by models without classes of their own (Grounding DINO, OWLv2,
            OWL-ViT), refused by the others. They become the vocabulary, in this order.
        max_boxes: most boxes per image, 300 unless given.
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the folder and the options; see the class."""
        refuse_unknown("transformers", options, _OPTIONS)
        path = Path(weights)
        self.folder = path.parent if path.name == "config.json" else path
        self.prompts = words(options, "prompts")
        most = whole(options, "max_boxes", 1, 10_000)
        self.max_boxes = 300 if most is None else most

    def fingerprint(self) -> str:
        """Return a hash of the folder's files and of the options.

        Raises:
            WeightsError: there is no such folder.
        """
        _need_folder(self.folder)
        files = sorted(path for path in self.folder.iterdir() if path.is_file() and not path.name.endswith(_IGNORED))
        contents = {path.name: hash_file(path) for path in files}
        return hash_json(["transformers", 1, contents, self.prompts, self.max_boxes])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_TransformersPredictor]:
        """Load the model onto ``device``; see :class:`~da_kd.teachers.base.Teacher`.

        Raises:
            SetupError: transformers is not installed.
            WeightsError: the folder is missing, unreadable, or holds no detector.
            InputError: prompts are missing, or not wanted.
        """
        predictor = _TransformersPredictor(self, device, floor)
        try:
            yield predictor
        finally:
            predictor.close()


def _need_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"Expected a folder of transformers with a config.json at {folder}; there is none. Put it there: "
            "nothing is downloaded."
        )


class _TransformersPredictor:
    """A loaded model and its processor."""

    def __init__(self, teacher: TransformersTeacher, device: str, floor: float) -> None:
        _need_folder(teacher.folder)
        self._floor, self._max_boxes, self._device = floor, teacher.max_boxes, device
        self._processor, model, kind = _load(teacher.folder, teacher.prompts)
        self._model = model.to(device).eval()
        self._text: dict[str, Any] = {}
        if teacher.prompts is None:
            self.classes, self._lookup = _vocabulary(model.config.id2label, teacher.folder)
            self._read: Callable[[Any, list[tuple[int, int]]], list[Answer]] = self._own_classes
            return
        self.classes, self._lookup = teacher.prompts, np.arange(len(teacher.prompts))
        if "grounding" in kind:
            self._text, self._spans = _grounding_text(self._processor.tokenizer, teacher.prompts)
            self._read = self._grounded
        else:
            self._text = dict(
                self._processor.tokenizer(list(teacher.prompts), padding="max_length", return_tensors="pt")
            )
            self._read = self._own_classes

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; only inputs of one size share a forward pass, others would pad each other."""
        import torch

        images = getattr(self._processor, "image_processor", self._processor)
        inputs = [dict(images(images=image.pixels, return_tensors="pt")) for image in batch]
        answers: list[Detections | Failure] = [Detections.empty(self.classes)] * len(batch)
        with torch.inference_mode():
            for group in groups([tuple(item["pixel_values"].shape) for item in inputs]):
                outputs = self._model(**self._joined([inputs[index] for index in group]))
                sizes = [batch[index].pixels.shape[:2] for index in group]
                for index, answer, size in zip(group, self._read(outputs, sizes), sizes, strict=True):
                    answers[index] = self._detections(answer, size)
        return answers

    def _joined(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the inputs of images of one size as one batch, with the prompts beside them."""
        import torch

        known = ("pixel_values", "pixel_mask")
        joined = {key: torch.cat([item[key] for item in inputs]) for key in known if key in inputs[0]}
        text = {key: value.repeat(len(inputs), 1) for key, value in self._text.items()}
        return {key: value.to(self._device) for key, value in {**joined, **text}.items()}

    def _own_classes(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Answer]:
        """Return what the family's own post-processing makes of an answer (softmax or sigmoid, per query or top-k)."""
        read = getattr(self._processor, "image_processor", self._processor).post_process_object_detection
        most = inspect.signature(read).parameters.get("top_k")  # some families cut off by themselves, at 100 or so
        wanted = {} if most is None else {"top_k": max(self._max_boxes, most.default or outputs.logits.shape[1])}
        said = read(outputs, threshold=self._floor, target_sizes=sizes, **wanted)
        return [(_array(item["boxes"]), _array(item["scores"]), _array(item["labels"])) for item in said]

    def _grounded(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Answer]:
        """Return each query's best prompt; a prompt scores what the best of its tokens does."""
        tokens = _array(outputs.logits.sigmoid())
        scores = np.stack([tokens[:, :, span].max(axis=2) for span in self._spans], axis=2)
        boxes = corners(_array(outputs.pred_boxes))
        scale = np.array([(width, height, width, height) for height, width in sizes])[:, None]
        label, score = scores.argmax(axis=2), scores.max(axis=2)
        return list(zip(boxes * scale, score, label, strict=True))

    def _detections(self, answer: Answer, size: tuple[int, int]) -> Detections:
        xyxy, score, label = answer
        order = np.argsort(-score, kind="stable")
        found = finish(self.classes, xyxy[order], score[order], self._lookup[label][order], size, self._floor)
        return found.pick(np.arange(min(len(found), self._max_boxes)))

    def close(self) -> None:
        """Drop the model and what it holds on the device."""
        import torch

        del self._model, self._text
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _array(tensor: Any) -> npt.NDArray[Any]:
    return np.asarray(tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy())


def _load(folder: Path, prompts: Vocabulary | None) -> tuple[Any, Any, str]:
    """Return the processor, the model and its family's name."""
    settle_transformers()
    try:
        import transformers
    except ImportError as error:
        raise missing_package("transformers", "transformers", "transformers", error) from error
    from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        kind = str(transformers.AutoConfig.from_pretrained(folder, **local).model_type)
    except Exception as error:  # whatever a broken file makes the library raise
        raise _unreadable(folder, error) from error
    prompted = kind in MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES
    if prompted != (prompts is not None):
        wants = "looks for words; give it the option 'prompts', e.g. [person, car]" if prompted else (
            "has classes of its own; leave out the option 'prompts'"
        )  # fmt: skip
        raise InputError(f"The {kind} in {folder} {wants}.")
    automatic = (
        transformers.AutoModelForZeroShotObjectDetection if prompted else transformers.AutoModelForObjectDetection
    )
    reader = transformers.AutoProcessor if prompted else transformers.AutoImageProcessor
    try:
        return reader.from_pretrained(folder, **local), automatic.from_pretrained(folder, **local), kind
    except Exception as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> WeightsError:
    if _asked_the_network(error):
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("backbone") or "another model"
        return WeightsError(
            f"Expected all that the model in {folder} needs in that folder; its config.json only names '{named}', and "
            "nothing is downloaded; load the model once where there is a network, and put what save_pretrained writes "
            "then into the folder."
        )
    return WeightsError(f"Expected a detector of transformers in {folder}; it cannot be loaded ({first_line(error)}).")


def _asked_the_network(error: BaseException) -> bool:
    """Say whether something failed since it would have had to be downloaded."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    before = error.__cause__ or error.__context__
    missing = isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled)
    return missing or (before is not None and _asked_the_network(before))


def _vocabulary(id2label: Mapping[int, str], folder: Path) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
    """Return the distinct class names in order of their ids, and for every id its place among them, or -1."""
    if min(id2label) < 0:
        raise WeightsError(
            f"Expected ids from 0 in 'id2label' of {folder / 'config.json'}; found {min(id2label)}; mend the file."
        )
    names: list[str] = []
    lookup = np.full(max(id2label) + 1, -1, np.int64)
    for index in sorted(id2label):
        name = str(id2label[index])
        if name != _NOTHING:
            if name not in names:
                names.append(name)
            lookup[index] = names.index(name)
    return tuple(names), lookup


def _grounding_text(tokenizer: Any, prompts: Vocabulary) -> tuple[dict[str, Any], list[list[int]]]:
    """Return the tokens of all prompts as one text ``a. b. c.``, and the positions of each prompt's tokens."""
    wrong = [prompt for prompt in prompts if "." in prompt]
    if wrong:
        raise InputError(
            f"Grounding DINO takes the dot for the end of a prompt; found one in '{wrong[0]}'; leave it out."
        )
    text = dict(tokenizer(" ".join(f"{prompt.strip().lower()}." for prompt in prompts), return_tensors="pt"))
    stop = tokenizer.convert_tokens_to_ids(".")
    spans: list[list[int]] = [[]]
    for position, token in enumerate(text["input_ids"][0].tolist()):
        if token == stop:
            spans.append([])
        elif token not in tokenizer.all_special_ids or token == tokenizer.unk_token_id:
            spans[-1].append(position)
    if len(spans) != len(prompts) + 1 or not all(spans[:-1]):
        raise InputError(f"Expected {len(prompts)} prompts that the tokenizer can tell apart; found {list(prompts)}.")
    return text, spans[:-1]
