"""Tiny models of every family, made on the spot without training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from da_kd.offline import settle_ultralytics
from da_kd.teachers import Image

_FAMILIES = {
    "v8": ("v8/yolov8.yaml", 0.125),
    "v10": ("v10/yolov10n.yaml", 0.25),
    "11": ("11/yolo11.yaml", 0.125),
    "12": ("12/yolo12.yaml", 0.25),  # its attention takes no narrower layers
    "26": ("26/yolo26.yaml", 0.125),
    "rtdetr": ("v8/yolov8-rtdetr.yaml", 0.125),
    "world": ("v8/yolov8-worldv2.yaml", 0.125),
    "yoloe": ("11/yoloe-11.yaml", 0.125),
}


def _stir(network: Any, photo: Callable[..., Image]) -> None:
    """Give an untrained network statistics and a head that tell images apart."""
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.reset_running_stats()
        module.momentum = 1.0
    network.train()
    noise = [
        torch.from_numpy(photo(160, 160, seed).pixels.transpose(2, 0, 1).copy()).float() / 255 for seed in range(8)
    ]
    with torch.no_grad():
        network(torch.stack(noise))
        for name, module in network.model[-1].named_modules():
            if isinstance(module, torch.nn.Conv2d) and "cv3" in name and module.bias is not None:
                module.weight.normal_(0, 2 / module.in_channels**0.5)
                module.bias.fill_(-2)
            elif isinstance(module, torch.nn.Linear) and "score_head" in name:
                module.weight.normal_(0, 2 / module.in_features**0.5)
                module.bias.fill_(-2)
            elif "cv4" in name and hasattr(module, "logit_scale"):  # embeddings of places against those of words
                module.bias.fill_(-2)
                module.logit_scale.fill_(0)
    network.eval()


@pytest.fixture(scope="session")
def tiny_yolo(tmp_path_factory: pytest.TempPathFactory, photo: Callable[..., Image]) -> Callable[[str], Path]:
    """Return the checkpoint of a tiny, untrained model of an ultralytics family, with the classes cat, dog and hat."""
    folder = tmp_path_factory.mktemp("yolo")

    def make(family: str) -> Path:
        path = folder / f"tiny-{family}.pt"
        if path.exists():
            return path
        settle_ultralytics()
        import torch
        import ultralytics
        from ultralytics import RTDETR, YOLO
        from ultralytics.nn.tasks import yaml_model_load

        torch.manual_seed(1)
        place, width = _FAMILIES[family]
        tree = yaml_model_load(str(Path(ultralytics.__file__).parent / "cfg" / "models" / place))
        tree |= {"scales": {"n": [0.33, width, 1024]}, "scale": "n"}
        prompted = family in ("world", "yoloe")
        if not prompted:
            tree["nc"] = 3
        source = folder / f"{Path(place).stem}.yaml"  # the name tells the library the family
        source.write_text(yaml.safe_dump(tree, sort_keys=False))
        model = (RTDETR if family == "rtdetr" else YOLO)(str(source))
        names = ["cat", "dog", "hat"]
        if family == "world":
            model.model.txt_feats = torch.nn.functional.normalize(torch.randn(1, 3, 512), dim=-1)
            model.model.model[-1].nc = 3
        elif family == "yoloe":
            model.model.set_classes(names, torch.nn.functional.normalize(torch.randn(1, 3, 512), dim=-1))
        _stir(model.model, photo)
        model.model.names = dict(enumerate(names))
        model.save(path)
        return path

    return make


@pytest.fixture(scope="session")
def exported(tiny_yolo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a tiny model to ONNX at 160 pixels with the library's own exporter; needs the package onnx."""
    folder = tmp_path_factory.mktemp("onnx")

    def make(family: str, **how: Any) -> Path:
        pytest.importorskip("onnxruntime", reason="the adapter 'onnx' needs onnxruntime (extra 'onnx')")
        pytest.importorskip("onnx", reason="exporting a model needs onnx (extra 'test')")
        path = folder / f"{family}{''.join(f'-{key}{value}' for key, value in how.items())}.onnx"
        if not path.exists():
            from ultralytics import YOLO

            copy = path.with_suffix(".pt")
            copy.write_bytes(tiny_yolo(family).read_bytes())
            with warnings.catch_warnings():  # the exporter's
                warnings.simplefilter("ignore")
                YOLO(str(copy)).export(format="onnx", imgsz=160, simplify=False, **how)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_torchvision(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a checkpoint of an untrained torchvision detector with the classes cat, dog and hat."""
    folder = tmp_path_factory.mktemp("torchvision")

    def make(name: str) -> Path:
        path = folder / f"{name}.pt"
        if not path.exists():
            import torch

            from da_kd.teachers.torchvision import build_model, save_checkpoint

            torch.manual_seed(3)
            sizes = None if name.startswith("ssd") else {"min_size": 96, "max_size": 160}
            model = build_model(name, 3, sizes)
            with torch.no_grad():
                for key, value in model.named_parameters():
                    if "cls" in key and value.ndim > 1:
                        value.mul_(20)  # else all classes and places score alike
            save_checkpoint(path, name, ["cat", "dog", "hat"], model)
        return path

    return make


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _spread(model: Any, factor: float) -> Any:
    """Make an untrained model's weights larger, else all its queries answer alike."""
    for value in model.parameters():
        if value.ndim == 2:
            value.data.mul_(factor)
    return model


def _save_yolos(folder: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    config = YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 96],
        patch_size=16, num_detection_tokens=12, id2label=dict(enumerate(["N/A", "cat", "dog", "N/A"])),
    )  # fmt: skip
    _spread(YolosForObjectDetection(config), 8).save_pretrained(folder)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def _save_detr(folder: Path) -> None:
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, num_queries=12,
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, id2label=dict(enumerate(["cat", "dog", "hat"])),
    )  # fmt: skip
    _spread(DetrForObjectDetection(config), 8).save_pretrained(folder)
    DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def _save_owlv2(folder: Path) -> None:
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": 0}
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={**small, **ends, "vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config={**small, "image_size": 96, "patch_size": 16},
        projection_dim=32,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 96, "width": 96}), tokenizer).save_pretrained(folder)


def _save_grounding_dino(folder: Path) -> None:
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?"]
    tokens = [*special, "cat", "dog", "hat", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, image_size=64,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=len(tokens), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        num_queries=12, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_feature_levels=4,
    )  # fmt: skip
    _spread(GroundingDinoForObjectDetection(config), 8).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 256})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


_SAVED = {"yolos": _save_yolos, "detr": _save_detr, "owlv2": _save_owlv2, "grounding_dino": _save_grounding_dino}


@pytest.fixture(scope="session")
def tiny_transformers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny, untrained detector of the transformers package."""
    root = tmp_path_factory.mktemp("transformers")

    def make(kind: str) -> Path:
        pytest.importorskip("transformers", reason="the adapter 'transformers' needs transformers (optional extra)")
        import torch

        folder = root / kind
        if not folder.exists():
            folder.mkdir()
            torch.manual_seed(5)
            _SAVED[kind](folder)
        return folder

    return make
