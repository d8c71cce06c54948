"""Images on the disk with what is known of them, and how a part of them is taken, the same way every time.

Must not know formats or how labels were read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, Vocabulary
from da_kd.errors import DataError

if TYPE_CHECKING:
    from da_kd.recipe import Holdout


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images on the disk and what is known of them; ``root / key`` is an image's file.

    Attributes:
        root: the folder the keys of the table count from.
        table: ground truth where labels were read, else nothing searched and no boxes.
    """

    root: Path
    table: DetectionTable

    def __len__(self) -> int:
        """Return the number of images, unusable ones included."""
        return len(self.table)

    @property
    def vocabulary(self) -> Vocabulary:
        """The class names."""
        return self.table.vocabulary

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every image's file, in order."""
        return tuple(self.root / key for key in self.table.key)

    def path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.root / self.table.key[index]

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> ImageSet:
        """Return the images at these positions, in this order."""
        return ImageSet(self.root, self.table.take(indices))

    def usable(self) -> ImageSet:
        """Return the images that can be read."""
        return self.take(np.flatnonzero(self.table.ok))


def held_out(keys: Sequence[str], holdout: Holdout) -> list[int]:
    """Return the positions of the side of a holdout that is kept, in order.

    Groups are ordered by a hash of their name and the seed; the first of them are held out, at least one, and no more
    than ``fraction`` of the images after that. A group is an image, or all the images of a folder (frames of a video
    lie in a folder of their own).

    Raises:
        DataError: there is only one group, so nothing can be held out.
    """
    groups = list(keys) if holdout.group == "image" else [str(PurePosixPath(key).parent) for key in keys]
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    if len(sizes) == 1 and holdout.fraction < 1:
        raise DataError(
            f"Expected at least two groups to hold one out (holdout.group: {holdout.group}); found one, "
            f"'{groups[0]}', with {len(groups)} images. Choose another 'group', or sort the images into folders."
        )
    ordered = sorted(sizes, key=lambda group: _hash(group, holdout.seed, "holdout"))
    out: set[str] = set()
    count = 0
    for group in ordered:
        count += sizes[group]
        if out and count > holdout.fraction * len(keys):
            break
        out.add(group)
    return [index for index, group in enumerate(groups) if (group in out) == (holdout.keep == "held_out")]


def nested(keys: Sequence[str], fraction: float, seed: int = 0) -> list[int]:
    """Return the positions of a share of the images, in order: ``ceil(fraction * n)`` of them, at least one.

    A smaller share is always a part of a larger one of the same seed.
    """
    if fraction >= 1 or not keys:
        return list(range(len(keys)))
    count = max(1, math.ceil(fraction * len(keys) - 1e-9))
    ordered = sorted(range(len(keys)), key=lambda index: _hash(keys[index], seed, "fraction"))
    return sorted(ordered[:count])


def nested_fraction(image_set: ImageSet, fraction: float, seed: int = 0) -> ImageSet:
    """Return a share of the images (see :func:`nested`), in the original order."""
    return image_set.take(nested(image_set.table.key, fraction, seed))


def spread(image_set: ImageSet, most: int) -> ImageSet:
    """Return at most so many of the readable images, evenly spread over the set, in the original order."""
    good = np.flatnonzero(image_set.table.ok)
    if len(good) <= most:
        return image_set.take(good)
    return image_set.take(good[np.linspace(0, len(good) - 1, most).astype(np.int64)])


def only_classes(image_set: ImageSet, names: Sequence[str]) -> ImageSet:
    """Return all images with a vocabulary of only some classes, in the given order; boxes of the others are gone."""
    table = image_set.table
    places = [table.vocabulary.index(name) for name in names]
    label = np.full(len(table.vocabulary), -1, np.int32)
    label[places] = np.arange(len(places))
    table = table.pick_boxes(label[table.label] >= 0)
    table = dataclasses.replace(
        table, vocabulary=tuple(names), searched=table.searched[:, places], label=label[table.label]
    )
    return ImageSet(image_set.root, table)


def overlap(a: ImageSet, b: ImageSet) -> list[tuple[str, str]]:
    """Return the images of ``b`` whose files have the content of one of ``a``, as pairs (key in a, key in b)."""
    first: dict[str, str] = {}
    for key, sha, good in zip(a.table.key, a.table.sha, a.table.ok, strict=True):
        if good and sha:
            first.setdefault(sha, key)
    return [
        (first[sha], key)
        for key, sha, good in zip(b.table.key, b.table.sha, b.table.ok, strict=True)
        if good and sha in first
    ]


def fingerprint(image_set: ImageSet) -> str:
    """Return a hash (32 hex digits) of names, contents and labels; not of where the images lie."""
    table = image_set.table
    digest = hashlib.blake2b(digest_size=16)
    header = {"vocabulary": table.vocabulary, "key": table.key, "sha": table.sha, "usable": table.ok.tolist()}
    digest.update(json.dumps(header, ensure_ascii=True).encode())
    columns = (
        table.searched.astype("u1"),
        table.offsets.astype("<i8"),
        table.xyxy.astype("<f4"),
        table.score.astype("<f4"),
        table.label.astype("<i4"),
        table.state.astype("i1"),
    )
    for column in columns:
        digest.update(f"{column.shape}".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _hash(name: str, seed: int, use: Literal["holdout", "fraction"]) -> bytes:
    """Return what groups and images are ordered by."""
    return hashlib.blake2b(f"{use}\n{seed}\n{name}".encode(errors="surrogateescape"), digest_size=16).digest()
