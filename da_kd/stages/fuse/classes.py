"""Class maps: a teacher's class names to the recipe's, checked before anything is merged."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.data.classes import REST, map_classes
from da_kd.detections import Detections, Vocabulary
from da_kd.errors import DataError
from da_kd.merging.lockstep import Rows, homes
from da_kd.merging.pairs import Doubles


@dataclass(frozen=True)
class ClassMap:
    """Where each class of one teacher goes.

    Attributes:
        source: the teacher's vocabulary.
        target: the recipe's classes.
        index: for each source class the target's index, or -1 for none.
    """

    source: Vocabulary
    target: Vocabulary
    index: tuple[int, ...]

    @property
    def able(self) -> tuple[bool, ...]:
        """For each target class, whether the teacher can see it."""
        return tuple(position in self.index for position in range(len(self.target)))

    @property
    def left_out(self) -> Vocabulary:
        """The source classes that go nowhere."""
        return tuple(name for name, position in zip(self.source, self.index, strict=True) if position < 0)

    @property
    def joined(self) -> tuple[bool, ...]:
        """For each target class, whether several of the teacher's go into it."""
        return tuple(self.index.count(position) > 1 for position in range(len(self.target)))

    def apply(self, found: Detections, overlap: float) -> Detections:
        """Return one image's boxes in the target's vocabulary; where classes were joined, duplicates are suppressed."""
        image = np.zeros(len(found), np.int64)
        rows, label = self.map_rows(
            found.xyxy.astype(np.float64), found.score.astype(np.float64), found.label, image, overlap
        )
        return Detections(self.target, found.xyxy[rows], found.score[rows], label.astype(np.int32))

    def map_rows(
        self, xyxy: Doubles, score: Doubles, label: npt.NDArray[np.integer], image: IntArray, overlap: float
    ) -> tuple[IntArray, IntArray]:
        """Map N boxes of many images at once.

        Args:
            xyxy: (N, 4) boxes.
            score: (N,) scores.
            label: (N,) labels in the source's vocabulary.
            image: (N,) a number for the image each lies in.
            overlap: the IoU above which, in a class that several were joined into, the lower box of an image goes.

        Returns:
            The rows that stay, rising, and their labels in the target's vocabulary.
        """
        target = np.array(self.index, np.int64)[label]
        stays = target >= 0
        joined = np.flatnonzero(stays & np.array([*self.joined, False])[target])
        if len(joined):
            group = image[joined] * len(self.target) + target[joined]
            home, _ = homes(Rows(xyxy[joined], score[joined], group, np.zeros_like(group)), "nms", overlap)
            stays[joined] = home == np.arange(len(joined))
        return np.flatnonzero(stays), target[stays]


def class_map(teacher: str, source: Vocabulary, target: Vocabulary, given: Mapping[str, str | None]) -> ClassMap:
    """Return the map of one teacher: the names given, and equal names by themselves; other classes go nowhere.

    Raises:
        DataError: ``given`` names a class that the teacher does not have.
    """
    mapping = map_classes(source, {REST: None, **given}, target, f"teachers.{teacher}")
    found = [mapping[name] for name in source]
    return ClassMap(source, target, tuple(-1 if name is None else target.index(name) for name in found))


def check_all_seen(maps: Mapping[str, ClassMap], target: Vocabulary) -> None:
    """Raise when no teacher can see one of the target's classes.

    Raises:
        DataError: names the class and the nearest names the teachers do know.
    """
    known = sorted({name for item in maps.values() for name in item.source})
    for position, name in enumerate(target):
        if not any(item.able[position] for item in maps.values()):
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"near it: {', '.join(near)}; map it" if near else f"they know {_some(known)}; map one of these"
            raise DataError(
                f"No teacher can see the class '{name}'; {hint} under teachers.<name>.classes, or leave the class out."
            )


def _some(names: Sequence[str]) -> str:
    """Return the names as text, the first ten of many."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")  # noqa: PLR2004
