"""The test images of the page with boxes drawn into them: ground truth, teacher, student, fine-tuned.

Knows images and boxes; must not know HTML. A picture is a data URI, so that the page needs no other file.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, DetectionTable, State
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.merging.matching import inside, paired
from da_kd.palette import PALETTE, colours
from da_kd.stages.report.facts import ReportFacts, name_of
from da_kd.stages.report.matching import compare, spread
from da_kd.stages.report.words import counted, percent

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SHOWN_SCORE = 0.3  # boxes below it are not drawn
TRUTH = "Ground truth"
_WIDTH, _HEIGHT = 320, 480  # the most a picture may have, pixels


@dataclass(frozen=True)
class Panel:
    """One picture; ``source`` is a data URI, or "" where the image could not be read and ``caption`` says why."""

    title: str
    source: str
    alt: str
    caption: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of one image: its objects, regions that do not count, and the classes somebody looked for."""

    objects: Detections
    ignored: Detections
    searched: frozenset[str]


@dataclass(frozen=True)
class PictureRow:
    """The panels of one image, all of one size."""

    key: str
    remark: str
    panels: tuple[Panel, ...]


def why_no_pictures(facts: ReportFacts) -> str:
    """Return why there is nothing to show, "" where there is."""
    if facts.truth is None or facts.test_root is None:
        return "The run has no test images with labels (recipe key data.test)."
    if not _shown_rows(facts):
        return "No model has predicted on the test images."
    if facts.images == 0:
        return "The recipe asks for none (report.images is 0)."
    return "" if _candidates(facts) else "None of the test images could be read and has labels."


def draw_rows(facts: ReportFacts, job: Job) -> list[PictureRow]:
    """Return the rows of the grid, from the image on which teacher and student differ most to that with the least."""
    if why_no_pictures(facts) or facts.truth is None or facts.test_root is None:
        return []
    truth, root = facts.truth, facts.test_root
    tables = {row: facts.predictions[row] for row in _shown_rows(facts)}
    images = _candidates(facts)
    places = {row: {key: index for index, key in enumerate(table.key)} for row, table in tables.items()}

    def boxes(row: str, key: str) -> Detections:
        place = places[row].get(key)
        found = Detections.empty(tables[row].vocabulary) if place is None else tables[row].at(place)
        return found.pick(found.score >= SHOWN_SCORE)

    first, last = _contrast(facts)
    differences = [compare(boxes(first, key), boxes(last, key)).difference for _, key in images]
    rows = []
    for position in job.track(spread(differences, facts.images), "draw test images", unit="images"):
        index, key = images[position]
        sides = {name_of(row): boxes(row, key) for row in tables}
        remark = f"difference {percent(differences[position])}" if first != last else ""
        rows.append(PictureRow(key, remark, _panels(root / key, _labels(truth, index), sides, facts.classes)))
    return rows


def draw_restyled(facts: ReportFacts) -> list[PictureRow]:
    """Return a row for every source image that is shown with its copies; one whose files are gone is left out."""
    from da_kd.data.images import read_image

    rows = []
    for files in facts.restyled:
        titles = ["As it is", *(f"Copy {number}" for number in range(1, len(files)))]
        nothing = Detections.empty(facts.classes)
        try:
            drawn = [draw(read_image(file), nothing, facts.classes, with_scores=False) for file in files]
        except DataError:
            continue
        alts = [f"{files[0].name}, {title.lower()}" for title in titles]
        panels = [
            Panel(title, _data_uri(picture), alt, "", *picture.size)
            for title, picture, alt in zip(titles, drawn, alts, strict=True)
        ]
        rows.append(PictureRow(files[0].name, "", tuple(panels)))
    return rows


def _candidates(facts: ReportFacts) -> list[tuple[int, str]]:
    """Return position and key of the test images that can be shown."""
    table = facts.truth
    if table is None:
        return []
    usable = table.ok & table.searched.any(axis=1)
    return [(index, key) for index, key in enumerate(table.key) if usable[index]]


def _contrast(facts: ReportFacts) -> tuple[str, str]:
    """Return the two rows whose difference chooses the images."""
    rows = _shown_rows(facts)
    return rows[0], "student" if "student" in rows else rows[-1]


def _shown_rows(facts: ReportFacts) -> list[str]:
    """Return the models of the grid: the best teacher (or source only), the student, and the fine-tuned one."""
    teacher = facts.best_teacher()
    first = teacher if teacher in facts.predictions else "source_only"
    return [row for row in (first, "student", "finetuned") if row is not None and row in facts.predictions]


def contrast_of(facts: ReportFacts) -> str:
    """Return the names of the models that the images were chosen by, "" where there is only one."""
    first, last = _contrast(facts)
    return "" if first == last else f"{name_of(first)} and {name_of(last)}"


def _labels(table: DetectionTable, index: int) -> Labels:
    searched = [name for name, looked in zip(table.vocabulary, table.searched[index], strict=True) if looked]
    return Labels(table.at(index), table.at(index, (State.IGNORED, State.UNCERTAIN)), frozenset(searched))


def _panels(path: Path, labels: Labels, sides: Mapping[str, Detections], classes: Sequence[str]) -> tuple[Panel, ...]:
    """Return one panel per side of the image at ``path``; where it cannot be read, the first panel says why."""
    from da_kd.data.images import read_image

    try:
        pixels = read_image(path)
    except DataError as error:
        return (Panel(TRUTH, "", "", str(error)), *(Panel(title, "", "", "not drawn") for title in sides))
    panels = []
    for title, boxes in {TRUTH: labels.objects, **sides}.items():
        picture = draw(pixels, boxes, classes, with_scores=title != TRUTH)
        alt = f"{title}: {counted(len(boxes), 'box', 'boxes')}{_by_class(boxes)}"
        caption = counted(len(boxes), "object") if title == TRUTH else _caption(labels, boxes)
        panels.append(Panel(title, _data_uri(picture), alt, caption, *picture.size))
    return tuple(panels)


def _caption(labels: Labels, boxes: Detections) -> str:
    """Return how many objects were found, and how many boxes are of none; as in AP, ignored regions do not count."""
    partner = paired(labels.objects, boxes)
    known = np.array([boxes.vocabulary[label] in labels.searched for label in boxes.label], dtype=bool)
    false = int((~partner & known & ~inside(labels.ignored, boxes)).sum())
    return f"{int(partner.sum())} of {len(labels.objects)} found, {false} false"


def _by_class(boxes: Detections) -> str:
    """Return the boxes counted by class, for people who do not see the picture."""
    numbers = np.bincount(boxes.label, minlength=len(boxes.vocabulary))
    parts = [f"{number} {name}" for name, number in zip(boxes.vocabulary, numbers, strict=True) if number]
    return f" ({', '.join(parts)})" if parts else ""


def draw(
    pixels: npt.NDArray[np.uint8],
    boxes: Detections,
    classes: Sequence[str],
    with_scores: bool,
    most: tuple[int, int] = (_WIDTH, _HEIGHT),
) -> Image.Image:
    """Return an (H, W, 3) RGB image scaled to fit ``most`` pixels, with its boxes in the colours of ``classes``.

    Boxes are drawn with the best score on top, labels over all of them. Where colours repeat, labels name the class.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    scale = min(most[0] / picture.width, most[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    pen, by_name = ImageDraw.Draw(picture), colours(classes)
    order = np.argsort(boxes.score, kind="stable")
    corners = (boxes.xyxy * scale).tolist()
    names = [boxes.vocabulary[label] for label in boxes.label]
    for box in order:
        _draw_frame(pen, corners[box], by_name[names[box]])
    for box in order:
        words = [_short(names[box], classes)] if len(classes) > len(PALETTE) else []
        words += [f"{boxes.score[box]:.2f}".lstrip("0")] if with_scores else []
        if words:
            _draw_label(pen, corners[box], by_name[names[box]], " ".join(words), size)
    return picture


def _short(name: str, classes: Sequence[str]) -> str:
    """Return a class name the built-in font can write, else its number among the classes."""
    return name[:16] if name.isascii() and name.isprintable() else f"#{classes.index(name) + 1}"


def _draw_frame(pen: ImageDraw.ImageDraw, corners: list[float], colour: str) -> None:
    """Draw a frame with a dark rim, which is seen on light and dark ground."""
    x1, y1 = corners[:2]
    x2, y2 = max(x1, corners[2]), max(y1, corners[3])
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0), width=1)
    pen.rectangle((x1, y1, x2, y2), outline=colour, width=3)


def _draw_label(pen: ImageDraw.ImageDraw, corners: list[float], colour: str, text: str, size: tuple[int, int]) -> None:
    """Draw a text on a ground of the frame's colour, above the frame or, at the image's top edge, inside."""
    x1, y1 = corners[:2]
    font = _font()
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 4, bottom - top + 4
    at_x = max(0.0, min(x1 - 1, size[0] - wide))
    at_y = y1 - high if y1 >= high else max(0.0, y1)
    pen.rectangle((at_x, at_y, at_x + wide, at_y + high), fill=colour)
    pen.text((at_x + 2 - left, at_y + 2 - top), text, font=font, fill=_ink_on(colour))


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=13)


def _ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#ffffff"  # noqa: PLR2004


def _data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
