"""Images with boxes drawn in, as files, in their own size. Knows images and boxes, not where the boxes come from."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from da_kd.events import Job
from da_kd.files import whole

if TYPE_CHECKING:
    from PIL import Image

    from da_kd.data import ImageSet
    from da_kd.detections import Detections, DetectionTable

_LIGHT = 380  # the sum of red, green and blue from which black letters read better than white ones


def save_pictures(table: DetectionTable, images: ImageSet, folder: Path, job: Job) -> None:
    """Write one JPEG for every readable image, under its name, with its boxes, classes and scores."""
    from da_kd.data import read_image

    readable = [index for index in range(len(table)) if not table.reason[index]]
    for index in job.track(readable, "pictures", unit="images"):
        path = picture_path(folder, table.key[index])
        path.parent.mkdir(parents=True, exist_ok=True)
        from PIL import Image

        picture = Image.fromarray(read_image(images.path(index)))
        with whole(path) as temporary:  # a link of that name is replaced, not written through
            draw_boxes(picture, table.at(index)).save(temporary, "JPEG", quality=90)


def picture_path(folder: Path, key: str) -> Path:
    """Return where the picture of an image goes."""
    name = PurePosixPath(key)
    return folder / name.with_name(f"{name.name}.jpg" if name.suffix.lower() not in (".jpg", ".jpeg") else name.name)


def draw_boxes(picture: Image.Image, boxes: Detections) -> Image.Image:
    """Draw boxes into a picture, the best score on top; lines and letters grow with the picture."""
    from PIL import ImageColor, ImageDraw, ImageFont

    from da_kd.palette import PALETTE

    pen = ImageDraw.Draw(picture)
    side = max(picture.size)
    width, font = max(1, round(side / 320)), ImageFont.load_default(size=max(10, round(side / 60)))
    for row in boxes.score.argsort(kind="stable"):
        label = int(boxes.label[row])
        colour = PALETTE[label % len(PALETTE)]
        ink = "black" if sum(ImageColor.getrgb(colour)) > _LIGHT else "white"
        x1, y1, x2, y2 = (float(value) for value in boxes.xyxy[row])
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=width)
        text = f"{boxes.vocabulary[label]} {boxes.score[row]:.2f}".encode("latin-1", "replace").decode("latin-1")
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        above = y1 - (bottom - top) - 3 if y1 >= bottom - top + 3 else y1
        pen.rectangle((x1, above, x1 + right - left + 4, above + bottom - top + 3), fill=colour)
        pen.text((x1 + 2 - left, above + 1 - top), text, font=font, fill=ink)
    return picture
