"""The class names and splits that a data set brings along, without its images. Must not know recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from da_kd.data.coco import open_coco
from da_kd.data.load import find_format
from da_kd.data.source import Source
from da_kd.data.voc import open_voc
from da_kd.data.yolo import open_yolo, split_names
from da_kd.detections import Vocabulary

_READERS: dict[str, Callable[[Path], Source]] = {"yolo": open_yolo, "coco": open_coco, "voc": open_voc}


def class_names(path: Path) -> Vocabulary:
    """Return the class names of the data set at ``path``, none where it is images alone.

    Raises:
        DataError: nothing is there, or its list of classes cannot be read.
    """
    reader = _READERS.get(find_format(path))
    return tuple(reader(path).vocabulary) if reader is not None else ()


def splits_of(path: Path) -> tuple[str, ...]:
    """Return which of train, val, valid and test a YOLO data set has; of any other, none.

    Raises:
        DataError: nothing is there, or its ``data.yaml`` cannot be read.
    """
    return tuple(split_names(path)) if find_format(path) == "yolo" else ()
