"""Tells an open-vocabulary model of ultralytics (YOLO-World, YOLOE) what to look for, without a download.

Words that a checkpoint already knows keep the embeddings stored in it; others need the text encoder's file. Knows the
two families' models; must not know images or boxes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from da_kd.detections import Vocabulary
from da_kd.errors import InputError, SetupError, WeightsError
from da_kd.teachers.checks import first_line, need_file

_WORLD_ENCODER = "ViT-B-32.pt"
_YOLOE_ENCODERS = {"mobileclip:blt": "mobileclip_blt.ts", "mobileclip2:b": "mobileclip2_b.ts"}


def set_prompts(model: Any, prompts: Vocabulary, text_encoder: Path | None, weights: Path) -> None:
    """Make the prompts the model's classes, in their order.

    Args:
        model: what the library's ``YOLO`` class loaded; changed in place.
        prompts: the words.
        text_encoder: the encoder's file; None where there is none.
        weights: the checkpoint, for messages.

    Raises:
        InputError: the model has a fixed list of classes.
        WeightsError: words need the text encoder and its file is missing or unreadable.
        SetupError: the package that splits words into tokens is missing.
    """
    from ultralytics.nn.tasks import WorldModel, YOLOEModel

    network = model.model
    if not isinstance(network, WorldModel | YOLOEModel) or hasattr(network.model[-1], "lrpc"):
        raise InputError(f"{weights} has a fixed list of classes; leave out the option 'prompts'.")
    world = isinstance(network, WorldModel)
    stored = network.txt_feats if world else getattr(network, "pe", None)
    names = network.names if isinstance(network.names, dict) else dict(enumerate(network.names))
    rows = {str(name): row for row, name in names.items()}
    if stored is not None and stored.shape[1] == len(names) and all(prompt in rows for prompt in prompts):
        embeddings = stored[:, [rows[prompt] for prompt in prompts]]
    else:
        _attach_encoder(network, world, text_encoder, [prompt for prompt in prompts if prompt not in rows], weights)
        embeddings = network.get_text_pe(list(prompts), cache_clip_model=True)
        network.clip_model = None  # it has done its part
    if world:
        network.txt_feats = embeddings
        network.model[-1].nc = len(prompts)
    else:
        network.set_classes(list(prompts), embeddings)
    network.names = dict(enumerate(prompts))


def _attach_encoder(network: Any, world: bool, file: Path | None, unknown: list[str], weights: Path) -> None:
    """Load the text encoder that a model was trained with and hang it where the library looks for it."""
    kind = getattr(network, "text_model", "mobileclip:blt")
    expected = _WORLD_ENCODER if world else _YOLOE_ENCODERS.get(kind, kind)
    if file is None:
        raise WeightsError(
            f"{weights} has no embedding of {unknown or 'its words'}; its text encoder '{expected}' is needed to make "
            f"one. Put that file anywhere, e.g. beside the weights, and name it with the option 'text_encoder'."
        )
    need_file(file)
    if importlib.util.find_spec("clip") is None:  # else the library would try to fetch it
        raise SetupError("Prompts need the package 'clip' (the fork ultralytics names), for its tokens; install it.")
    from ultralytics.nn.text_model import CLIP, MobileCLIPTS

    try:
        device = next(network.parameters()).device
        network.clip_model = CLIP(str(file), device) if world else MobileCLIPTS(device, weight=str(file))
    except Exception as error:  # whatever a broken file makes the library raise
        raise WeightsError(f"Expected the text encoder '{expected}' at {file}; {first_line(error)}.") from error
