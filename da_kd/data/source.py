"""What every format's reader hands back: the images of a set, its classes, and how to read its labels.

A reader first lists images, cheaply; labels are read only when somebody asks, since pixel boxes may need image sizes.
Must not know the recipe's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, ImageRecord, State, Vocabulary
from da_kd.errors import DataError

Box = tuple[float, float, float, float]

_THIN = 0.05  # pixels; only thinner boxes can vanish by rounding


@dataclass
class Truth:
    """Labels of some images, in the set's own vocabulary, collected box by box.

    Attributes:
        vocabulary: the set's own class names.
        searched: by image key, the classes looked for, where the labels themselves say so; others: all of them.
        warnings: sentences for a person.
    """

    vocabulary: Vocabulary
    searched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _rows: dict[str, list[tuple[Box, int, State, float]]] = field(default_factory=dict)

    def looked(self, key: str) -> None:
        """Say that the image was labelled, be it with no box."""
        self._rows.setdefault(key, [])

    def add(self, key: str, box: Box, label: int, state: State = State.KEPT, score: float = 1.0) -> None:
        """Add a box in pixels of the image as displayed."""
        self._rows.setdefault(key, []).append((box, label, state, score))

    def found(self) -> dict[str, tuple[Detections, npt.NDArray[np.int8]]]:
        """Return boxes and their states, by image key."""
        return {
            key: (
                Detections(
                    self.vocabulary,
                    np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4),
                    np.array([row[3] for row in rows], dtype=np.float32),
                    np.array([row[1] for row in rows], dtype=np.int32),
                ),
                np.array([row[2] for row in rows], dtype=np.int8),
            )
            for key, rows in self._rows.items()
        }


@dataclass(frozen=True, eq=False)
class Source:
    """A data set found on the disk; ``root / key`` is an image's file.

    Attributes:
        where: what the set is called in messages.
        root: the folder the keys count from.
        keys: distinct image names in a fixed order.
        vocabulary: the set's class names; empty where it has no labels or nobody wanted them.
        truth: reads the labels of the images given; None where the set has no labels or nobody wanted them.
    """

    where: str
    root: Path
    keys: tuple[str, ...]
    vocabulary: Vocabulary = ()
    truth: Callable[[Sequence[ImageRecord]], Truth] | None = None


def distinct(names: Sequence[str], where: str) -> Vocabulary:
    """Return class names as a vocabulary.

    Raises:
        DataError: a name stands there twice.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: expected every class name once; found {twice} more than once. Rename them.")
    return tuple(names)


def missing_split(where: str, wanted: Iterable[str], existing: Sequence[str]) -> DataError:
    """Return the error for splits that the set does not have."""
    there = f"it has {list(existing)}" if existing else "it has no splits"
    return DataError(f"{where}: expected the split(s) {sorted(wanted)}; {there}. Correct 'split' or leave it out.")


def cut(box: Box, width: int, height: int) -> Box | None:
    """Return the box cut to the image; None where nothing is left of it in float32, as tables hold it."""
    x1, y1, x2, y2 = box
    x1, x2 = min(max(x1, 0.0), float(width)), min(max(x2, 0.0), float(width))
    y1, y2 = min(max(y1, 0.0), float(height)), min(max(y2, 0.0), float(height))
    thin = min(x2 - x1, y2 - y1)
    if thin <= 0 or (thin < _THIN and not (np.float32(x2) > np.float32(x1) and np.float32(y2) > np.float32(y1))):
        return None
    return x1, y1, x2, y2
