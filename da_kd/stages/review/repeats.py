"""Which images look alike, and which of those that look nearly the same stays. Pure; knows hashes and ranks only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.data.similar import MOST, Hashes, alike
from da_kd.detections import BoolArray

REPEAT_BITS = 3  # images whose hashes differ in no more bits show nearly the same


@dataclass(frozen=True, eq=False)
class Looks:
    """P pairs of I images that look alike; of images with equal hashes, each stands with the first of them alone.

    Attributes:
        images: I.
        first: (P,) int64 image positions.
        second: (P,) int64 image positions, behind the first.
        bits: (P,) int64, in how many bits their hashes differ.
    """

    images: int
    first: IntArray
    second: IntArray
    bits: IntArray


def looks_of(hashes: Hashes | None, compared: BoolArray) -> Looks:
    """Return the pairs among the images that are compared.

    Args:
        hashes: (I,) perceptual hashes; None where no image is like another.
        compared: (I,) whether the hash of an image is known; those of the others are not looked at.
    """
    rows = np.flatnonzero(compared if hashes is not None else np.zeros(0, bool))
    first, second, bits = alike(np.zeros(0, np.uint64) if hashes is None else hashes[rows], MOST)
    return Looks(len(compared), rows[first], rows[second], bits)


def repeats(looks: Looks, worth: npt.ArrayLike, before: npt.ArrayLike | None = None) -> IntArray:
    """Return (I,) which image each one nearly repeats, -1 for none.

    Images are gone through from the first to the last, and each repeats the best one before it that is like it and
    repeats none itself. Equal hashes are one look: all but the best of them repeat what the best repeats, or itself.

    Args:
        looks: the pairs.
        worth: (I,) of two images that look nearly the same, the one worth more goes first.
        before: (I,) numbers; one with a greater number goes before others, whatever they are worth.
    """
    keys = (np.arange(looks.images), -np.asarray(worth), 0 if before is None else -np.asarray(before))
    rank = np.empty(looks.images, np.int64)
    rank[np.lexsort(np.broadcast_arrays(*keys))] = np.arange(looks.images)
    head = np.arange(looks.images)
    same = looks.bits == 0
    head[looks.second[same]] = looks.first[same]
    best = np.full(looks.images, looks.images, np.int64)  # the best rank of each look, where its head stands
    np.minimum.at(best, head, rank)
    leader = np.argsort(rank)[best[head]]  # of each image, the best of its look
    near = (looks.bits <= REPEAT_BITS) & ~same
    one, other = leader[looks.first[near]], leader[looks.second[near]]
    behind = rank[one] > rank[other]
    early, late = np.where(behind, other, one), np.where(behind, one, other)
    found: IntArray = np.full(looks.images, -1, np.int64)
    for at in np.lexsort((rank[early], rank[late])).tolist():
        if found[late[at]] < 0 and found[early[at]] < 0:
            found[late[at]] = early[at]
    own = leader == np.arange(looks.images)
    return np.where(own, found, np.where(found[leader] >= 0, found[leader], leader))
