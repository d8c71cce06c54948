"""Simulated fog, darkness, noise, blur and JPEG: copies of images whose boxes stay where they are.

Noise, blur, fog and JPEG have the formulas and, as strengths 1, 2 and 3, the severities 1, 3 and 5 of ImageNet-C
(Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*, 2019),
which Michaelis et al. (2019) carried over to detection. Darkness is not among theirs: it is a short exposure, with the
noise of a sensor. Fog knows no depth, so it lies as thick on what is near. The same image is damaged alike each time.

Knows pixels and image sets; must not know where copies are kept, nor recipes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from da_kd.data.images import RgbImage, read_image
from da_kd.data.imageset import ImageSet
from da_kd.data.scan import ScanCache, scan
from da_kd.events import Job
from da_kd.files import whole

if TYPE_CHECKING:
    from da_kd.recipe import Corrupt

Floats = npt.NDArray[np.float32]

# One row a strength.
NOISE = (0.08, 0.18, 0.38)  # standard deviation, of pixels in 0..1
BLUR = ((3, 0.1, 3), (6, 0.5, 3), (10, 0.5, 5))  # radius of the disk in pixels; sigma and width of what softens its rim
FOG = ((1.5, 2.0), (2.5, 1.7), (3.0, 1.4))  # how thick; how much smoother each finer scale is
DARKNESS = (0.2, 0.06, 0.02)  # share of the light that is left
JPEG = (25, 15, 7)  # quality, as libjpeg counts
_WHITE, _READ = 4000.0, 4.0  # electrons: of a white pixel in full light; of the noise of reading it
_GAMMA = 2.2
_PNG_EFFORT = 1  # of 9; the files are for a machine


def corrupted(pixels: RgbImage, corrupt: Corrupt, sha: str) -> bytes:
    """Return the file of a damaged copy: PNG, which adds no damage of its own, or the JPEG itself.

    Args:
        pixels: (H, W, 3) sRGB.
        corrupt: which damage, and how much.
        sha: hash of the image's file; what is drawn at random depends on it, and is alike at any strength.
    """
    level = corrupt.strength - 1
    if corrupt.by == "jpeg":
        return _encoded(pixels, "JPEG", quality=JPEG[level])
    digest = hashlib.blake2b(f"{corrupt.by}\n{corrupt.seed}\n{sha}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    light: Floats = pixels.astype(np.float32) / np.float32(255)
    light = _KINDS[corrupt.by](light, level, rng)
    return _encoded(np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8), "PNG", compress_level=_PNG_EFFORT)


def write_corrupted(images: ImageSet, corrupt: Corrupt, out: Path, job: Job) -> None:
    """Write a damaged copy of every readable image into ``out``, under the name of :func:`corrupted_set`.

    Copies that are whole already stay.

    Raises:
        Cancelled: a person asked to stop.
    """
    good = np.flatnonzero(images.table.ok).tolist()
    for index in job.track(good, f"{corrupt.by} {corrupt.strength}", unit="images"):
        path = out / _name(images.table.key[index], corrupt.by)
        if not path.is_file():
            data = corrupted(read_image(images.path(index)), corrupt, images.table.sha[index])
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as temporary:
                temporary.write_bytes(data)


def corrupted_set(images: ImageSet, corrupt: Corrupt, folder: Path, cache: ScanCache, job: Job) -> ImageSet:
    """Return the damaged copies in ``folder`` with the boxes of the images they are of; what is unreadable stays so."""
    table = images.table
    keys = [_name(key, corrupt.by) for key in table.key]
    good = [key for key, fine in zip(keys, table.ok.tolist(), strict=True) if fine]
    found = {record.key: record.sha for record in scan(folder, good, cache, job=job)}
    shas = tuple(found.get(key, sha) for key, sha in zip(keys, table.sha, strict=True))
    return ImageSet(folder, dataclasses.replace(table, key=tuple(keys), sha=shas))


def _name(key: str, by: str) -> str:
    """Return what the copy of an image is called; the whole name stays, since a.jpg and a.png are two images."""
    return f"{key}.{'jpg' if by == 'jpeg' else 'png'}"


def _noise(light: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Return white Gaussian noise on top."""
    return light + np.float32(NOISE[level]) * rng.standard_normal(light.shape, dtype=np.float32)


def _blur(light: Floats, level: int, _: np.random.Generator) -> Floats:
    """Return the image out of focus: every point becomes a disk."""
    import cv2

    radius, sigma, width = BLUR[level]
    reach = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (np.add.outer(reach**2, reach**2) <= radius**2).astype(np.float32)
    disk = cv2.GaussianBlur(disk / disk.sum(), (width, width), sigmaX=sigma)
    blurred: Floats = cv2.filter2D(light, -1, disk)
    return blurred


def _fog(light: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Return the image behind clouds, as bright at its brightest as it was."""
    thick, decay = FOG[level]
    most = light.max()
    clouds = _plasma(max(light.shape[:2]), decay, rng)[: light.shape[0], : light.shape[1], None]
    hidden: Floats = (light + np.float32(thick) * clouds) * (most / (most + np.float32(thick)))
    return hidden


def _darkness(light: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Return a short exposure: less light, counted electron by electron, and the noise of reading them."""
    electrons = rng.poisson(light.astype(np.float64) ** _GAMMA * (_WHITE * DARKNESS[level])).astype(np.float32)
    electrons += np.float32(_READ) * rng.standard_normal(light.shape, dtype=np.float32)
    dark: Floats = np.clip(electrons / np.float32(_WHITE), 0, 1) ** np.float32(1 / _GAMMA)
    return dark


_KINDS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "noise": _noise,
    "blur": _blur,
    "fog": _fog,
    "darkness": _darkness,
}


def _plasma(size: int, decay: float, rng: np.random.Generator) -> Floats:
    """Return clouds in 0..1, square and periodic: the diamond-square algorithm (Fournier, Fussell, Carpenter 1982).

    Args:
        size: least side in pixels; the next power of two is taken.
        decay: the square root of what the roughness is divided by from one scale to the next finer one.
        rng: draws the heights.
    """
    side = 1 << max(1, (size - 1).bit_length())
    heights: Any = np.zeros((side, side))
    step, rough = side, 100.0**2  # the published code squares its roughness
    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        both = corners + np.roll(corners, -1, 0)
        centres = (both + np.roll(both, -1, 1)) / 4 + rough * rng.uniform(-1, 1, corners.shape)
        heights[half::step, half::step] = centres
        across = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 0)
        heights[::step, half::step] = across / 4 + rough * rng.uniform(-1, 1, corners.shape)
        down = corners + np.roll(corners, -1, 0) + centres + np.roll(centres, 1, 1)
        heights[half::step, ::step] = down / 4 + rough * rng.uniform(-1, 1, corners.shape)
        step, rough = half, rough / decay**2
    heights -= heights.min()
    clouds: Floats = (heights / heights.max()).astype(np.float32)
    return clouds


def _encoded(pixels: RgbImage, kind: str, **options: int) -> bytes:
    """Return an image as the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()
