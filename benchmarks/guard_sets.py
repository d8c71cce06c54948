"""Target sets for ``benchmarks/guard.py``: pictures with truth, and shifts of the domain in every strength.

Knows pictures and their objects; must not know a detector, nor what the guard makes of its labels.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageFilter

from da_kd.data import ScanCache, load_images, read_image
from da_kd.demo.cells import CLASSES, layout, paint
from da_kd.demo.optics import LABORATORIES, Laboratory, develop
from da_kd.demo.render import generator
from da_kd.detections import Detections, Vocabulary
from da_kd.events import Job
from da_kd.recipe import Images

SIZE = 192  # pixels, the side of a drawn picture


@dataclass(frozen=True)
class Scene:
    """A picture, (H, W, 3) uint8 RGB, and what is in it."""

    pixels: np.ndarray
    truth: Detections


Shift = Callable[[Scene, np.random.Generator], Scene]


# --- drawn pictures: the laboratory and what lies on the slide --------------------------------------------------------


def drawn(split: str, count: int, toward: float = 0.0, share: dict[str, float] | None = None) -> list[Scene]:
    """Return drawn smears.

    Args:
        split: other splits have other pictures.
        count: how many.
        toward: 0 is ``lab_a``, 1 is ``lab_b``; between lie laboratories that mix their figures.
        share: by class, the share of its cells that lie on the slide; 2 doubles the platelets.
    """
    lab, share = _between(LABORATORIES["lab_a"], LABORATORIES["lab_b"], toward), share or {}
    return [_draw(lab, share, generator("lab_a", split, 0, index)) for index in range(count)]


def _between(low: Laboratory, high: Laboratory, toward: float) -> Laboratory:
    mixed = {}
    for field in dataclasses.fields(Laboratory):
        ends = [np.asarray(getattr(lab, field.name), float) for lab in (low, high)]
        value = ends[0] + toward * (ends[1] - ends[0])
        mixed[field.name] = value.tolist() if value.ndim else float(value)
    return Laboratory(**{**mixed, "quality": min(95, round(mixed["quality"]))})


def _draw(lab: Laboratory, share: dict[str, float], rng: np.random.Generator) -> Scene:
    cells = layout(lab.field_um, rng)
    more = layout(lab.field_um, rng)
    stay = [cell for cell in cells if rng.random() < share.get(cell.species, 1.0)]
    stay += [cell for cell in more if rng.random() < share.get(cell.species, 1.0) - 1]
    specimen = paint(stay, SIZE, lab.field_um / SIZE)
    pixels = _jpeg(develop(specimen.stains, lab, rng), lab.quality)
    score = np.ones(len(specimen.boxes), np.float32)
    return Scene(pixels, Detections(CLASSES, specimen.boxes, score, specimen.classes))


# --- photographs ------------------------------------------------------------------------------------------------------


def photographs(section: Images, root: Path, classes: Vocabulary, scratch: Path, most: int) -> list[Scene]:
    """Return up to ``most`` labelled pictures of a data set on the disk."""
    given = load_images(
        section, root, classes, labels=True, cache=ScanCache(None), frames=scratch, job=Job(), name="data.source"
    )
    index = np.unique(np.linspace(0, len(given.table) - 1, min(most, len(given.table))).astype(int))
    return [Scene(read_image(given.path(int(i))), given.table.at(int(i))) for i in index]


# --- shifts: what a lamp, a lens, a camera or a mistake does to a picture ---------------------------------------------


def shifted(scenes: Sequence[Scene], shifts: Sequence[Shift], name: str) -> list[Scene]:
    """Return the scenes under the shifts, one after the other; the same ``name`` draws the same noise."""
    rng, changed = np.random.default_rng(zlib.crc32(name.encode())), list(scenes)
    for shift in shifts:
        changed = [shift(scene, rng) for scene in changed]
    return changed


def brightness(factor: float) -> Shift:
    """Multiply what the camera records."""
    return _points(lambda x, _: x * factor)


def contrast(factor: float) -> Shift:
    """Pull everything towards the middle grey."""
    return _points(lambda x, _: 128 + (x - 128) * factor)


def gamma(power: float) -> Shift:
    """Bend the camera's curve."""
    return _points(lambda x, _: 255 * (x / 255) ** power)


def noise(spread: float) -> Shift:
    """Add noise of this standard deviation, in grey values."""
    return _points(lambda x, rng: x + rng.normal(0, spread, x.shape))


def tint(red: float, green: float, blue: float) -> Shift:
    """Colour the lamp."""
    return _points(lambda x, _: x * np.array([red, green, blue]))


def channels(*order: int) -> Shift:
    """Read the channels in another order: a decoder's mistake."""
    return _points(lambda x, _: x[..., list(order)])


def inverted() -> Shift:
    """Turn light into dark."""
    return _points(lambda x, _: 255 - x)


def grey() -> Shift:
    """Take the colours away."""
    return _points(lambda x, _: np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2))


def static(spread: float) -> Shift:
    """Replace the picture by noise around grey; its objects are still asked for."""
    return _points(lambda x, rng: rng.normal(128, spread, x.shape))


def blur(share: float) -> Shift:
    """Blur by a Gaussian of ``share`` of the shorter side."""

    def shift(scene: Scene, _: np.random.Generator) -> Scene:
        radius = share * min(scene.pixels.shape[:2])
        image = Picture.fromarray(scene.pixels).filter(ImageFilter.GaussianBlur(radius))
        return Scene(np.asarray(image), scene.truth)

    return shift


def jpeg(quality: int) -> Shift:
    """Compress."""
    return lambda scene, _: Scene(_jpeg(scene.pixels, quality), scene.truth)


def small(factor: float) -> Shift:
    """Shrink the picture into the middle of a grey one of the same size."""

    def shift(scene: Scene, _: np.random.Generator) -> Scene:
        height, width = scene.pixels.shape[:2]
        inner = Picture.fromarray(scene.pixels).resize((max(1, round(width * factor)), max(1, round(height * factor))))
        left, top = (width - inner.width) // 2, (height - inner.height) // 2
        canvas = np.full_like(scene.pixels, 114)
        canvas[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
        return Scene(canvas, _moved(scene.truth, factor, (left, top), (width, height)))

    return shift


def closer(factor: float) -> Shift:
    """Look at a random window of 1/``factor`` of each side, enlarged to the old size: fewer and larger objects."""

    def shift(scene: Scene, rng: np.random.Generator) -> Scene:
        height, width = scene.pixels.shape[:2]
        w, h = round(width / factor), round(height / factor)
        left, top = (int(rng.integers(0, room + 1)) for room in (width - w, height - h))
        window = Picture.fromarray(scene.pixels[top : top + h, left : left + w]).resize((width, height))
        return Scene(np.asarray(window), _moved(scene.truth, factor, (-left * factor, -top * factor), (width, height)))

    return shift


def tiled(scenes: Sequence[Scene], share: float) -> list[Scene]:
    """Return pictures of four windows each, of ``share`` of the sides: more and, to a detector, smaller objects."""
    made = []
    for index in range(len(scenes)):
        four = [scenes[(index + step) % len(scenes)] for step in range(4)]
        width, height = (max(1, round(share * side)) for side in four[0].pixels.shape[1::-1])
        canvas = np.full((2 * height, 2 * width, 3), 114, np.uint8)
        parts = []
        for place, scene in enumerate(four):
            left, top = (place % 2) * width, (place // 2) * height
            window = scene.pixels[:height, :width]
            canvas[top : top + window.shape[0], left : left + window.shape[1]] = window
            inside = _moved(scene.truth, 1.0, (0, 0), (window.shape[1], window.shape[0]))
            parts.append(dataclasses.replace(inside, xyxy=inside.xyxy + np.float32([left, top, left, top])))
        joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("xyxy", "score", "label")]
        made.append(Scene(canvas, Detections(four[0].truth.vocabulary, *joined)))
    return made


def _points(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Shift:
    def shift(scene: Scene, rng: np.random.Generator) -> Scene:
        changed = change(scene.pixels.astype(float), rng)
        return Scene(np.clip(np.rint(changed), 0, 255).astype(np.uint8), scene.truth)

    return shift


def _jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Picture.open(file))


def _moved(truth: Detections, factor: float, offset: tuple[float, float], size: tuple[int, int]) -> Detections:
    """Return objects scaled, moved and cut to the picture; less than half an object is none."""
    xyxy = truth.xyxy * factor + np.tile(np.float32(offset), 2)
    cut = np.clip(xyxy, 0, np.tile(np.float32(size), 2))
    whole = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    stay = (cut[:, 2:] - cut[:, :2]).prod(axis=1) >= 0.5 * whole
    return dataclasses.replace(truth, xyxy=cut, score=truth.score, label=truth.label).pick(stay)


# --- the sets: shifts by half; no strength is in both -----------------------------------------------------------------

_POINTS: dict[str, dict[str, Sequence[Shift]]] = {
    "tuning": {
        "brightness 0.85": [brightness(0.85)],
        "brightness 0.6": [brightness(0.6)],
        "brightness 0.25": [brightness(0.25)],
        "brightness 1.25": [brightness(1.25)],
        "contrast 0.8": [contrast(0.8)],
        "contrast 0.4": [contrast(0.4)],
        "contrast 0.1": [contrast(0.1)],
        "gamma 0.7": [gamma(0.7)],
        "gamma 2.5": [gamma(2.5)],
        "noise 6": [noise(6)],
        "noise 25": [noise(25)],
        "noise 70": [noise(70)],
        "blur 0.4 %": [blur(0.004)],
        "blur 1.2 %": [blur(0.012)],
        "blur 3 %": [blur(0.03)],
        "jpeg 40": [jpeg(40)],
        "jpeg 5": [jpeg(5)],
        "warm lamp": [tint(1.1, 1.0, 0.8)],
        "grey": [grey()],
        "inverted": [inverted()],
        "red and blue swapped": [channels(2, 1, 0)],
        "shrunk to 0.8": [small(0.8)],
        "shrunk to 0.5": [small(0.5)],
        "shrunk to 0.25": [small(0.25)],
        "enlarged 1.3": [closer(1.3)],
        "enlarged 3": [closer(3)],
        "dark, noisy and blurred": [brightness(0.5), noise(40), blur(0.01)],
        "static": [static(40)],
    },
    "held-out": {
        "brightness 0.75": [brightness(0.75)],
        "brightness 0.45": [brightness(0.45)],
        "brightness 0.15": [brightness(0.15)],
        "brightness 1.4": [brightness(1.4)],
        "contrast 0.7": [contrast(0.7)],
        "contrast 0.3": [contrast(0.3)],
        "contrast 0.06": [contrast(0.06)],
        "gamma 1.4": [gamma(1.4)],
        "gamma 4": [gamma(4)],
        "noise 10": [noise(10)],
        "noise 40": [noise(40)],
        "noise 100": [noise(100)],
        "blur 0.6 %": [blur(0.006)],
        "blur 1.8 %": [blur(0.018)],
        "blur 5 %": [blur(0.05)],
        "jpeg 25": [jpeg(25)],
        "jpeg 3": [jpeg(3)],
        "cold lamp": [tint(0.85, 1.0, 1.1)],
        "inverted and dim": [inverted(), brightness(0.6)],
        "channels turned": [channels(1, 2, 0)],
        "shrunk to 0.7": [small(0.7)],
        "shrunk to 0.4": [small(0.4)],
        "shrunk to 0.15": [small(0.15)],
        "enlarged 1.5": [closer(1.5)],
        "enlarged 4": [closer(4)],
        "fog and noise": [contrast(0.3), brightness(1.3), noise(20)],
        "static, strong": [static(90)],
    },
}
_TILES = {"tuning": 0.7, "held-out": 0.6}

# How far from lab_a to lab_b, and which share of each class lies on the slide.
_SLIDES: dict[str, dict[str, tuple[float, dict[str, float]]]] = {
    "tuning": {
        "a fresh slide": (0.0, {}),
        "0.25 toward lab_b": (0.25, {}),
        "0.6 toward lab_b": (0.6, {}),
        "lab_b": (1.0, {}),
        "half the red cells": (0.0, {"RBC": 0.5}),
        "a third of the platelets": (0.1, {"Platelets": 0.33}),
        "no platelets": (0.0, {"Platelets": 0.0}),
        "twice the white cells": (0.1, {"WBC": 2.0}),
        "half of everything": (0.2, {"RBC": 0.5, "WBC": 0.5, "Platelets": 0.5}),
    },
    "held-out": {
        "a fresh slide": (0.05, {}),
        "0.15 toward lab_b": (0.15, {}),
        "0.4 toward lab_b": (0.4, {}),
        "0.8 toward lab_b": (0.8, {}),
        "0.95 toward lab_b": (0.95, {}),
        "a third of the red cells": (0.0, {"RBC": 0.33}),
        "a fifth of the white cells": (0.1, {"WBC": 0.2}),
        "no white cells": (0.0, {"WBC": 0.0}),
        "half the platelets": (0.1, {"Platelets": 0.5}),
        "twice the platelets": (0.0, {"Platelets": 2.0}),
        "only red cells": (0.1, {"WBC": 0.0, "Platelets": 0.0}),
    },
}


def drawn_sets(half: str, count: int) -> dict[str, Callable[[], list[Scene]]]:
    """Return the makers of the drawn target sets of one half, by name."""
    slides = {
        name: lambda toward=toward, share=share: drawn(half, count, toward, share)
        for name, (toward, share) in _SLIDES[half].items()
    }
    return {**slides, **_changed(half, lambda: drawn(half, count))}


def photographed_sets(half: str, scenes: Sequence[Scene]) -> dict[str, Callable[[], list[Scene]]]:
    """Return the makers of the target sets that one half makes of photographs, by name."""
    return {"as it is": lambda: list(scenes), **_changed(half, lambda: list(scenes))}


def _changed(half: str, make: Callable[[], list[Scene]]) -> dict[str, Callable[[], list[Scene]]]:
    made: dict[str, Callable[[], list[Scene]]] = {
        name: lambda shifts=shifts, name=name: shifted(make(), shifts, name) for name, shifts in _POINTS[half].items()
    }
    share = _TILES[half]
    return {**made, f"four windows of {share}": lambda: tiled(make(), share)}
