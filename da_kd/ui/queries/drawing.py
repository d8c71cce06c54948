"""Images with boxes as the pages show them: drawn like the report's, a class in the same colour everywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from da_kd.data import read_image
from da_kd.detections import Detections, State
from da_kd.errors import DataError
from da_kd.stages.report.pictures import colours, draw
from da_kd.stages.report.words import counted
from da_kd.ui.queries.sets import memory

__all__ = ["State", "data_uri", "labelled", "large", "pixels", "small", "told"]

SMALL, LARGE = (320, 320), (860, 620)  # the most a picture may have, pixels
_DASH = 5  # pixels of a dash, and of the gap after it


def small(path: Path, boxes: Detections, classes: Sequence[str], what: str, scores: bool) -> tuple[str, str, str]:
    """Return a small picture as source, alternative text and caption; where it cannot be read, the caption says why."""
    try:
        picture = draw(pixels(path), boxes, classes, scores, SMALL)
    except DataError as error:
        return "", str(error), str(error)
    return data_uri(picture), f"{what}: {told(boxes)}", f"{path.name}: {counted(len(boxes), 'box', 'boxes')}"


def labelled(path: Path, kept: Detections, unsure: Detections, classes: Sequence[str]) -> tuple[str, str, str]:
    """Return a small picture of pseudo labels: kept boxes drawn, uncertain ones dashed."""
    try:
        read = pixels(path)
    except DataError as error:
        return "", str(error), str(error)
    picture = draw(read, kept, classes, True, SMALL)
    pen, by_name = ImageDraw.Draw(picture), colours(classes)
    corners = (unsure.xyxy * (picture.width / read.shape[1])).tolist()
    for box, label in zip(corners, unsure.label.tolist(), strict=True):
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
    read = pixels(path)
    picture = draw(read, boxes, classes, True, LARGE)
    pen = ImageDraw.Draw(picture)
    for corners in (missed.xyxy * (picture.width / read.shape[1])).tolist():
        _dashed(pen, corners)
    return picture


def pixels(path: Path) -> np.ndarray:
    """Return an image's pixels, remembered for a while.

    Raises:
        DataError: it cannot be read.
    """
    found: np.ndarray = memory.get(("pixels", path), lambda: read_image(path))
    return found


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
