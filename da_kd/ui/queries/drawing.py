"""Images with boxes as the pages show them: drawn like the report's, a class in the same colour everywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from da_kd.data import read_image
from da_kd.detections import Detections, State
from da_kd.errors import DataError
from da_kd.palette import colours
from da_kd.stages.report.pictures import draw
from da_kd.stages.report.words import counted
from da_kd.ui.queries.sets import memory

__all__ = ["State", "data_uri", "labelled", "large", "scaled", "small", "thumb", "told"]

SMALL, LARGE, THUMB = (320, 320), (860, 620), (168, 168)  # the most a picture may have, pixels
_DASH = 5  # pixels of a dash, and of the gap after it


def small(path: Path, boxes: Detections, classes: Sequence[str], what: str, scores: bool) -> tuple[str, str, str]:
    """Return a small picture as source, alternative text and caption; where it cannot be read, the caption says why."""
    try:
        pixels, scale = scaled(path, SMALL)
    except DataError as error:
        return "", str(error), str(error)
    picture = draw(pixels, _times(boxes, scale), classes, scores, SMALL)
    return data_uri(picture), f"{what}: {told(boxes)}", f"{path.name}: {counted(len(boxes), 'box', 'boxes')}"


def labelled(path: Path, kept: Detections, unsure: Detections, classes: Sequence[str]) -> tuple[str, str, str]:
    """Return a small picture of pseudo labels: kept boxes drawn, uncertain ones dashed."""
    try:
        pixels, scale = scaled(path, SMALL)
    except DataError as error:
        return "", str(error), str(error)
    picture = draw(pixels, _times(kept, scale), classes, True, SMALL)
    pen, by_name = ImageDraw.Draw(picture), colours(classes)
    for box, label in zip((unsure.xyxy * scale).tolist(), unsure.label.tolist(), strict=True):
        _dashed(pen, box, by_name[unsure.vocabulary[label]], None)
    return (
        data_uri(picture),
        f"{path.name}: kept {told(kept)}, uncertain {told(unsure)}",
        (f"{path.name}: {len(kept)} kept, {len(unsure)} uncertain"),
    )


def large(path: Path, boxes: Detections, missed: Detections, classes: Sequence[str]) -> Image.Image:
    """Return a large picture with its boxes, and dashed frames around objects that were missed.

    Raises:
        DataError: the image cannot be read.
    """
    pixels, scale = scaled(path, LARGE)
    picture = draw(pixels, _times(boxes, scale), classes, True, LARGE)
    pen = ImageDraw.Draw(picture)
    for corners in (missed.xyxy * scale).tolist():
        _dashed(pen, corners)
    return picture


def thumb(path: Path) -> Image.Image:
    """Return a very small picture without boxes, a grey one where the image cannot be read."""
    try:
        return Image.fromarray(scaled(path, THUMB)[0])
    except DataError:
        return Image.new("RGB", THUMB, "#98a1ab")


def scaled(path: Path, most: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Return an image's pixels at the size they are shown at, and its scale; remembered, so that only boxes are drawn.

    Raises:
        DataError: it cannot be read.
    """
    found: tuple[np.ndarray, float] = memory.get(("pixels", path, *_stamp(path), most), lambda: _scaled(path, most))
    return found


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file is replaced."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # whoever reads it says what is wrong
    return status.st_mtime_ns, status.st_size


def _scaled(path: Path, most: tuple[int, int]) -> tuple[np.ndarray, float]:
    picture = Image.fromarray(read_image(path))
    scale = min(most[0] / picture.width, most[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS)), scale


def _times(boxes: Detections, scale: float) -> Detections:
    return replace(boxes, xyxy=boxes.xyxy * np.float32(scale))


def told(boxes: Detections) -> str:
    """Return boxes counted by class, for people who do not see the picture."""
    numbers = np.bincount(boxes.label, minlength=len(boxes.vocabulary))
    parts = [f"{number} {name}" for name, number in zip(boxes.vocabulary, numbers, strict=True) if number]
    by_class = f" ({', '.join(parts)})" if parts else ""
    return counted(len(boxes), "box", "boxes") + by_class


def data_uri(picture: Image.Image) -> str:
    """Return a picture that a page can hold in itself."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _dashed(
    pen: ImageDraw.ImageDraw, corners: list[float], colour: str = "#ffffff", ground: str | None = "#000000"
) -> None:
    """Draw a frame of dashes, on a ground of another colour where it has to be seen anywhere."""
    x1, y1, x2, y2 = corners
    if ground:
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=ground, width=2)
    for low, high, across, upright in (
        (x1, x2, y1, False),
        (x1, x2, y2, False),
        (y1, y2, x1, True),
        (y1, y2, x2, True),
    ):
        at = low
        while at < high:
            end = min(at + _DASH, high)
            pen.line((across, at, across, end) if upright else (at, across, end, across), fill=colour, width=2)
            at += 2 * _DASH
