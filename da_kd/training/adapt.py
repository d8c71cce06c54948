"""Fits a detector to unlabelled target images: its normalisation statistics, and the size at which it looks at them.

No label, no gradient and no weight changes, only the running means and variances, as in Li et al., *Revisiting Batch
Normalization For Practical Domain Adaptation* (2016): the statistics carry much of what a stain, a lamp or a weather
does to a picture. What the size is for stands in ``object_scale``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet, read_image
from da_kd.errors import DataError, WeightsError
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.store import write_json
from da_kd.teachers.ultralytics import load_detector
from da_kd.training.architecture import TRANSFORMER, head_of
from da_kd.training.object_scale import ratio_of, sides, size_for

Pixels = npt.NDArray[np.uint8]

BATCH = 16  # images a step; fixed, since it decides the statistics
MOST_TIMES = 4.0  # no input size changes by more
MOST = 1024  # images looked at, evenly spread over the set; more no longer move the statistics


def adapt_batch_norm(
    weights: Path, images: ImageSet, device: str, out: Path, job: Job, size: int | None = None
) -> None:
    """Write ``weights.pt`` into ``out``: the checkpoint with statistics of ``images``.

    Args:
        weights: an ultralytics checkpoint.
        images: what its statistics are to be of.
        device: where it runs.
        out: the output folder.
        job: where progress goes.
        size: the input size it is to have from now on; the default is its own.

    Raises:
        DataError: no image can be read.
        WeightsError: the checkpoint is not a detector's, or has no batch normalisation.
    """
    import torch

    detector = load_detector(weights)
    model = detector.model.to(device).float()
    size = size or input_size(detector)
    with estimated_anew(model, weights), torch.no_grad():
        for pixels in _scaled(images, size, job, stretch=head_of(model.yaml) == TRANSFORMER):
            model(torch.from_numpy(pixels).to(device).float() / 255)
    _write(weights, out, size, model)


def adapt(
    weights: Path,
    images: ImageSet,
    home: ImageSet,
    device: str,
    out: Path,
    job: Job,
    *,
    batch_norm: bool,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write ``weights.pt`` into ``out``: the checkpoint with the input size at which objects look as large as at home.

    Beside it ``scale.json`` says how many times as large as at home the target's objects are, and the input sizes.

    Args:
        weights: an ultralytics checkpoint.
        images: target images; labels are not looked at.
        home: images like those it was trained on; nor are theirs.
        device: where it runs.
        out: the output folder.
        job: where progress goes.
        batch_norm: its statistics become those of ``images``, too, at that size.
        options: of the teacher that is asked: its head, its words.

    Raises:
        DataError: no image can be read.
        WeightsError: the checkpoint is not a detector's, or has no batch normalisation.
    """
    trained = size = input_size(load_detector(weights))
    known = sides(weights, home, trained, device, job, options)
    ratio: float | None = None
    for last in (False, False, False, True):  # what it says is surer at a better size, so it is asked again there
        if batch_norm:
            adapt_batch_norm(weights, images, device, out, job, size)
        else:
            _write(weights, out, size)
        if last:
            break
        measured = ratio_of(known, sides(out / "weights.pt", images, size, device, job, options))
        if measured is None:
            break
        ratio = measured
        fitting = size_for(trained, min(max(ratio, 1 / MOST_TIMES), MOST_TIMES))
        if fitting == size:
            break
        size = fitting
    if ratio is None:
        job.warn(f"Too few objects were found to tell how large they are; the input size stays at {size} px.")
    else:
        job.note(f"Objects are {ratio:.2f} times as large as in the source; the input size is {size} px for {trained}.")
    write_json(out / "scale.json", {"ratio": ratio, "trained_px": trained, "input_px": size})


def input_size(detector: Any) -> int:
    """Return the side of the square, in pixels, that a loaded checkpoint scales images into."""
    return int(detector.overrides.get("imgsz", 640))


def _write(weights: Path, out: Path, size: int, model: Any = None) -> None:
    """Write the checkpoint into ``out`` with an input size, and with a model instead of its own."""
    import torch

    settle_ultralytics()
    from ultralytics.nn.tasks import torch_safe_load

    checkpoint, _ = torch_safe_load(str(weights))
    if model is not None:
        checkpoint |= {"model": model.cpu().half(), "ema": None}
    checkpoint["train_args"] = {**(checkpoint.get("train_args") or {}), "imgsz": size}
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
    """Yield up to 16 (H, W, 3) RGB pictures at a time, evenly spread over the set.

    One alone waits for the next ones, and is left out where none come.

    Raises:
        DataError: fewer than two can be read.
    """
    good = np.flatnonzero(images.table.ok)
    chosen = good[np.unique(np.linspace(0, len(good) - 1, min(MOST, len(good))).astype(int))] if len(good) else good
    found: list[Pixels] = []
    seen = False
    for start in job.track(range(0, len(chosen), BATCH), "batch norm", unit="batches"):
        for index in chosen[start : start + BATCH]:
            try:
                found.append(read_image(images.path(int(index))))
            except DataError:
                continue  # *predict* counts and lists it
        if len(found) > 1:
            seen = True
            yield found
            found = []
    if not seen:
        raise DataError(
            "Batch-norm adaptation expected at least two target images that can be read; found "
            f"{len(found) or 'none'}. Add images, or leave it out."
        )


def _scaled(images: ImageSet, size: int, job: Job, *, stretch: bool) -> Iterator[Pixels]:
    """Yield (N, 3, size, size) batches, scaled as for prediction: letterboxed, or stretched as RT-DETR sees them."""
    from ultralytics.data.augment import LetterBox

    box = LetterBox(new_shape=(size, size), auto=False, scale_fill=stretch)
    for found in pictures(images, job):
        batch = np.stack([box(image=picture) for picture in found])
        yield np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
