"""Which images of a set look alike: a perceptual hash of each, and the pairs whose hashes differ in few bits.

The hash is dHash: of the image shrunk to 9 x 8 gray values, whether each is brighter than the one to its right. Two
frames of a quiet camera differ in a few of the 64 bits, two unrelated pictures in about 32. Must not know detections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.data.images import read_gray
from da_kd.data.imageset import ImageSet
from da_kd.errors import DataError
from da_kd.events import Job

Hashes = npt.NDArray[np.uint64]

MOST = 7  # bits; with one bit more, two of four bands of 16 bits may differ in two each, and no probe would meet
_SIDE = 8  # the hash has 8 rows of 8 bits
_BAND = 16  # bits
_CROWD = 64  # rows of one band that a row is compared with at most
_THREADS = 4
_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)  # of a byte


def image_hash(path: Path) -> int:
    """Return the 64-bit dHash of an image, as displayed.

    Raises:
        DataError: the file is no usable image.
    """
    gray = read_gray(path, _SIDE + 1, _SIDE)
    return int.from_bytes(np.packbits(gray[:, :-1] > gray[:, 1:]).tobytes(), "big")


def image_hashes(images: ImageSet, job: Job) -> Hashes:
    """Return the (I,) uint64 dHash of every image; one that cannot be read gets random bits, so that it is like none.

    Raises:
        Cancelled: a person stopped the job.
    """
    hashes = np.array([_random_bits(key) for key in images.table.key], np.uint64)
    usable = np.flatnonzero(images.table.ok).tolist()
    with ThreadPoolExecutor(_THREADS) as threads:
        values = threads.map(lambda index: _hash(images.path(index), images.table.key[index]), usable)
        for done, (index, value) in enumerate(zip(usable, values, strict=True)):
            hashes[index] = value
            if done % 256 == 0:
                job.check()
                job.progress("comparing images", done, len(usable), "images")
    return hashes


def alike(hashes: Hashes, most: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return the pairs of rows whose hashes differ in at most ``most`` bits: first, second and bits, first < second.

    Hashes that differ in up to 7 bits have one of four bands of 16 bits in which they differ in one bit at most. So
    every band is looked up with each of its bits flipped, and few pairs are ever compared. Equal hashes count as one
    until the end, each row being paired with the first of its kind only, so that a set of equal pictures costs nothing.
    Where very many images share a band, some pairs may be missed (see :func:`_candidates`).

    Raises:
        DataError: ``most`` lies outside 0 to 7.
    """
    if not 0 <= most <= MOST:
        raise DataError(f"Expected 0 to {MOST} differing bits to look for alike images; found {most}.")
    kinds, first_row, kind = np.unique(hashes, return_index=True, return_inverse=True)
    found = [np.stack([first_row[kind], np.arange(len(hashes)), np.zeros(len(hashes), np.int64)])]
    for one, other in _candidates(kinds, flip=most >= 64 // _BAND):
        bits = _distance(kinds[one], kinds[other])
        near = np.flatnonzero(bits <= most)
        found.append(np.stack([first_row[one[near]], first_row[other[near]], bits[near]]))
    first, second, bits = np.concatenate(found, axis=1)
    first, second = np.minimum(first, second), np.maximum(first, second)
    _, once = np.unique(first * len(hashes) + second, return_index=True)
    once = once[first[once] < second[once]]
    return first[once], second[once], bits[once]


def _hash(path: Path, key: str) -> int:
    try:
        return image_hash(path)
    except DataError:  # gone or damaged since the set was read
        return _random_bits(key)


def _random_bits(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


def _candidates(kinds: Hashes, *, flip: bool) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield pairs of rows with a band that is equal, or, where bits are flipped, that differs in one bit.

    Of a band that more than 64 rows share (many nearly plain pictures do), each row gets those 64 that come nearest in
    the order of the bits that follow, so that the work stays in proportion to the rows.
    """
    masks = [0, *(1 << bit for bit in range(64 - _BAND, 64))] if flip else [0]
    rest = np.uint64((1 << (64 - _BAND)) - 1)
    for turn in range(0, 64, _BAND):
        turned = (kinds << np.uint64(turn)) | (kinds >> np.uint64(64 - turn) if turn else np.uint64(0))
        order = np.argsort(turned)
        ordered = turned[order]
        for mask in masks:
            wanted = ordered ^ np.uint64(mask)  # of every row, in an order that is kind to the cache
            low = np.searchsorted(ordered, wanted & ~rest, "left")
            count = np.searchsorted(ordered, wanted | rest, "right") - low
            crowded = count > _CROWD
            nearest = np.searchsorted(ordered, wanted[crowded]) - _CROWD // 2
            low[crowded] = np.clip(nearest, low[crowded], (low + count)[crowded] - _CROWD)
            count[crowded] = _CROWD
            one = np.repeat(order, count)
            other = order[np.repeat(low - np.cumsum(count) + count, count) + np.arange(len(one))]
            use = one < other
            yield one[use], other[use]


def _distance(a: Hashes, b: Hashes) -> IntArray:
    """Return in how many bits the hashes differ, pair by pair."""
    differ = np.ascontiguousarray(a ^ b).view(np.uint8).reshape(len(a), 8)
    bits: IntArray = _BITS[differ].sum(axis=1, dtype=np.int64)
    return bits
