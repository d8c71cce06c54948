"""Several image sets become one: keys from the folder above all of them, and every picture once.

Must not know what the sets are for.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from da_kd.data.imageset import ImageSet
from da_kd.detections import DetectionTable, stack


def without_copies(images: ImageSet, others: Sequence[ImageSet]) -> ImageSet:
    """Return the images whose files have the content of no image of the other sets."""
    known = {sha for other in others for sha in other.table.sha if sha}
    return images.take([index for index, sha in enumerate(images.table.sha) if sha not in known])


def joined(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of all sets, one set after the other, with keys from the folder above all their roots.

    What single teachers said is left out, since sets have different teachers.

    Args:
        sets: at least one; their vocabularies are equal, and no file is in two of them (see :func:`without_copies`).

    Raises:
        DataError: vocabularies differ, or a file is in two sets.
    """
    roots = [images.root.resolve() for images in sets]
    root = Path(os.path.commonpath(roots))
    tables = [_under(images.table, own.relative_to(root)) for images, own in zip(sets, roots, strict=True)]
    return ImageSet(root, stack(tables))


def _under(table: DetectionTable, folder: Path) -> DetectionTable:
    """Return a table whose keys count from further above, without what single teachers said."""
    keys = tuple((folder / key).as_posix() for key in table.key)
    nothing = np.zeros((len(table.xyxy), 0), np.float32)
    return dataclasses.replace(table, key=keys, teachers=(), teacher_score=nothing)
