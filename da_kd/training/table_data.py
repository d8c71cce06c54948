"""Feeds an image set into ultralytics' training pipeline from memory: no label files, nothing written beside images.

Boxes whose state is *kept* are trained on; the others are left out.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from ultralytics.data.dataset import YOLODataset

from da_kd.data import ImageSet
from da_kd.detections import State


class TableDataset(YOLODataset):  # type: ignore[misc]
    """The library's dataset, its labels taken from an :class:`~da_kd.data.ImageSet` in ``data['da_kd']``."""

    def get_img_files(self, img_path: Any) -> list[str]:
        """Return the image files, in the set's order."""
        images: ImageSet = self.data["da_kd"]
        return [str(images.path(index)) for index in range(len(images.table))]

    def get_labels(self) -> list[dict[str, Any]]:
        """Return the library's label records, boxes normalised to 0..1 as centre, width, height."""
        images: ImageSet = self.data["da_kd"]
        return [_record(file, images, index) for index, file in enumerate(self.im_files)]

    def cache_images(self) -> None:
        """Decode every image once and keep it, without the library's own progress bar."""
        with ThreadPoolExecutor() as pool:
            loaded = list(pool.map(self.load_image, range(self.ni)))
        for index, (pixels, original, resized) in enumerate(loaded):
            self.ims[index], self.im_hw0[index], self.im_hw[index] = pixels, original, resized


def _record(file: str, images: ImageSet, index: int) -> dict[str, Any]:
    boxes = images.table.at(index, (State.KEPT,))
    width, height = (int(side) for side in images.table.size[index])
    return {
        "im_file": file,
        "shape": (height, width),
        "cls": boxes.label.astype(np.float32)[:, None],
        "bboxes": _normalised(boxes.xyxy, width, height),
        "segments": [],
        "keypoints": None,
        "normalized": True,
        "bbox_format": "xywh",
    }


def _normalised(xyxy: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Return (N, 4) corner pixels as centre x, centre y, width, height in 0..1."""
    scale = np.array([width, height], np.float32)
    low, high = xyxy[:, :2] / scale, xyxy[:, 2:] / scale
    return np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
