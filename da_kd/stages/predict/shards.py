"""A shard: a fixed slice of the images, what a teacher says of it, and the file that holds that.

What every engine has in common, so that it does not show in a file who made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, Vocabulary
from da_kd.teachers.batches import Answer, cut, tabulate


@dataclass(frozen=True)
class Said:
    """What a teacher says of one shard.

    Attributes:
        path: the file it will be.
        places: its images, by their place in the set.
        classes: the teacher's own class names.
        answers: one for each of the places.
    """

    path: Path
    places: Sequence[int]
    classes: Vocabulary
    answers: Mapping[int, Answer]

    def write(self, images: ImageSet, name: str) -> DetectionTable:
        """Write the shard under a temporary name, rename it, and return it as a table.

        Args:
            images: the set that the places count into.
            name: the teacher's name.
        """
        table = tabulate(self.classes, images.take(self.places), [self.answers[place] for place in self.places], name)
        table.write(self.path)
        return table


def shards(folder: Path, count: int, size: int) -> dict[Path, Sequence[int]]:
    """Return the places of the images of every shard by its file; ``size`` images each, the last one may have fewer."""
    return {folder / f"{number:05d}.parquet": places for number, places in enumerate(cut(range(count), size))}
