"""Feeds an image set to a torchvision detector: decodes, scales, augments.

Boxes whose state is *kept* are learned; the others are left out. Only imported where a model trains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from da_kd.data import ImageSet, read_image
from da_kd.detections import State
from da_kd.recipe.torchvision_args import TORCHVISION_ARGS
from da_kd.teachers.geometry import PAD

_CACHE_LIMIT = 1 << 30  # bytes of scaled images that are kept in memory while training
_LEAST = 3.0  # pixels of the input below which what is left of a box is nothing to learn
_MOVE = 0.1  # the most an image is moved while it is scaled, as a share of its sides

Sample = tuple[torch.Tensor, dict[str, torch.Tensor]]


class Samples(Dataset[Sample]):
    """The images of a set, augmented; every draw depends on seed, epoch and image alone, so a training can be resumed.

    Args:
        images: labelled images, every one usable.
        imgsz: what the longer side of an image is scaled to, in pixels.
        args: the augmentation, see :data:`~da_kd.recipe.torchvision_args.TORCHVISION_ARGS`.
        seed: the recipe's.
    """

    def __init__(self, images: ImageSet, imgsz: int, args: dict[str, Any], seed: int) -> None:
        self._images, self._imgsz, self._seed = images, imgsz, seed
        self._augment = augmentation(args)
        self._cache: list[torch.Tensor] | None = None
        if len(images) * 3 * imgsz**2 < _CACHE_LIMIT:
            self._cache = [self._pixels(index) for index in range(len(images))]
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        """Return (3, H, W) float pixels 0 to 1, and ``boxes`` (N, 4) in its pixels with ``labels`` (N,) from 1."""
        pixels = self._cache[index] if self._cache is not None else self._pixels(index)
        high, wide = pixels.shape[-2:]
        found = self._images.table.at(index, (State.KEPT,))
        scale = np.array([wide, high], np.float32) / self._images.table.size[index]
        target = {
            "boxes": tv_tensors.BoundingBoxes(
                torch.from_numpy(found.xyxy * np.tile(scale, 2)).float(),
                format=tv_tensors.BoundingBoxFormat.XYXY,
                canvas_size=(high, wide),
            ),
            "labels": torch.from_numpy(found.label.astype(np.int64)) + 1,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mixed(self._seed, self.epoch, index))
            image, target = self._augment(tv_tensors.Image(pixels), target)
        return image.as_subclass(torch.Tensor), {key: value.as_subclass(torch.Tensor) for key, value in target.items()}

    def _pixels(self, index: int) -> torch.Tensor:
        """Return (3, H, W) uint8 pixels scaled as the detector itself does at prediction: bilinear, no antialias."""
        pixels = torch.from_numpy(np.ascontiguousarray(read_image(self._images.path(index)).transpose(2, 0, 1)))
        ratio = self._imgsz / max(pixels.shape[1:])
        size = [max(1, int(side * ratio)) for side in pixels.shape[1:]]
        scaled: torch.Tensor = v2.functional.resize(pixels, size, antialias=False)
        return scaled


def augmentation(args: dict[str, Any]) -> Any:
    """Return the transform of an image and its target."""
    chosen = {name: args.get(name, known.default) for name, known in TORCHVISION_ARGS.items()}
    steps: list[Any] = []
    if chosen["colour"]:
        strength = chosen["colour"]
        steps.append(v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength, hue=strength / 20))
    if chosen["scale"]:
        zoom = (1 - chosen["scale"], 1 + chosen["scale"])
        steps.append(v2.RandomAffine(degrees=0, translate=(_MOVE, _MOVE), scale=zoom, fill=PAD))
    steps += [v2.RandomHorizontalFlip(chosen["fliplr"]), v2.RandomVerticalFlip(chosen["flipud"])]
    steps += [v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes(min_size=_LEAST)]
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])


def collate(batch: list[Sample]) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Return the images and the targets of a batch as lists, as torchvision's detectors take them."""
    return [image for image, _ in batch], [target for _, target in batch]


def _mixed(seed: int, epoch: int, index: int) -> int:
    """Return one number for the three, the same everywhere."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)[0] >> 1)
