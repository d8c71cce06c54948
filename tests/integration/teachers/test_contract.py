"""One contract, kept by every adapter: the same tests run over all of them.

Models are tiny and untrained: what is tested is what an adapter makes of pixels and raw answers, not how good they are.
"""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da_kd.detections import Detections
from da_kd.errors import DaKdError, DataError, InputError, WeightsError
from da_kd.teachers import Failure, adapter
from da_kd.teachers.views import ViewedTeacher

FLOOR = 0.01
SIZES = [(97, 61), (64, 64), (33, 120), (97, 61), (200, 151)]
# Convolutions of a batch add up in another order than those of one image: equal up to this.
PIXELS, SCORE = 0.05, 1e-3


@dataclass(frozen=True)
class Case:
    kind: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    others: tuple[dict[str, Any], ...] = ()  # options that must change the fingerprint
    garbage: type[DaKdError] = WeightsError
    found: int = 1  # boxes that the pictures must give at least, so that the tests test something
    viewed: bool = False  # asked through several views of each image


YOLO = ({"iou": 0.4}, {"max_boxes": 7}, {"imgsz": 64}, {"half": True})
CASES = {
    **{
        f"ultralytics-{family}": Case("ultralytics", family, {"imgsz": 96}, (*YOLO, {"head": "one_to_many"}), found=20)
        for family in ("v8", "v10", "11", "12", "26", "rtdetr")
    },
    "ultralytics-world": Case("ultralytics", "world", {"imgsz": 96, "prompts": ["hat", "cat"]}, YOLO, found=20),
    "ultralytics-yoloe": Case("ultralytics", "yoloe", {"imgsz": 96, "prompts": ["hat", "cat"]}, YOLO, found=20),
    "onnx-yolo": Case("onnx", "v8", {}, ({"iou": 0.4}, {"max_boxes": 7}, {"names": ["a", "b", "c"]}), found=20),
    "onnx-end2end": Case("onnx", "26", {}, ({"layout": "yolo_end2end"},), found=20),
    "onnx-rtdetr": Case("onnx", "rtdetr", {}, ({"max_boxes": 7},), found=20),
    **{
        f"torchvision-{name}": Case(
            "torchvision", name, {}, ({"iou": 0.2}, {"max_boxes": 7}, {"names": ["x", "y", "z"]}), found=5
        )
        for name in ("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")
    },
    "transformers-detr": Case("transformers", "detr", {}, ({"max_boxes": 3},), found=5),
    "transformers-yolos": Case("transformers", "yolos", {}, ({"max_boxes": 3},), found=5),
    "transformers-owlv2": Case(
        "transformers", "owlv2", {"prompts": ["cat", "big dog"]}, ({"prompts": ["cat"]},), found=5
    ),
    "transformers-grounding_dino": Case(
        "transformers", "grounding_dino", {"prompts": ["cat", "big dog"]}, ({"prompts": ["cat"]},), found=5
    ),
    "coco_file": Case("coco_file", "", {}, (), garbage=DataError),
    "ultralytics-both-heads": Case("ultralytics", "26", {"imgsz": 96, "head": "both"}, ({"imgsz": 64},), found=20),
    "views-ultralytics": Case("ultralytics", "v8", {"imgsz": 96, "max_boxes": 40}, YOLO[:1], found=20, viewed=True),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def weights(case, request, tmp_path):
    """The case's model on the disk."""
    if case.kind == "coco_file":
        path = tmp_path / "stored.json"
        images = [{"id": i, "file_name": f"{w}x{h}-{i}.png", "width": w, "height": h} for i, (w, h) in enumerate(SIZES)]
        boxes = [{"id": i + 1, "image_id": i, "category_id": 1, "bbox": [3, 4, 20, 21], "score": 0.5} for i in range(5)]
        path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "x"}]}))
        return path
    if case.kind == "onnx":
        return request.getfixturevalue("exported")(case.model, **({"nms": False} if case.model == "26" else {}))
    maker = {"ultralytics": "tiny_yolo", "torchvision": "tiny_torchvision", "transformers": "tiny_transformers"}
    return request.getfixturevalue(maker[case.kind])(case.model)


@pytest.fixture
def images(photo):
    return [photo(*size, seed) for seed, size in enumerate(SIZES)]


def made(case, weights, options):
    """The case's teacher."""
    teacher = adapter(case.kind)(weights, options)
    return ViewedTeacher(teacher, True, (0.8, 1.3), "wbf") if case.viewed else teacher


def copy(weights: Path, place: Path) -> Path:
    return Path(shutil.copytree(weights, place) if weights.is_dir() else shutil.copy(weights, place))


def test_answers_are_boxes_of_each_image_in_order(case, weights, images):
    with made(case, weights, case.options).open("cpu", FLOOR, 8) as predictor:
        classes, answers = predictor.classes, predictor.predict(images)
        assert predictor.predict([]) == []
        again = predictor.predict(images[::-1])[::-1]
    assert isinstance(classes, tuple)
    assert all(isinstance(name, str) for name in classes)
    assert len(answers) == len(images)
    assert sum(len(answer) for answer in answers) >= case.found
    for image, answer, other in zip(images, answers, again, strict=True):
        height, width, _ = image.pixels.shape
        assert isinstance(answer, Detections)
        assert answer.vocabulary == classes
        assert (answer.xyxy >= 0).all()
        assert (answer.xyxy <= [width, height, width, height]).all()
        assert (answer.xyxy[:, :2] <= answer.xyxy[:, 2:]).all()
        assert ((answer.score >= FLOOR) & (answer.score <= 1)).all()
        check_equal(answer, other)


def check_equal(one, other):
    """Assert that two answers are the same boxes; the order of boxes that score (almost) the same may differ."""
    assert len(one) == len(other)
    left = list(range(len(other)))
    for box, score, label in zip(one.xyxy, one.score, one.label, strict=True):
        near = [
            i
            for i in left
            if other.label[i] == label
            and abs(other.score[i] - score) <= SCORE
            and np.abs(other.xyxy[i] - box).max() <= PIXELS
        ]
        assert near, f"no counterpart of {box}, score {score}, label {label}"
        left.remove(near[0])


def test_a_batch_of_mixed_sizes_says_what_its_images_say_alone(case, weights, images):
    with made(case, weights, case.options).open("cpu", FLOOR, len(images)) as predictor:
        together = predictor.predict(images)
        alone = [predictor.predict([image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert not isinstance(one, Failure)
        check_equal(one, other)


def test_the_floor_only_leaves_out_what_lies_below_it(case, weights, images):
    answers = []
    for floor in (FLOOR, 0.3):
        with made(case, weights, case.options).open("cpu", floor, 1) as predictor:
            answers.append(predictor.predict(images[:1])[0])
    low, high = answers
    assert len(high) <= len(low)
    assert (high.score >= 0.3).all()
    assert (low.score[:10] >= 0.3).sum() <= len(high)


def test_leaving_the_context_frees_the_model(case, weights, images):
    with made(case, weights, case.options).open("cpu", FLOOR, 1) as predictor:
        predictor.predict(images[:1])
        held = getattr(predictor, "_model", None) or getattr(predictor, "_session", None)
        seen = weakref.ref(held) if held is not None else None
        del held
    gc.collect()
    assert seen is None or seen() is None
    assert not hasattr(predictor, "_model")
    assert not hasattr(predictor, "_session")


def test_the_fingerprint_is_of_contents_and_options(case, weights, tmp_path):
    def printed(place, **options):
        return made(case, place, {**case.options, **options}).fingerprint()

    moved = copy(weights, tmp_path / f"elsewhere{weights.suffix}")
    assert printed(weights) == printed(weights) == printed(moved)
    prints = {printed(weights), *(printed(weights, **other) for other in case.others)}
    target = moved / "config.json" if moved.is_dir() else moved
    target.write_bytes(target.read_bytes() + b"\n")
    prints.add(printed(moved))
    assert len(prints) == 2 + len(case.others)


def test_unknown_options_are_refused_before_anything_is_read(case, tmp_path):
    with pytest.raises(InputError, match=f"'{case.kind}' has no option 'colour'; its options are: "):
        made(case, tmp_path / "none", {"colour": "red"})


def test_missing_weights_are_told_in_a_sentence(case, tmp_path):
    suffix = {"onnx": ".onnx", "coco_file": ".json", "transformers": ""}.get(case.kind, ".pt")
    teacher = made(case, tmp_path / f"none{suffix}", case.options)
    with pytest.raises(case.garbage, match=r"Expected .* at .*none.*no"):
        teacher.fingerprint()
    with pytest.raises(case.garbage, match=r"Expected .*none"), teacher.open("cpu", FLOOR, 1):
        pytest.fail("there are no weights")


def test_garbage_for_weights_is_told_in_a_sentence(case, tmp_path):
    if case.kind in ("onnx", "transformers"):
        pytest.importorskip("onnxruntime" if case.kind == "onnx" else "transformers")
    suffix = {"onnx": ".onnx", "coco_file": ".json", "transformers": ""}.get(case.kind, ".pt")
    place = tmp_path / f"garbage{suffix}"
    if case.kind == "transformers":
        place.mkdir()
        (place / "config.json").write_text("garbage")
    else:
        place.write_bytes(b"\x80garbage")
    teacher = made(case, place, case.options)
    with pytest.raises(case.garbage, match=r"Expected .*garbage") as told, teacher.open("cpu", FLOOR, 1):
        pytest.fail("these are no weights")
    assert "\n" not in str(told.value)
