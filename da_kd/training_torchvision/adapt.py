"""Batch-norm adaptation of torchvision's detectors; see :mod:`da_kd.training.adapt`, which has the method.

Only imported where a model is adapted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.teachers.geometry import groups
from da_kd.teachers.torchvision import TorchvisionTeacher
from da_kd.training.adapt import BATCH, estimated_anew, pictures

_NO_BOX = 1.0  # a score that no box has, so that none is gone through


def adapt_torchvision(
    weights: Path, options: Mapping[str, Any], images: ImageSet, device: str, out: Path, job: Job
) -> None:
    """Write ``weights.pt`` into ``out``: the file with statistics of ``images``, to be read with the same options.

    Args:
        weights: what :class:`~da_kd.teachers.torchvision.TorchvisionTeacher` reads.
        options: the teacher's; they decide how large it sees the images.
        images: of the target.
        device: where to run.
        out: the output folder.
        job: where progress goes.

    Raises:
        DataError: no image can be read.
        WeightsError: the file is not a detector's, or has no batch normalisation.
    """
    with TorchvisionTeacher(weights, options).open(device, _NO_BOX, BATCH) as predictor:
        with estimated_anew(predictor.model, weights):
            for found in pictures(images, job):
                for group in _passes([picture.shape for picture in found], predictor.one_size):
                    predictor.look([found[place] for place in group])
        held = torch.load(weights, map_location="cpu", weights_only=True)
        state = held["state_dict"] if isinstance(held.get("state_dict"), Mapping) else held
        now = predictor.model.state_dict()
        state |= {name: now[name].detach().cpu() for name in state if "running_" in name}
    temporary = out / "weights.tmp.pt"
    torch.save(held, temporary)
    os.replace(temporary, out / "weights.pt")


def _passes(sizes: Sequence[tuple[int, ...]], one_size: bool) -> list[list[int]]:
    """Return the places of the pictures that are looked at together: those of one size, as at prediction.

    Where the model brings all to one size, and one is alone with its own, all are: its last maps may have a single
    place a picture, which has no variance.
    """
    alike = groups(sizes)
    return [list(range(len(sizes)))] if one_size and any(len(group) == 1 for group in alike) else alike
