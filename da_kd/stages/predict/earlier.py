"""What a teacher said before: its answers in earlier outputs, found by the content of an image.

Only places are kept in memory, never the answers; of the earlier shards a few are open at a time. Must not know where
outputs are kept, or what makes two teachers the same: whoever hands over the folders does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, Vocabulary, read_table
from da_kd.errors import DataError

_SHA = "S32"  # hex digits of a content hash
_OPEN = 4  # earlier shards kept in memory; a set that only grew needs two at a time
_UNFINISHED = ".partial"  # how the folder of an output ends until it is whole


class Earlier:
    """Where the answers for images of a set already stand.

    An answer counts for any image of the same content, whatever its name; a failed one does not count.

    Args:
        folders: outputs of *predict* of the same teacher, options and floor; the first that has an answer gives it. One
            that ends in ``.partial`` may lose this ending at any time.
        images: the images that answers are wanted for.

    Attributes:
        known: (I,) bool, the images that were answered.
        vocabulary: the teacher's classes; None where nothing was answered.
    """

    def __init__(self, folders: Iterable[Path], images: ImageSet) -> None:
        self.vocabulary: Vocabulary | None = None
        self._paths: list[Path] = []
        self._file, self._row = self._find(folders, images)
        self.known = self._file >= 0
        self._read = lru_cache(_OPEN)(_read)

    def of(self, indices: Sequence[int]) -> dict[int, Detections]:
        """Return the answers that are known of these images, by their place in the set.

        Raises:
            DataError: a shard was removed since.
        """
        wanted = sorted((int(self._file[i]), int(self._row[i]), i) for i in indices if self.known[i])
        return {index: self._read(self._paths[file]).at(row) for file, row, index in wanted}

    def _find(self, folders: Iterable[Path], images: ImageSet) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return, per image, the number of the shard that answers for it, -1 for none, and the row in it."""
        table = images.table
        wanted = ["" if reason else sha for sha, reason in zip(table.sha, table.reason, strict=True)]
        contents, place = np.unique(np.array(wanted, _SHA), return_inverse=True)
        file, row = np.full(len(contents), -1, np.int32), np.zeros(len(contents), np.int32)
        for path, shard in _shards(folders):
            sha = np.array(shard.sha, _SHA)
            spot = np.minimum(np.searchsorted(contents, sha), len(contents) - 1)
            new = (contents[spot] == sha) & (sha != b"") & shard.ok & (file[spot] < 0)
            if not new.any() or self.vocabulary not in (None, shard.vocabulary):
                continue
            self.vocabulary = shard.vocabulary
            file[spot[new]], row[spot[new]] = len(self._paths), np.flatnonzero(new)
            self._paths.append(path)
        return file[place], row[place]


def _shards(folders: Iterable[Path]) -> Iterator[tuple[Path, DetectionTable]]:
    """Yield every earlier shard that can be read; one that cannot, or is gone meanwhile, answers nothing."""
    for folder in folders:
        for path in sorted((folder / "shards").glob("*.parquet")):
            try:
                yield path, _read(path)
            except DataError:
                continue


def _read(path: Path) -> DetectionTable:
    """Return an earlier shard; another run may have finished its output meanwhile, which renames the folder.

    Raises:
        DataError: the shard is in neither folder, or cannot be read.
    """
    try:
        return read_table(path)
    except DataError:
        folder = path.parents[1]
        if folder.suffix != _UNFINISHED or path.exists():
            raise
        return read_table(folder.with_suffix("") / path.relative_to(folder))
