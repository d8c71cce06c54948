"""Render a labelled data set of one laboratory and write it in YOLO's layout.

Each picture has its own random generator, seeded by laboratory, split, seed and index, so that a picture is the same
however many are asked for, and no two splits share one. This module must not know what the data are for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from da_kd.demo.cells import CLASSES, Specimen, layout, paint
from da_kd.demo.optics import LABORATORIES, develop
from da_kd.errors import InputError
from da_kd.events import Job

Lab = Literal["lab_a", "lab_b"]
SMALLEST_SIZE = 64
MOST_PICTURES = 10_000  # four digits in a file name


def render_set(
    lab: Lab, split: str, count: int, seed: int, folder: Path, job: Job | None = None, size: int = 192
) -> None:
    """Write ``count`` labelled pictures: ``data.yaml``, ``images/<split>/0000.jpg``, ``labels/<split>/0000.txt``.

    The same arguments give the same bytes. A second split may be written into the same folder; ``data.yaml`` then
    names both.

    Args:
        lab: ``"lab_a"`` or ``"lab_b"``.
        split: name of the split, also of its folders.
        count: number of pictures, 1 to 10000.
        seed: 0 or more.
        folder: an existing or new folder.
        job: receives progress and is asked whether to stop.
        size: side of the square pictures in pixels, 64 or more; the field of view stays the same.

    Raises:
        InputError: an argument is outside its range.
    """
    _check(lab, split, count, seed, size)
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    quality = LABORATORIES[lab].quality
    for index in (job or Job()).track(range(count), f"render {lab} {split}", unit="images"):
        picture, specimen = render_picture(lab, split, seed, index, size)
        Image.fromarray(picture).save(images / f"{index:04d}.jpg", quality=quality, subsampling=0)
        (labels / f"{index:04d}.txt").write_text(label_lines(specimen, size), encoding="utf-8")
    _name_split(folder / "data.yaml", split)


def render_picture(lab: Lab, split: str, seed: int, index: int, size: int = 192) -> tuple[NDArray[np.uint8], Specimen]:
    """Return one picture, sRGB of shape ``(size, size, 3)``, and the specimen it shows."""
    rng = generator(lab, split, seed, index)
    laboratory = LABORATORIES[lab]
    specimen = paint(layout(laboratory.field_um, rng), size, laboratory.field_um / size)
    return develop(specimen.stains, laboratory, rng), specimen


def generator(lab: Lab, split: str, seed: int, index: int) -> np.random.Generator:
    """Return the random generator of one picture; it depends on nothing else."""
    digest = hashlib.sha256(f"{lab}/{split}/{seed}/{index}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def label_lines(specimen: Specimen, size: int) -> str:
    """Return YOLO's lines, ``class x y width height`` with the box as shares of the picture's side."""
    lines = []
    for (x1, y1, x2, y2), kind in zip(specimen.boxes / size, specimen.classes, strict=True):
        lines.append(f"{kind} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}\n")
    return "".join(lines)


def _check(lab: str, split: str, count: int, seed: int, size: int) -> None:
    if lab not in LABORATORIES:
        raise InputError(f"The demo has the laboratories {', '.join(LABORATORIES)}, not {lab!r}; choose one of them.")
    if split == "names" or not split.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"A split is named with letters, digits, - and _, not {split!r}; take train, val or test.")
    if not 1 <= count <= MOST_PICTURES:
        raise InputError(f"A demo set has 1 to {MOST_PICTURES} images, not {count}; ask for a number in that range.")
    if seed < 0:
        raise InputError(f"A seed is 0 or more, not {seed}; give another one.")
    if size < SMALLEST_SIZE:
        raise InputError(f"A demo image is at least {SMALLEST_SIZE} pixels wide, not {size}; ask for a larger one.")


def _name_split(path: Path, split: str) -> None:
    """Write or extend ``data.yaml``."""
    known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    splits = {key: value for key, value in known.items() if key != "names"}
    splits[split] = f"images/{split}"
    content = {**splits, "names": dict(enumerate(CLASSES))}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
