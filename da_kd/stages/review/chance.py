"""How likely a box is right: by its score at first, and by what a person said of boxes like it once they have.

A score of 0.3 may mean one thing for a rare class and another for a frequent one, and on other images than the teacher
learned from nobody knows which. Images that are done tell: boxes of one class, state and range of scores are right as
often as they were there. Which images were done first does not matter to that, as they are chosen by nothing but these
very figures. Pure functions of tables; must not know an order, nor who looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.detections import BoolArray, DetectionTable, State
from da_kd.merging.matching import paired

Doubles = npt.NDArray[np.float64]

_EDGES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85])  # between ranges of scores that are taken for alike
_TRUST = 8.0  # a score counts as much as that many boxes a person has judged
_STATES = (State.KEPT, State.UNCERTAIN, State.DROPPED)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a person said of boxes so far.

    Attributes:
        boxes: (K,) how many boxes of each kind are judged.
        right: (K,) how many of these were right.
        missed: (C,) how many objects an image has that no box shows.
    """

    boxes: Doubles
    right: Doubles
    missed: Doubles


def judged(table: DetectionTable, said: DetectionTable, done: Sequence[int], disputed: BoolArray) -> Judged:
    """Count what a person said of the boxes in images that are done.

    Args:
        table: fused labels of I images with B boxes.
        said: the same images, with what a person decided laid over them.
        done: positions of the images that are labelled completely.
        disputed: (B,) whether a box stands where another says something else.
    """
    shape = (len(table.vocabulary), len(State), len(_EDGES) + 1, 2)
    cell, boxes, hits = _cells(table, disputed), np.zeros(int(np.prod(shape))), np.zeros(int(np.prod(shape)))
    missed = np.zeros(len(table.vocabulary))
    for image in done:
        rows = np.arange(*table.offsets[image : image + 2])
        rows = rows[np.isin(table.state[rows], _STATES)]
        given, objects = table.at(image, _STATES), said.at(image)
        np.add.at(boxes, cell[rows], 1)
        np.add.at(hits, cell[rows], paired(objects, given))
        np.add.at(missed, objects.label[~paired(given, objects)], 1)
    return Judged(boxes, hits, missed / (len(done) + 1))  # one more, so that the first image does not say too much


def chance_right(table: DetectionTable, disputed: BoolArray, known: Judged | None = None) -> Doubles:
    """Return (B,) the chance in [0, 1] that each box meets an object of its own.

    At first a score is taken for it, less where only some of the able teachers saw the box; boxes of the same kind that
    a person has judged then move it, the more the more they are.

    Args:
        table: labels of I images with B boxes.
        disputed: (B,) whether a box stands where another says something else.
        known: what a person said so far.
    """
    first = _by_score(table)
    if known is None:
        return first
    cell = _cells(table, disputed)
    moved: Doubles = (known.right[cell] + _TRUST * first) / (known.boxes[cell] + _TRUST)
    return moved


def _by_score(table: DetectionTable) -> Doubles:
    chance: Doubles = table.score.astype(np.float64) * (1.0 + table.agreement) / 2
    return chance


def _cells(table: DetectionTable, disputed: BoolArray) -> npt.NDArray[np.int64]:
    """Return (B,) which kind of box each is: by class, state, range of the score, and dispute."""
    shape = (len(table.vocabulary), len(State), len(_EDGES) + 1, 2)
    place = (table.label, table.state, np.digitize(_by_score(table), _EDGES), disputed.astype(np.int64))
    cell: npt.NDArray[np.int64] = np.ravel_multi_index(tuple(np.asarray(part, np.int64) for part in place), shape)
    return cell
