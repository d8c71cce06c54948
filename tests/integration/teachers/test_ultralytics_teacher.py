"""ultralytics teachers: exact pixels at odd sizes, turned photographs, and words for open vocabularies."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from da_kd.boxes import iou
from da_kd.data import read_image
from da_kd.errors import InputError, SetupError, WeightsError
from da_kd.teachers import Image, adapter


def ask(path, options, *images, floor=0.05):
    with adapter("ultralytics")(path, {"imgsz": 160, **options}).open("cpu", floor, 4) as predictor:
        return predictor.predict(images)


def test_raw_outputs_come_out_at_the_exact_pixels_of_an_odd_size(tiny_yolo, photo):
    import torch

    with adapter("ultralytics")(tiny_yolo("v8"), {"imgsz": 160}).open("cpu", 0.05, 4) as predictor:
        predictor.predict([photo(64, 64)])  # the library makes its own predictor in the first call
        raw = torch.zeros(1, 4 + 3, 30)
        raw[0, :, 0] = torch.tensor([80, 79.5, 40, 20.2, 0, 0.9, 0.1])
        raw[0, :, 1] = torch.tensor([150, 120, 40, 40, 0.6, 0, 0])
        predictor._model.predictor.model.forward = lambda pixels, **_: raw.clone()
        (found,) = predictor.predict([photo(97, 61)])
    x, y = 97 / 160, 61 / 101  # 97 x 61 is 160 x 101 there, from y = 29
    expected = [[60 * x, (69.4 - 29) * y, 100 * x, (89.6 - 29) * y], [130 * x, (100 - 29) * y, 97, 61]]
    assert found.xyxy == pytest.approx(np.array(expected), abs=1e-3)
    assert found.score == pytest.approx([0.9, 0.6])
    assert found.label.tolist() == [1, 0]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photograph_gives_the_same_boxes(orientation, tiny_yolo, photo, tmp_path):
    upright = photo(97, 61).pixels
    stored = np.rot90(upright, {3: 2, 6: 1, 8: 3}[orientation])  # EXIF says how to turn it back
    exif = Picture.Exif()
    exif[0x0112] = orientation
    Picture.fromarray(upright).save(tmp_path / "upright.png")
    Picture.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    images = [Image(name, read_image(tmp_path / name)) for name in ("upright.png", "turned.png")]
    assert images[1].pixels.shape == (61, 97, 3)
    one, other = ask(tiny_yolo("v8"), {}, *images)
    assert len(one) > 20
    assert np.array_equal(one.xyxy, other.xyxy)
    assert np.array_equal(one.score, other.score)


@pytest.mark.parametrize("family", ["world", "yoloe"])
def test_words_that_a_checkpoint_knows_need_no_encoder(family, tiny_yolo, photo):
    path, image = tiny_yolo(family), photo(97, 61)
    (every,) = ask(path, {}, image)
    (turned,) = ask(path, {"prompts": ["hat", "cat", "dog"]}, image)
    (fewer,) = ask(path, {"prompts": ["hat", "cat"]}, image)
    assert every.vocabulary == ("cat", "dog", "hat")
    assert turned.vocabulary == ("hat", "cat", "dog")
    assert len(every) == len(turned) > 20
    assert turned.xyxy == pytest.approx(every.xyxy, abs=1e-2)
    assert [turned.vocabulary[label] for label in turned.label] == [every.vocabulary[label] for label in every.label]
    assert fewer.vocabulary == ("hat", "cat")
    assert set(fewer.label.tolist()) <= {0, 1}


@pytest.mark.parametrize(("family", "file"), [("world", "ViT-B-32.pt"), ("yoloe", "mobileclip_blt.ts")])
def test_other_words_name_the_file_they_need(family, file, tiny_yolo, tmp_path, monkeypatch):
    options = {"prompts": ["cat", "cow"]}
    with pytest.raises(
        WeightsError, match=rf"no embedding of \['cow'\]; its text encoder '{file}' is needed .*'text_enc"
    ):
        ask(tiny_yolo(family), options)
    with pytest.raises(WeightsError, match=r"Expected a model file at .*none"):
        ask(tiny_yolo(family), {**options, "text_encoder": tmp_path / "none"})
    (tmp_path / file).write_bytes(b"garbage")
    monkeypatch.delitem(sys.modules, "clip", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="need the package 'clip'"):
        ask(tiny_yolo(family), {**options, "text_encoder": tmp_path / file})


def test_words_go_through_a_text_encoder_that_is_there(tiny_yolo, photo, tmp_path, monkeypatch):
    import torch

    class Encoder(torch.nn.Module):
        def forward(self, tokens):
            return torch.nn.functional.normalize(torch.sin(tokens.float() @ torch.arange(512.0).repeat(4, 1)), dim=-1)

    torch.jit.save(torch.jit.trace(Encoder(), torch.ones(2, 4)), tmp_path / "mobileclip_blt.ts")

    def tokenize(texts, truncate=True):
        return torch.tensor([[ord(letter) for letter in f"{text:4.4}"] for text in texts])

    clip = SimpleNamespace(clip=SimpleNamespace(tokenize=tokenize), __spec__=SimpleNamespace(name="clip"))
    monkeypatch.setitem(sys.modules, "clip", clip)
    options = {"prompts": ["cow", "pig"], "text_encoder": str(tmp_path / "mobileclip_blt.ts")}
    (found,) = ask(tiny_yolo("yoloe"), options, photo(97, 61), floor=0.0)
    assert found.vocabulary == ("cow", "pig")
    prints = {
        adapter("ultralytics")(tiny_yolo("yoloe"), o).fingerprint() for o in ({}, options, {**options, "imgsz": 64})
    }
    assert len(prints) == 3


def test_prompts_need_an_open_vocabulary(tiny_yolo):
    with pytest.raises(InputError, match="has a fixed list of classes; leave out the option 'prompts'"):
        ask(tiny_yolo("v8"), {"prompts": ["cat"]})


def test_a_model_of_another_suffix_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"Expected a '.pt' checkpoint; found m\.onnx"):
        ask(tmp_path / "m.onnx", {})


def rows(found):
    return [tuple(row) for row in np.column_stack([found.xyxy, found.score, found.label]).tolist()]


def test_both_heads_say_what_the_one_says_and_what_it_misses(tiny_yolo, photo):
    image, path = photo(97, 61), tiny_yolo("26")
    heads = ("one_to_one", "one_to_many", "both")
    one, many, both = (ask(path, {"head": head}, image, floor=0.3)[0] for head in heads)
    missed = [
        row
        for row, box, label in zip(rows(many), many.xyxy, many.label, strict=True)
        if not (iou(box[None], one.xyxy[one.label == label]) >= 0.5).any()
    ]
    assert rows(both) == rows(one) + missed
    assert len(missed) > 0
    assert len(missed) < len(many)


def test_a_model_with_one_head_answers_with_it(tiny_yolo, photo):
    image, path = photo(97, 61), tiny_yolo("v8")
    assert rows(ask(path, {"head": "both"}, image)[0]) == rows(ask(path, {}, image)[0])


def test_an_unknown_head_is_refused(tiny_yolo):
    with pytest.raises(InputError, match=r"one of auto, one_to_one, one_to_many, both; found 'two'"):
        adapter("ultralytics")(tiny_yolo("v8"), {"head": "two"})


def test_a_cpu_computes_with_32_bits_whatever_is_asked_for(tiny_yolo, photo):
    (plain,), (half,) = (ask(tiny_yolo("v8"), options, photo(97, 61)) for options in ({}, {"half": True}))
    assert len(plain) > 0
    assert np.array_equal(plain.xyxy, half.xyxy)
    assert np.array_equal(plain.score, half.score)
    with pytest.raises(InputError, match="'half' must be true or false; found 'yes'"):
        adapter("ultralytics")(tiny_yolo("v8"), {"half": "yes"})
