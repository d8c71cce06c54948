"""Shows the labelled source images in the colours of target images, so that a teacher has met the target's look.

A copy keeps the boxes of its original; nothing of the target goes in but the colours of single images. Which image
lends its colours, and how a copy is stretched and turned, depends on the seed, the original's content and the copy's
number. Must not know who learns from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from da_kd.data import ImageSet, ScanCache, joined, read_image, scan, spread
from da_kd.data.colours import Colours, colours_of, recoloured
from da_kd.detections import BoolArray, DetectionTable, ImageRecord, read_table, stack
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.files import whole
from da_kd.recipe import Restyle

_LENDERS = 1000  # target images whose colours are measured; more are much like these
_TABLE, _IMAGES = "restyled.parquet", "images"
_QUALITY = 95  # of the JPEG files
_CHUNK = 32  # images between two looks at the stop button


T = TypeVar("T")
R = TypeVar("R")


class _Copy(NamedTuple):
    """A copy to make.

    Attributes:
        original: of which image.
        key: its name.
        lender: whose colours it gets.
        turned: it is turned clockwise by a right angle.
        size: its width and height in pixels.
    """

    original: int
    key: str
    lender: int
    turned: bool
    size: tuple[int, int]


def restyle(source: ImageSet, target: ImageSet, config: Restyle, seed: int, out: Path, job: Job) -> None:
    """Write recoloured copies of the source images, and the table of their boxes, into ``out``.

    A copy that is there already is not made again.

    Args:
        source: labelled images; those that cannot be read are left out.
        target: the images that lend their colours.
        config: how many copies of each, how far they are stretched, and whether some are turned.
        seed: what draws the lenders.
        out: the output folder.
        job: where progress goes.

    Raises:
        DataError: no target image can be read.
    """
    source, target = source.usable(), spread(target, _LENDERS)
    if not len(target):
        raise DataError("Expected target images to take colours from; none can be read. Check 'data.target'.")
    copies = _copies(source, len(target), config, seed)
    lent = _in_threads(lambda index: colours_of(read_image(target.path(index))), range(len(target)), "colours", job)
    _in_threads(lambda copy: _write(source, copy, lent[copy.lender], out / _IMAGES), copies, "recolour", job)
    _keep_table(source, copies, out, job)
    job.note(f"{len(source)} source images have {len(copies)} copies in the colours of {len(target)} target images.")


def with_restyled(source: ImageSet, out: Path) -> ImageSet:
    """Return the readable source images followed by the copies that :func:`restyle` wrote into ``out``."""
    copies = ImageSet(out / _IMAGES, read_table(out / _TABLE))
    return joined([source.usable(), copies])


def _copies(source: ImageSet, lenders: int, config: Restyle, seed: int) -> list[_Copy]:
    """Return the copies to make: first one of every image, then a second of every image, and so on.

    No target image lends its colours to two copies of one image while there are others.
    """
    made: list[list[_Copy]] = [[] for _ in range(config.copies)]
    for original, sha in enumerate(source.table.sha):
        chance = np.random.default_rng([seed, *bytes.fromhex(sha)])
        drawn = np.concatenate([chance.permutation(lenders) for _ in range(-(-config.copies // lenders))])
        wider = (1 + config.stretch) ** chance.uniform(-0.5, 0.5, config.copies)
        turned = chance.integers(0, 2, config.copies) * config.turn
        for number in range(config.copies):
            own = source.table.size[original][::-1] if turned[number] else source.table.size[original]
            wide, high = np.rint(own * [wider[number], 1 / wider[number]]).astype(int).clip(1).tolist()
            key = f"{number}/{original:07d}.jpg"
            made[number].append(_Copy(original, key, int(drawn[number]), bool(turned[number]), (wide, high)))
    return [copy for turn in made for copy in turn]


def _in_threads(act: Callable[[T], R], items: Sequence[T], task: str, job: Job) -> list[R]:
    """Return what a function makes of every item, a chunk at a time, so that a stop is heard."""
    made: list[R] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), _CHUNK):
            job.check()
            job.progress(task, start, len(items), "images")
            made += pool.map(act, items[start : start + _CHUNK])
    job.progress(task, len(items), len(items), "images")
    return made


def _write(source: ImageSet, copy: _Copy, colours: Colours, folder: Path) -> None:
    from PIL import Image

    path = folder / copy.key
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(recoloured(read_image(source.path(copy.original)), colours))
    made = made.transpose(Image.Transpose.ROTATE_270) if copy.turned else made  # counter-clockwise, in Pillow's words
    made = made.resize(copy.size, Image.Resampling.BICUBIC) if made.size != copy.size else made
    with whole(path) as temporary:
        made.save(temporary, "JPEG", quality=_QUALITY, subsampling=0)


def _keep_table(source: ImageSet, copies: list[_Copy], out: Path, job: Job) -> None:
    """Write the table of the copies: the boxes of their originals, turned and stretched with them, under own names."""
    records = scan(out / _IMAGES, [copy.key for copy in copies], ScanCache(None), job=job)
    parts = []
    for start in range(0, len(copies), len(source)):
        some = slice(start, start + len(source))
        turned = _turned(source.table, np.array([copy.turned for copy in copies[some]], bool))
        parts.append(_renamed(turned, records[some]))
    stack(parts).write(out / _TABLE)


def _turned(table: DetectionTable, which: BoolArray) -> DetectionTable:
    """Return the table with some of its images, (I,) bool, turned clockwise by a right angle."""
    size, rows = table.size.copy(), which[table.image_index]
    size[which] = size[which][:, ::-1]
    left, top, right, bottom = table.xyxy[rows].T
    high = table.size[table.image_index[rows], 1].astype(np.float32)
    xyxy = table.xyxy.copy()
    xyxy[rows] = np.stack([high - bottom, left, high - top, right], axis=1)
    return dataclasses.replace(table, size=size, xyxy=xyxy)


def _renamed(table: DetectionTable, records: Sequence[ImageRecord]) -> DetectionTable:
    size = np.array([(record.width, record.height) for record in records], np.int32)
    by = (size / table.size)[table.image_index].astype(np.float32)
    return dataclasses.replace(
        table,
        key=tuple(record.key for record in records),
        sha=tuple(record.sha for record in records),
        size=size,
        xyxy=table.xyxy * np.hstack([by, by]),
    )
