"""Images on the disk become arrays, and what is wrong with a file becomes a short reason.

Pixels are always 8-bit RGB in the orientation in which people see the image. Knows Pillow; must not know data sets,
labels or detections.
"""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from da_kd.errors import DataError

RgbImage = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"})

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")  # JPEG also opens MPO
_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_MAX_16_BIT = 65535


class Probe(NamedTuple):
    """What one look at an image file told.

    Attributes:
        sha: hash of the file's bytes, 32 hex digits; "" where they could not be read, or for what may pass (no right to
            open the file, too little memory): then nothing is known of the content.
        width: pixels, as displayed (EXIF orientation applied); 0 where unknown.
        height: likewise.
        reason: "" for a usable image, else why it is not, e.g. "truncated".
    """

    sha: str
    width: int
    height: int
    reason: str


class _UnusableError(Exception):
    """Carries the short reason why a file is no usable image."""


class _NoMemoryError(_UnusableError):
    """There was too little memory to look at the file, which says nothing about it."""

    def __init__(self) -> None:
        super().__init__("too little memory to read it")


def read_image(path: Path) -> RgbImage:
    """Return the image as an (H, W, 3) uint8 RGB array, as displayed (EXIF orientation applied).

    The whole file is decoded, so a truncated one is found. Gray images of 16 bits are scaled by their full range
    (65535 becomes 255); an alpha channel is left out and the colours under it are kept; of an animation the first frame
    is taken.

    Raises:
        DataError: the file is missing, empty, truncated, not an image, or of pixels that have no 8-bit meaning.
    """
    try:
        with _open(_read_bytes(path)) as image:
            return _decode(image)
    except _UnusableError as problem:
        raise DataError(f"Expected an image at {path}; found: {problem}. Replace the file or take it out.") from problem


def read_gray(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the image shrunk to (height, width) uint8 gray values, upright; a JPEG is decoded no finer than needed.

    Raises:
        DataError: as :func:`read_image`.
    """
    try:
        with _open(_read_bytes(path)) as image:
            image.draft(image.mode, (8 * width, 8 * height))
            small = Image.fromarray(_decode(image)).convert("L").resize((width, height), Image.Resampling.BOX)
            return np.array(small, dtype=np.uint8)
    except _UnusableError as problem:
        raise DataError(f"Expected an image at {path}; found: {problem}. Replace the file or take it out.") from problem


def probe(path: Path, *, verify: bool = True) -> Probe:
    """Look at an image file without keeping its pixels; never raises for a bad file.

    Args:
        path: the file.
        verify: decode all of it, so that truncated files are found; else only its header is read.
    """
    sha, size = "", (0, 0)
    try:
        data = _read_bytes(path)
        sha = hashlib.blake2b(data, digest_size=16).hexdigest()
        with _open(data) as image:
            size = _displayed_size(image, data)
            if verify:
                _load(image)
                _check_mode(image)
    except _UnusableError as problem:
        return Probe("" if isinstance(problem, _NoMemoryError) else sha, 0, 0, str(problem))
    return Probe(sha, *size, "")


def _read_bytes(path: Path) -> bytes:
    """Return the file's bytes, at least one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _UnusableError("missing file") from error
    except MemoryError as error:
        raise _NoMemoryError from error
    except OSError as error:
        raise _UnusableError(f"cannot be opened ({error.strerror or error})") from error
    if not data:
        raise _UnusableError("empty file")
    return data


def _open(data: bytes) -> Image.Image:
    """Read the header.

    Goes to Pillow's decoders directly: ``Image.open`` is replaced by other libraries in the same process, and then
    installs packages when it meets a file that is no image.
    """
    Image.init()
    for name in _FORMATS:
        decoder, accepts = Image.OPEN[name]
        if accepts is None or accepts(data[:16]) is not True:
            continue
        try:
            image = decoder(io.BytesIO(data), "")
        except Exception as error:  # a decoder may raise anything on bad bytes
            raise _why(error) from error
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > 2 * limit:
            raise _UnusableError(f"{image.width}x{image.height} pixels are too many")
        return image
    raise _UnusableError("not an image")


def _load(image: Image.Image) -> None:
    """Decode the whole file; a JPEG at an eighth of its size where the caller only wants to know whether it can be."""
    try:
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    except Exception as error:
        raise _why(error) from error


def _why(error: Exception) -> _UnusableError:
    """Return the reason for what a decoder said."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return _NoMemoryError()
    if isinstance(error, EOFError | IndexError | struct.error) or "truncated" in text.lower():
        return _UnusableError("truncated")
    return _UnusableError(f"damaged ({text})" if text else "damaged")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata are no reason to refuse the pixels
        return 1


def _displayed_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Return width and height after EXIF orientation, from the header where the format allows it."""
    if image.format == "PNG" and not any(mark in data for mark in (b"eXIf", b"exif", b"Orientation")):
        return image.size  # asking a PNG for EXIF would decode all of it
    sideways = _orientation(image) in _SIDEWAYS
    if image.format == "TIFF":
        if sideways:
            _load(image)  # turns it
        return image.size
    return (image.height, image.width) if sideways else image.size


def _check_mode(image: Image.Image) -> None:
    """Refuse pixels that have no 8-bit meaning."""
    if image.mode == "F":
        raise _UnusableError("pixels are floating-point numbers of unknown range")
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > _MAX_16_BIT:  # type: ignore[operator]
            raise _UnusableError("pixels are 32-bit numbers of unknown range")
    if image.mode == "LAB":
        raise _UnusableError("pixels are in the LAB colour space")


def _decode(image: Image.Image) -> RgbImage:
    """Return all pixels, upright, as RGB."""
    try:
        image.load()
    except Exception as error:
        raise _why(error) from error
    _check_mode(image)
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith("I"):
        gray = np.asarray(image).astype(np.uint32)
        eight = ((gray * 255 + _MAX_16_BIT // 2) // _MAX_16_BIT).astype(np.uint8)
        rgb = Image.fromarray(np.repeat(eight[:, :, None], 3, axis=2))
    elif image.mode in ("P", "PA", "RGBa", "La"):
        rgb = image.convert("RGBA").convert("RGB")
    else:
        rgb = image.convert("RGB")
    if turn is not None:
        rgb = rgb.transpose(turn)
    return np.array(rgb, dtype=np.uint8)
