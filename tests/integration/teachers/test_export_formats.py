"""Students leave the house: every format is really written, run, and compared with its checkpoint."""

import shutil

import pytest

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import table_of
from da_kd.errors import DaKdError, InputError
from da_kd.events import Job
from da_kd.exporting import export, formats


@pytest.fixture
def photos(tmp_path, photo):
    """Three pictures of odd sizes."""
    from PIL import Image as Picture

    root = tmp_path / "photos"
    root.mkdir()
    for number, (width, height) in enumerate([(161, 97), (160, 160), (90, 203)]):
        Picture.fromarray(photo(width, height, number).pixels).save(root / f"{number}.png")
    keys = [f"{number}.png" for number in range(3)]
    return ImageSet(root, table_of(("cat", "dog", "hat"), scan(root, keys, ScanCache(None)), {}))


@pytest.fixture
def calm_yolo(tiny_yolo, tmp_path):
    """A tiny model whose scores differ: where many are 1, rounding decides which box suppresses which."""

    def make(family, bias=-2.5):
        from ultralytics import YOLO

        model = YOLO(str(tiny_yolo(family)))
        for name, module in model.model.model[-1].named_modules():
            if "cv3" in name and getattr(module, "bias", None) is not None:
                module.weight.data.mul_(0.6)
                module.bias.data.fill_(bias)
        path = tmp_path / f"calm-{family}.pt"
        model.save(path)
        return path

    return make


@pytest.mark.parametrize("family", ["11", "26"])
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "openvino"])
def test_a_written_model_finds_what_the_checkpoint_finds(calm_yolo, photos, tmp_path, family, kind):
    out = tmp_path / "out"
    out.mkdir()
    agreement = export(calm_yolo(family), kind, photos, out / f"model{formats.FORMATS[kind].suffix}", "cpu", Job())
    assert agreement.same
    assert agreement.images == 3
    assert agreement.boxes > 3
    assert [path.name for path in out.iterdir()] == [f"model{formats.FORMATS[kind].suffix}"]


def test_a_model_that_finds_nothing_is_written_and_told_not_to_be_checked(calm_yolo, photos, tmp_path):
    out = tmp_path / "model.torchscript"
    agreement = export(calm_yolo("11", -30.0), "torchscript", photos, out, "cpu", Job())
    assert out.is_file()
    assert not agreement.checked and not agreement.same


def test_a_file_that_finds_something_else_is_not_kept(tiny_yolo, photos, tmp_path, monkeypatch):
    written, other = formats._written, tmp_path / "other.pt"
    shutil.copyfile(tiny_yolo("v8"), other)
    monkeypatch.setattr(formats, "_written", lambda weights, *rest: written(other, *rest))
    with pytest.raises(DaKdError, match=r"does not find what the checkpoint finds .* without a partner"):
        export(tiny_yolo("11"), "torchscript", photos, tmp_path / "model.torchscript", "cpu", Job())
    assert not list(tmp_path.glob("model*")) + list(tmp_path.glob(".export-*"))


def test_an_unknown_format_names_those_there_are(tiny_yolo, photos, tmp_path):
    with pytest.raises(InputError, match="one of the formats onnx, torchscript, openvino, engine; found 'tflite'"):
        export(tiny_yolo("11"), "tflite", photos, tmp_path / "model.tflite", "cpu", Job())


def test_tensorrt_without_a_gpu_says_what_it_needs():
    with pytest.raises(DaKdError, match=r"needs tensorrt|found no GPU here"):
        formats.check_format("engine", "cpu")
