"""Batch-norm adaptation: re-estimates a detector's normalisation statistics on unlabelled target images.

No label, no gradient and no weight changes, only the running means and variances, as in Li et al., *Revisiting Batch
Normalization For Practical Domain Adaptation* (2016): the statistics carry much of what a stain, a lamp or a weather
does to a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet, read_image
from da_kd.errors import DataError, WeightsError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.teachers.ultralytics import load_detector

Pixels = npt.NDArray[np.uint8]

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
    size = int(detector.overrides.get("imgsz", 640))
    with estimated_anew(model, weights), torch.no_grad():
        for pixels in _letterboxed(images, size, job):
            model(torch.from_numpy(pixels).to(device).float() / 255)
    checkpoint, _ = torch_safe_load(str(weights))
    checkpoint |= {"model": model.cpu().half(), "ema": None}
    temporary = out / "weights.tmp.pt"
    torch.save(checkpoint, temporary)
    os.replace(temporary, out / "weights.pt")


@contextmanager
def estimated_anew(model: Any, weights: Path) -> Iterator[None]:
    """Let what a model sees meanwhile become its statistics: the plain average over all batches.

    Args:
        model: a torch module; all of it but the normalisation is in evaluation mode, and stays so.
        weights: where it comes from, for messages.

    Raises:
        WeightsError: it has no batch normalisation.
    """
    import torch

    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    if not layers:
        raise WeightsError(f"Expected batch normalisation in {weights}; found none, so there is nothing to adapt.")
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # all batches alike
        layer.train()
    yield
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def pictures(images: ImageSet, job: Job) -> Iterator[list[Pixels]]:
    """Yield up to 16 (H, W, 3) RGB pictures at a time, evenly spread over the set; a last one alone is left out.

    Raises:
        DataError: none can be read.
    """
    good = np.flatnonzero(images.table.ok)
    chosen = good[np.unique(np.linspace(0, len(good) - 1, min(MOST, len(good))).astype(int))] if len(good) else good
    seen = 0
    for start in job.track(range(0, len(chosen), BATCH), "batch norm", unit="batches"):
        found = []
        for index in chosen[start : start + BATCH]:
            try:
                found.append(read_image(images.path(int(index))))
            except DataError:
                continue  # *predict* counts and lists it
        if len(found) > 1:
            seen += len(found)
            yield found
    if not seen:
        raise DataError("Batch-norm adaptation needs target images; found none that can be read.")


def _letterboxed(images: ImageSet, size: int, job: Job) -> Iterator[Pixels]:
    """Yield (N, 3, size, size) batches, letterboxed as for prediction."""
    from ultralytics.data.augment import LetterBox

    box = LetterBox(new_shape=(size, size), auto=False)
    for found in pictures(images, job):
        batch = np.stack([box(image=picture) for picture in found])
        yield np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
