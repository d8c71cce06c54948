"""Batch-norm adaptation: re-estimates a detector's normalisation statistics on unlabelled target images.

No label, no gradient and no weight changes, only the running means and variances, as in Li et al., *Revisiting Batch
Normalization For Practical Domain Adaptation* (2016): the statistics carry much of what a stain, a lamp or a weather
does to a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import ImageSet, read_image
from da_kd.errors import DataError, WeightsError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.teachers.ultralytics import load_detector

BATCH = 16  # images a step; fixed, since it decides the statistics
MOST = 1024  # images looked at, evenly spread over the set; more no longer move the statistics


def adapt_batch_norm(weights: Path, images: ImageSet, device: str, out: Path, job: Job) -> None:
    """Write ``weights.pt`` into ``out``: the checkpoint with statistics of ``images``.

    Raises:
        DataError: no image can be read.
        WeightsError: the checkpoint is not a detector's, or has no batch normalisation.
    """
    import torch

    settle_ultralytics()
    from ultralytics.nn.tasks import torch_safe_load

    detector = load_detector(weights)
    model = detector.model.to(device).float()
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    if not layers:
        raise WeightsError(f"Expected batch normalisation in {weights}; found none, so there is nothing to adapt.")
    size = int(detector.overrides.get("imgsz", 640))
    _estimate(model, layers, images, size, device, job)
    checkpoint, _ = torch_safe_load(str(weights))
    checkpoint |= {"model": model.cpu().half(), "ema": None}
    temporary = out / "weights.tmp.pt"
    torch.save(checkpoint, temporary)
    os.replace(temporary, out / "weights.pt")


def _estimate(model: Any, layers: list[Any], images: ImageSet, size: int, device: str, job: Job) -> None:
    """Set the running statistics of the layers to the plain average over all batches."""
    import torch

    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum, momentum = None, layer.momentum  # None averages all batches alike
        layer.train()
        layer.da_kd_momentum = momentum
    seen = 0
    with torch.no_grad():
        for pixels in _batches(images, size, job):
            model(torch.from_numpy(pixels).to(device).float() / 255)
            seen += len(pixels)
    for layer in layers:
        layer.momentum = layer.da_kd_momentum
        del layer.da_kd_momentum
        layer.eval()
    if not seen:
        raise DataError("Batch-norm adaptation needs target images; found none that can be read.")


def _batches(images: ImageSet, size: int, job: Job) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Yield (N, 3, size, size) RGB batches, letterboxed as for prediction; a last batch of one is left out."""
    from ultralytics.data.augment import LetterBox

    box = LetterBox(new_shape=(size, size), auto=False)
    good = np.flatnonzero(images.table.ok)
    chosen = good[np.unique(np.linspace(0, len(good) - 1, min(MOST, len(good))).astype(int))] if len(good) else good
    starts = range(0, len(chosen), BATCH)
    for start in job.track(starts, "batch norm", unit="batches"):
        pictures = []
        for index in chosen[start : start + BATCH]:
            try:
                pictures.append(box(image=read_image(images.path(int(index)))))
            except DataError:
                continue  # *predict* counts and lists it
        if len(pictures) > 1:
            yield np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
