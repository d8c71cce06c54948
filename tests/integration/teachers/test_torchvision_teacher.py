"""torchvision teachers: boxes known beforehand, files of weights, and what does not fit."""

import warnings

import numpy as np
import pytest

from da_kd.errors import InputError, WeightsError
from da_kd.teachers import adapter
from da_kd.teachers.coco_names import COCO_80
from da_kd.teachers.torchvision import MODELS, build_model, save_checkpoint

SMALL = "ssdlite320_mobilenet_v3_large"


def ask(path, options, *images, floor=0.01):
    with adapter("torchvision")(path, options).open("cpu", floor, 4) as predictor:
        return predictor.predict(images)


@pytest.fixture(scope="module")
def ssd(tmp_path_factory):
    """An SSDLite that finds class 2 in all cells of its last two grids, and its default boxes as they are."""
    import torch

    model = build_model(SMALL, 3)
    with torch.no_grad():
        for layer in model.head.regression_head.module_list:
            layer[1].weight.zero_()
            layer[1].bias.zero_()
        for grid, layer in enumerate(model.head.classification_head.module_list):
            layer[1].weight.zero_()
            layer[1].bias.copy_(torch.tensor([0.0, 0, 5 if grid > 3 else 0, 0] * (len(layer[1].bias) // 4)))
    path = tmp_path_factory.mktemp("ssd") / "ssd.pt"
    save_checkpoint(path, SMALL, ["cat", "dog", "hat"], model)
    return path


def test_default_boxes_come_out_at_the_exact_pixels_of_an_odd_size(ssd, photo):
    (found,) = ask(ssd, {"max_boxes": 4000, "iou": 1}, photo(97, 61), floor=0.5)
    assert set(found.label.tolist()) == {1}  # the model's label 2: background is 0
    assert found.score == pytest.approx(np.full(len(found), np.exp(5) / (np.exp(5) + 3)), abs=1e-5)
    # The last grid is one cell: default boxes of scale 0.95 around the middle; the second of ratio 1 is
    # sqrt(0.95 * 1) wide, that of ratio 2 is 0.95 * sqrt(2) by 0.95 / sqrt(2), and both are cut to the image.
    side = np.sqrt(0.95)
    for wide, high in ((0.95, 0.95), (side, side), (1, 0.95 / np.sqrt(2)), (0.95 / np.sqrt(2), 1)):
        box = np.array([(1 - wide) / 2, (1 - high) / 2, (1 + wide) / 2, (1 + high) / 2]) * [97, 61, 97, 61]
        assert np.abs(found.xyxy - box).max(axis=1).min() < 1e-2
    # The grid before has 2 x 2 cells and boxes of scale 0.8: that of column 0, row 1, cut to the image.
    box = np.array([0, 0.35, 0.65, 1]) * [97, 61, 97, 61]
    assert np.abs(found.xyxy - box).max(axis=1).min() < 1e-2


def test_a_plain_state_dict_needs_a_model_and_names(ssd, photo, tmp_path):
    import torch

    plain = tmp_path / "plain.pth"
    torch.save(torch.load(ssd, weights_only=True)["state_dict"], plain)
    with pytest.raises(InputError, match="is a plain state_dict; give the options model and names"):
        ask(plain, {})
    with pytest.raises(InputError, match="give the options names to say"):
        ask(plain, {"model": SMALL})
    options = {"model": SMALL, "names": ["x", "y", "z"]}
    (found,), (expected,) = ask(plain, options, photo(64, 64)), ask(ssd, {}, photo(64, 64))
    assert found.vocabulary == ("x", "y", "z")
    assert np.array_equal(found.xyxy, expected.xyxy)


def test_weights_that_do_not_fit_are_told_in_a_sentence(ssd, tmp_path):
    import torch

    with pytest.raises(
        WeightsError,
        match=rf"{SMALL} with 3 labels \(background and 2 classes\); \d+ have another shape, e\.g\. 'head",
    ):
        ask(ssd, {"names": ["a", "b"]})
    with pytest.raises(WeightsError, match=r"ssd300_vgg16 .*\d+ are missing, e\.g\. .*; \d+ are unknown to it"):
        ask(ssd, {"model": "ssd300_vgg16"})
    for name, held in (("list", [1, 2]), ("empty", {}), ("values", {"a": 1})):
        torch.save(held, tmp_path / f"{name}.pt")
        with pytest.raises(WeightsError, match="Expected a state_dict, or"):
            ask(tmp_path / f"{name}.pt", {"model": SMALL, "names": ["a"]})


def test_a_file_that_would_run_code_is_refused(tmp_path):
    import torch

    torch.save({"state_dict": {"a": pytest.raises}}, tmp_path / "code.pt")
    with pytest.raises(WeightsError, match="cannot be read as plain tensors"):
        ask(tmp_path / "code.pt", {})


def test_sizes_are_kept_with_the_weights(tiny_torchvision, ssd, photo):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    with adapter("torchvision")(tiny_torchvision(name), {}).open("cpu", 0.01, 1) as predictor:
        assert predictor.model.transform.min_size == (96,)
        assert predictor.model.transform.max_size == 160
    with adapter("torchvision")(tiny_torchvision(name), {"min_size": 64}).open("cpu", 0.01, 1) as predictor:
        assert predictor.model.transform.min_size == (64,)
    with pytest.raises(InputError, match="'min_size' and 'max_size' do nothing for ssdlite320"):
        ask(ssd, {"max_size": 500})


def test_coco_weights_count_91_ids(tmp_path, photo):
    import torch

    model = build_model(SMALL, 90)
    with torch.no_grad():
        for layer in model.head.classification_head.module_list:
            layer[1].weight.zero_()
            bias = torch.full((91,), -9.0)
            bias[[12, 90]] = torch.tensor([9.0, 8.0])  # an id that no object has, and the toothbrush
            layer[1].bias.copy_(bias.repeat(len(layer[1].bias) // 91))
    torch.save(model.state_dict(), tmp_path / "coco.pth")
    (found,) = ask(tmp_path / "coco.pth", {"model": SMALL, "names": "coco", "max_boxes": 900}, photo(97, 61))
    assert found.vocabulary == COCO_80
    assert {COCO_80[label] for label in found.label} <= {"toothbrush"}
    assert (found.score > 0.2).any()


def test_an_anchor_free_model_comes_out_at_the_exact_pixels_too(tmp_path, photo):
    import torch

    model = build_model("fcos_resnet50_fpn", 1, {"min_size": 64, "max_size": 160})
    with torch.no_grad():
        model.head.regression_head.bbox_reg.weight.zero_()
        model.head.regression_head.bbox_reg.bias.fill_(2)
    save_checkpoint(tmp_path / "fcos.pt", "fcos_resnet50_fpn", ["cat"], model)
    (found,) = ask(tmp_path / "fcos.pt", {"max_boxes": 3000, "iou": 1}, photo(97, 61), floor=0.0)
    # 97 x 61 is 101 x 64 there; a place of the first grid says two strides of 8 to every side.
    box = np.array([32, 16, 64, 48]) * [97 / 101, 61 / 64, 97 / 101, 61 / 64]
    assert np.abs(found.xyxy - box).max(axis=1).min() < 1e-2
    assert set(found.label.tolist()) == {0}


def test_every_model_named_is_one_of_the_library():
    from torchvision.models import detection, list_models

    known = {name for name in list_models(module=detection) if "mask" not in name and "keypoint" not in name}
    assert set(MODELS) == known
    with pytest.raises(InputError, match=r"one of fasterrcnn_.*; found 'resnet18'"):
        build_model("resnet18", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_model(SMALL, 3)
