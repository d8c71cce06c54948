"""Teachers of the transformers package: raw answers by hand, prompts, and folders that do not fit."""

import json
import shutil
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from da_kd.errors import InputError, SetupError, WeightsError
from da_kd.teachers import adapter


def ask(folder, options, *images, floor=0.01):
    with adapter("transformers")(folder, options).open("cpu", floor, 4) as predictor:
        return predictor.predict(images)


def answering(predictor, monkeypatch, logits, boxes):
    """Make a model answer every image with the same raw output."""
    import torch

    def said(**inputs):
        count = len(inputs["pixel_values"])
        raw = {"logits": logits, "pred_boxes": boxes}
        return SimpleNamespace(**{k: torch.tensor(v, dtype=torch.float32).repeat(count, 1, 1) for k, v in raw.items()})

    said.__dict__["to"] = None
    monkeypatch.setattr(predictor, "_model", said)


BOXES = [[0.5, 0.5, 0.5, 0.5], [0.9, 0.25, 0.4, 0.5], [0.5, 0.5, 0.1, 0.1]]


def test_a_detr_answer_comes_out_at_the_exact_pixels_of_an_odd_size(tiny_transformers, photo, monkeypatch):
    with adapter("transformers")(tiny_transformers("detr"), {}).open("cpu", 0.3, 4) as predictor:
        logits = np.log([[0.1, 0.6, 0.2, 0.1], [0.5, 0.1, 0.1, 0.3], [0.01, 0.01, 0.01, 0.97]])  # the last: nothing
        answering(predictor, monkeypatch, logits, BOXES)
        first, second = predictor.predict([photo(97, 61), photo(33, 120)])
    assert first.vocabulary == ("cat", "dog", "hat")
    assert first.label.tolist() == second.label.tolist() == [1, 0]
    assert first.score == pytest.approx([0.6, 0.5])
    assert first.xyxy == pytest.approx(np.array([[24.25, 15.25, 72.75, 45.75], [67.9, 0, 97, 30.5]]), abs=1e-3)
    assert second.xyxy == pytest.approx(np.array([[8.25, 30, 24.75, 90], [23.1, 0, 33, 60]]), abs=1e-3)


@pytest.mark.parametrize("family", ["DeformableDetrImageProcessor", "ConditionalDetrImageProcessor"])
@pytest.mark.parametrize("most", [80, 300])
def test_families_that_cut_off_by_themselves_give_as_many_boxes_as_asked(
    tiny_transformers, photo, monkeypatch, family, most
):
    import transformers

    with adapter("transformers")(tiny_transformers("detr"), {"max_boxes": most}).open("cpu", 0.3, 4) as predictor:
        monkeypatch.setattr(predictor, "_processor", getattr(transformers, family)(do_resize=False))
        answering(predictor, monkeypatch, np.linspace(0, 1, 450).reshape(150, 3), [BOXES[0]] * 150)
        (found,) = predictor.predict([photo(97, 61)])
    assert len(found) == most


def test_an_owlv2_answer_counts_from_the_padded_square(tiny_transformers, photo, monkeypatch):
    options = {"prompts": ["cat", "dog"]}
    with adapter("transformers")(tiny_transformers("owlv2"), options).open("cpu", 0.3, 4) as predictor:
        answering(predictor, monkeypatch, [[-9, 0], [1, -9], [-9, -9]], BOXES)
        (found,) = predictor.predict([photo(97, 61)])
    assert found.label.tolist() == [0, 1]
    assert found.score == pytest.approx([1 / (1 + np.exp(-1)), 0.5])
    assert found.xyxy == pytest.approx(np.array([[67.9, 0, 97, 48.5], [24.25, 24.25, 72.75, 61]]), abs=1e-3)


def test_a_grounding_dino_box_takes_its_best_prompt(tiny_transformers, photo, monkeypatch):
    options = {"prompts": ["Cat", "big dog"]}  # [CLS] cat . b ##i ##g dog . [SEP]
    with adapter("transformers")(tiny_transformers("grounding_dino"), options).open("cpu", 0.3, 4) as predictor:
        logits = np.full((3, 256), -9.0)
        logits[0, 1], logits[0, 3] = 0, -1
        logits[1, 6], logits[1, 1] = 2, 1
        logits[2, [0, 2, 7, 8]] = 9  # only what lies between the prompts
        answering(predictor, monkeypatch, logits, BOXES)
        (found,) = predictor.predict([photo(97, 61)])
    assert found.vocabulary == ("Cat", "big dog")
    assert found.label.tolist() == [1, 0]
    assert found.score == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert found.xyxy == pytest.approx(np.array([[67.9, 0, 97, 30.5], [24.25, 15.25, 72.75, 45.75]]), abs=1e-3)


def test_ids_without_an_object_are_left_out(tiny_transformers, photo, monkeypatch):
    with adapter("transformers")(tiny_transformers("yolos"), {}).open("cpu", 0.1, 4) as predictor:
        logits = [[9, 0, 0, 0, 0], [0, 0, 9, 0, 0], [0, 0, 0, 9, 0]]
        answering(predictor, monkeypatch, logits, BOXES)
        (found,) = predictor.predict([photo(97, 61)])
    assert found.vocabulary == ("cat", "dog")
    assert found.label.tolist() == [1]


def test_prompts_are_asked_for_where_they_are_needed(tiny_transformers):
    with pytest.raises(InputError, match=r"The owlv2 in .* looks for words; give it the option 'prompts'"):
        ask(tiny_transformers("owlv2"), {})
    with pytest.raises(InputError, match=r"The detr in .* has classes of its own; leave out the option 'prompts'"):
        ask(tiny_transformers("detr"), {"prompts": ["cat"]})
    with pytest.raises(InputError, match="takes the dot for the end of a prompt"):
        ask(tiny_transformers("grounding_dino"), {"prompts": ["cat.", "dog"]})
    with pytest.raises(InputError, match="'prompts' must be a list of names"):
        ask(tiny_transformers("owlv2"), {"prompts": "cat"})
    with pytest.raises(InputError, match="must not name anything twice"):
        ask(tiny_transformers("owlv2"), {"prompts": ["cat", "cat"]})


def test_a_folder_or_its_config_is_the_same_teacher(tiny_transformers, photo):
    folder = tiny_transformers("detr")
    one, other = (adapter("transformers")(path, {}) for path in (folder, folder / "config.json"))
    assert one.fingerprint() == other.fingerprint()
    with other.open("cpu", 0.01, 1) as predictor:
        assert len(predictor.predict([photo(64, 64)])[0]) > 0


def test_a_folder_that_holds_something_else_is_refused(tiny_transformers, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_transformers("detr"), tmp_path / "bert")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match=r"Expected a detector of transformers in .*bert"):
        ask(folder, {})
    (folder / "model.safetensors").unlink()
    shutil.copy(tiny_transformers("detr") / "config.json", folder)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        ask(folder, {})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SetupError, match=r"needs the package transformers.*pip install 'da-kd\[transformers\]'"):
        ask(folder, {})


def test_a_backbone_that_is_only_named_is_missed_and_nobody_is_asked_for_it(tiny_transformers, tmp_path, monkeypatch):
    folder, asked = shutil.copytree(tiny_transformers("detr"), tmp_path / "detr"), []
    tree = json.loads((folder / "config.json").read_text()) | {"backbone": "microsoft/resnet-50"}
    del tree["backbone_config"]
    (folder / "config.json").write_text(json.dumps(tree))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: asked.append(where))
    with pytest.raises(WeightsError, match=r"config\.json only names 'microsoft/resnet-50', and nothing is downloaded"):
        ask(folder, {})
    assert asked == []


def test_ids_below_nought_are_refused(tiny_transformers, tmp_path):
    folder = shutil.copytree(tiny_transformers("detr"), tmp_path / "detr")
    tree = json.loads((folder / "config.json").read_text())
    labels = {"id2label": {"-5": "cat", "0": "dog", "1": "hat"}, "label2id": {"cat": -5, "dog": 0, "hat": 1}}
    (folder / "config.json").write_text(json.dumps(tree | labels))
    with pytest.raises(WeightsError, match=r"Expected ids from 0 in 'id2label' of .*config\.json; found -5"):
        ask(folder, {})
