"""What a teacher said of a set, as *predict* left it on the disk: read a part at a time, however large the set.

Knows shards; must not know who asks, nor what for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, Vocabulary, read_table, stack
from da_kd.errors import DataError
from da_kd.tables import outline


class Predictions(Protocol):
    """What a teacher said of I images: a :class:`DetectionTable` in memory, or :class:`StoredPredictions`."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The teacher's own classes."""

    def __len__(self) -> int:
        """Return the number of images."""

    def part(self, images: slice) -> DetectionTable:
        """Return what was said of a run of images, ``slice(begin, end)``."""


class StoredPredictions:
    """The shards of a finished *predict*, the one read last in memory.

    Args:
        folder: the output of *predict*.

    Attributes:
        vocabulary: the teacher's own classes.

    Raises:
        DataError: there is no shard, or one cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted((folder / "shards").glob("*.parquet"))
        if not self._paths:
            raise DataError(f"Expected the shards of *predict* in {folder}; there are none; run *predict* again.")
        outlines = [outline(path) for path in self._paths]
        self.vocabulary = outlines[0][1]
        self._ends = np.cumsum([count for count, _ in outlines])
        self._begins = self._ends - [count for count, _ in outlines]
        self._read = lru_cache(1)(read_table)

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self._ends[-1])

    def part(self, images: slice) -> DetectionTable:
        """Return what was said of a run of images, ``slice(begin, end)``.

        Raises:
            DataError: a shard cannot be read (any more).
        """
        first, last = np.searchsorted(self._ends, [images.start, images.stop - 1], "right")
        shards = range(first, max(first, last) + 1)
        begin = int(self._begins[first])
        return stack([self._read(self._paths[number]) for number in shards]).part(
            slice(images.start - begin, images.stop - begin)
        )

    def take(self, images: Sequence[int] | npt.NDArray[np.integer]) -> DetectionTable:
        """Return what was said of the images at these positions, one at least, in this order.

        Raises:
            DataError: a shard cannot be read (any more).
        """
        wanted = np.asarray(images, np.int64)
        order = np.argsort(wanted)
        shard = np.searchsorted(self._ends, wanted[order], "right")
        parts = [
            self._read(self._paths[number]).take(wanted[order][shard == number] - self._begins[number])
            for number in np.unique(shard).tolist()
        ]
        return stack(parts).take(np.argsort(order))
