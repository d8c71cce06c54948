"""Feeds an image set into ultralytics' training pipeline from memory: no label files, nothing written beside images.

Boxes whose state is *kept* are trained on; what else labels say travels beside them (:mod:`da_kd.training.signals`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from ultralytics.data.augment import Albumentations
from ultralytics.data.dataset import YOLODataset

from da_kd.training.regions import follow
from da_kd.training.signals import Kind, Lesson

_NO_CACHE = Path(os.devnull) / "none.npy"  # a path that cannot exist


class TableDataset(YOLODataset):  # type: ignore[misc]
    """The library's dataset, its labels taken from a :class:`~da_kd.training.signals.Lesson` in ``data['da_kd']``."""

    @property
    def lesson(self) -> Lesson:
        """What is taught."""
        lesson: Lesson = self.data["da_kd"]
        return lesson

    def get_img_files(self, img_path: Any) -> list[str]:
        """Return the image files of an epoch, in the set's order."""
        return [str(self.lesson.images.path(int(image))) for image in self.lesson.order]

    def get_labels(self) -> list[dict[str, Any]]:
        """Return the library's label records, boxes normalised to 0..1 as centre, width, height."""
        images = zip(self.im_files, self.lesson.order.tolist(), strict=True)
        return [_record(file, self.lesson, image) for file, image in images]

    def show_epoch(self, epoch: int) -> bool:
        """Put the images of an epoch (from 0) in their places; return whether any changed."""
        order = self.lesson.order_of(epoch)
        changed = [place for place, label in enumerate(self.labels) if label["image"] != order[place]]
        for place in changed:
            image = int(order[place])
            file = str(self.lesson.images.path(image))
            self.labels[place] = _record(file, self.lesson, image)
            self.im_files[place], self.ims[place] = file, None
        return bool(changed)

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> Any:
        """Return an image, its size, and the size it has now.

        A ``.npy`` file beside an image is the user's: the library would take it for its own cache, and write to it.
        """
        self.npy_files[i] = _NO_CACHE
        return super().load_image(i, rect_mode, resize_short)

    def update_labels_info(self, label: dict[str, Any]) -> dict[str, Any]:
        """Return a record ready to be augmented: rows by number, where there is more to carry than boxes."""
        image, rows = label.pop("image"), self.lesson.rows
        if not rows.plain:
            row = rows.of(image)
            label |= {"cls": row.astype(np.float64)[:, None], "bboxes": rows.xywh[row]}
        info: dict[str, Any] = super().update_labels_info(label)
        return info

    def build_transforms(self, hyp: Any = None) -> Any:
        """Return the library's augmentations, followed by regions where there are any."""
        self._augmentation = hyp
        transforms = super().build_transforms(hyp)
        if getattr(hyp, "augmentations", None) is None:
            _without_chance_guests(transforms)
        return transforms if self.lesson.rows.plain else follow(transforms, self.lesson.rows)

    def teach(self, lesson: Lesson) -> None:
        """Take other labels of the same images, in the same order; a loader that reads ahead must be reset."""
        self.data["da_kd"] = lesson
        for place, label in enumerate(self.labels):
            self.labels[place] = _record(self.im_files[place], lesson, label["image"])
        self.transforms = self.build_transforms(self._augmentation)

    @staticmethod
    def collate_fn(batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch; regions are filled up with zeros to the same number an image."""
        merged: dict[str, Any] = YOLODataset.collate_fn(batch)
        if "weight" in merged:
            merged["weight"] = torch.cat(merged["weight"])
            merged["regions"] = pad_sequence(merged["regions"], batch_first=True)
        return merged

    def cache_images(self) -> None:
        """Decode every image once and keep it, without the library's own progress bar."""
        with ThreadPoolExecutor() as pool:
            loaded = list(pool.map(self.load_image, range(self.ni)))
        for index, (pixels, original, resized) in enumerate(loaded):
            self.ims[index], self.im_hw0[index], self.im_hw[index] = pixels, original, resized


class StretchedDataset(TableDataset):
    """The same for RT-DETR, which sees an image stretched to a square, in training as in prediction."""

    def load_image(self, i: int, rect_mode: bool = False, resize_short: bool = False) -> Any:
        """Return the image, its size, and the size it has now."""
        return super().load_image(i, rect_mode, resize_short)


def _without_chance_guests(transforms: Any) -> None:
    """Take out what the library adds by itself wherever albumentations is installed: trainings would depend on it."""
    for transform in getattr(transforms, "transforms", ()):
        if isinstance(transform, Albumentations):
            transform.transform = None


def _record(file: str, lesson: Lesson, image: int) -> dict[str, Any]:
    rows, (width, height) = lesson.rows, lesson.images.table.size[image]
    row = rows.of(image)
    row = row[rows.kind[row] == Kind.OBJECT]
    return {
        "im_file": file,
        "image": image,
        "shape": (int(height), int(width)),
        "cls": rows.label[row].astype(np.float32)[:, None],
        "bboxes": rows.xywh[row],
        "segments": [],
        "keypoints": None,
        "normalized": True,
        "bbox_format": "xywh",
    }
