"""Class maps: a teacher's class names to the recipe's, checked before anything is merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import yaml

from da_kd.boxes import IntArray
from da_kd.data.aliases import nearest, same_meaning
from da_kd.data.classes import REST, Target, map_classes, names_of
from da_kd.detections import BoolArray, Detections, Vocabulary
from da_kd.errors import DataError
from da_kd.merging.lockstep import Rows, homes
from da_kd.merging.pairs import Doubles

_JOIN = 0.7  # overlap from which two boxes of one teacher are one object after its classes were joined


@dataclass(frozen=True)
class ClassMap:
    """Where each class of one teacher goes.

    Attributes:
        source: the teacher's vocabulary.
        target: the recipe's classes.
        index: for each source class the target's index, or -1 for none or several.
        coarse: for each source class that may be one of several of the target's, the indices of these; else nothing.
    """

    source: Vocabulary
    target: Vocabulary
    index: tuple[int, ...]
    coarse: tuple[tuple[int, ...], ...]

    @property
    def able(self) -> tuple[bool, ...]:
        """For each target class, whether the teacher can see it and tell it from the others."""
        return tuple(position in self.index for position in range(len(self.target)))

    @property
    def searched(self) -> tuple[bool, ...]:
        """For each target class, whether the teacher's silence means that there is none of it.

        Who sees vehicles, and saw none, has ruled out cars and trucks, though it cannot tell one from the other.
        """
        unclear = {position for positions in self.coarse for position in positions}
        return tuple(able or position in unclear for position, able in enumerate(self.able))

    @property
    def may_be(self) -> BoolArray:
        """(S, C) bool: of which target classes a box of each source class may be, where these are several."""
        may = np.zeros((len(self.source), len(self.target)), bool)
        for row, positions in enumerate(self.coarse):
            may[row, list(positions)] = True
        return may

    @property
    def left_out(self) -> Vocabulary:
        """The source classes that go nowhere."""
        parts = zip(self.source, self.index, self.coarse, strict=True)
        return tuple(name for name, position, several in parts if position < 0 and not several)

    @property
    def joined(self) -> tuple[bool, ...]:
        """For each target class, whether several of the teacher's go into it."""
        return tuple(self.index.count(position) > 1 for position in range(len(self.target)))

    def apply(self, found: Detections) -> Detections:
        """Return one image's boxes in the target's vocabulary; where classes were joined, duplicates are suppressed."""
        image = np.zeros(len(found), np.int64)
        rows, label = self.map_rows(found.xyxy.astype(np.float64), found.score.astype(np.float64), found.label, image)
        return Detections(self.target, found.xyxy[rows], found.score[rows], label.astype(np.int32))

    def map_rows(
        self, xyxy: Doubles, score: Doubles, label: npt.NDArray[np.integer], image: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Map N boxes of many images at once; of two that joined classes made one object, the lower one goes.

        Args:
            xyxy: (N, 4) boxes.
            score: (N,) scores.
            label: (N,) labels in the source's vocabulary.
            image: (N,) a number for the image each lies in.

        Returns:
            The rows that stay, rising, and their labels in the target's vocabulary.
        """
        target = np.array(self.index, np.int64)[label]
        stays = target >= 0
        joined = np.flatnonzero(stays & np.array([*self.joined, False])[target])
        if len(joined):
            group = image[joined] * len(self.target) + target[joined]
            home, _ = homes(Rows(xyxy[joined], score[joined], group, np.zeros_like(group)), "nms", _JOIN)
            stays[joined] = home == np.arange(len(joined))
        return np.flatnonzero(stays), target[stays]


def class_map(teacher: str, source: Vocabulary, target: Vocabulary, given: Mapping[str, Target]) -> ClassMap:
    """Return the map of one teacher: the names given, and equal names by themselves; other classes go nowhere.

    Raises:
        DataError: ``given`` names a class that the teacher does not have.
    """
    mapping = map_classes(source, {REST: None, **given}, target, f"teachers.{teacher}")
    found = [tuple(target.index(name) for name in names_of(mapping[own])) for own in source]
    index = tuple(positions[0] if len(positions) == 1 else -1 for positions in found)
    return ClassMap(source, target, index, tuple(positions if len(positions) > 1 else () for positions in found))


def check_all_seen(maps: Mapping[str, ClassMap], target: Vocabulary) -> None:
    """Raise when no teacher can see one of the target's classes.

    Raises:
        DataError: names every such class, and the nearest names that teachers know, as lines for the recipe.
    """
    problems = []
    for position, name in enumerate(target):
        if any(item.able[position] for item in maps.values()):
            continue
        if any(item.searched[position] for item in maps.values()):
            problems.append(
                f"No teacher can tell the class '{name}' from others: it is only in lists under teachers.*.classes, "
                f"so no box of it would ever be kept. Add a teacher that can, or leave the class out."
            )
        else:
            problems.append(_unseen(name, maps))
    if problems:
        raise DataError("\n".join(problems))


def hints(maps: Mapping[str, ClassMap]) -> list[str]:
    """Return a sentence for every class that goes nowhere though it means what a class of the recipe does."""
    return [
        f"Teacher '{teacher}': '{name}' goes nowhere; if it is '{alike[0]}', add {_line(teacher, name, alike[0])}"
        for teacher, item in maps.items()
        for name in item.left_out
        if (alike := same_meaning(name, [c for c, able in zip(item.target, item.able, strict=True) if not able]))
    ]


def _unseen(name: str, maps: Mapping[str, ClassMap]) -> str:
    """Return what is wrong where nobody sees a class, and what to write if a class that goes nowhere means it."""
    near = nearest(name, sorted({own for item in maps.values() for own in item.left_out}))
    if near:
        lines = [_line(teacher, own, name) for own in near for teacher, item in maps.items() if own in item.left_out]
        return (
            f"No teacher can see the class '{name}'; near it: {', '.join(near)}. If that is what it is called there, "
            f"add {' or '.join(lines)}; else leave the class out."
        )
    known = sorted({own for item in maps.values() for own in item.source})
    return (
        f"No teacher can see the class '{name}'; they know {_some(known)}; map one of these under "
        f"teachers.<name>.classes, or leave the class out."
    )


def _line(teacher: str, own: str, name: str) -> str:
    """Return a line for the recipe that maps a teacher's class."""
    return f"teachers.{teacher}.classes: {{{_quoted(own)}: {_quoted(name)}}}"


def _quoted(name: str) -> str:
    """Return a class name as YAML takes it."""
    text: str = yaml.safe_dump(name, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _some(names: Sequence[str]) -> str:
    """Return the names as text, the first ten of many."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")  # noqa: PLR2004
