"""Images of the test set that look like an image that something was learned from: looked for, counted, reported.

Knows image sets and their perceptual hashes; must not know rows or tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from da_kd.bench.cells import Cell
from da_kd.data import ImageSet
from da_kd.data.similar import Hashes, alike, image_hashes
from da_kd.events import Job
from da_kd.hashing import hash_json

BITS = 4  # of 64 that may differ; frames of a quiet camera differ in fewer, unrelated pictures in about 32
_EXAMPLES = 3


def near_duplicates(cells: Sequence[Cell], job: Job) -> list[dict[str, Any]]:
    """Return, for each set of the recipes, how many test images have a look-alike in it; sets without one count too.

    Returns:
        One object a set: ``set``, ``images`` of it, ``test`` (images of the test set), ``alike`` (how many of these
        have a look-alike) and up to three ``examples`` (``[test image, look-alike, differing bits]``).
    """
    known: dict[str, Hashes] = {}
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        sets = cell.inputs.sets
        for name, images in sets.items():
            if name == "test":
                continue
            key = f"{name} {_content(images)} {_content(sets['test'])}"
            if key not in found:
                hashes = [_hashes(one, known, job) for one in (sets["test"], images)]
                found[key] = {"set": f"data.{name}", **_between(sets["test"], images, hashes)}
    return list(found.values())


def _content(images: ImageSet) -> str:
    """Return a hash of the images alone; rows may have other classes."""
    return hash_json([images.table.key, images.table.sha])


def _hashes(images: ImageSet, known: dict[str, Hashes], job: Job) -> Hashes:
    key = _content(images)
    if key not in known:
        known[key] = image_hashes(images, job.named("bench"))
    return known[key]


def _between(test: ImageSet, images: ImageSet, hashes: Sequence[Hashes]) -> Mapping[str, Any]:
    """Return the pairs with one image in each set, in figures."""
    first, second, bits = alike(np.concatenate(hashes), BITS)
    across = (first < len(test)) & (second >= len(test))
    first, second, bits = first[across], second[across] - len(test), bits[across]
    order = np.argsort(bits, kind="stable")[:_EXAMPLES].tolist()
    return {
        "images": len(images),
        "test": len(test),
        "alike": len(np.unique(first)),
        "examples": [[test.table.key[first[i]], images.table.key[second[i]], int(bits[i])] for i in order],
    }
