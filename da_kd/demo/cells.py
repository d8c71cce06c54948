"""The biology of a smear: which cells lie where, and how much stain each point of the slide has taken up.

Lengths are micrometres and the same in every laboratory. This module must not know colours, light, cameras, files or
that there is more than one laboratory; ``optics`` turns what is made here into a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Species = Literal["RBC", "WBC", "Platelets"]

CLASSES: tuple[Species, ...] = ("RBC", "WBC", "Platelets")
STAINS = ("haemoglobin", "chromatin", "cytoplasm", "granules")
"""The channels of :attr:`Specimen.stains`; 1.0 is the amount in a typical, well stained spot."""

SMALLEST_SHARE = 0.35  # of a cell's area that must lie inside the field for the cell to be kept
SMALLEST_PX = 3.0  # of the shorter side of its box
FEWEST_RED, MOST_RED = 8, 25
OVAL_SHARE = 0.3  # of the red cells
GRANULAR_SHARE = 0.35  # of the white cells: eosinophils and their like
LYMPHOCYTE_UM = 6.0  # a white cell of a smaller radius has one round nucleus
_TURNS = 180  # samples of an outline


@dataclass(frozen=True)
class Cell:
    """One cell on the slide.

    Args:
        species: one of ``CLASSES``.
        x: centre, micrometres from the left edge of the field.
        y: centre, micrometres from the upper edge.
        radius: mean radius in micrometres.
        waves: the outline's departure from a circle, ``(share of the radius, phase in radians)`` for 2, 3, ... waves.
        look: a seed for what is inside: pallor, lobes of the nucleus, granules.
    """

    species: Species
    x: float
    y: float
    radius: float
    waves: tuple[tuple[float, float], ...] = ()
    look: int = 0

    def radii(self) -> NDArray[np.float64]:
        """Return the outline's radius in micrometres at ``_TURNS`` equal angles, shape ``(180,)``."""
        angles = np.linspace(0, 2 * np.pi, _TURNS, endpoint=False)
        shape = np.ones(_TURNS)
        for count, (share, phase) in enumerate(self.waves, start=2):
            shape += share * np.cos(count * angles + phase)
        return self.radius * shape

    def outline(self) -> NDArray[np.float64]:
        """Return the outline as ``x, y`` in micrometres, shape ``(180, 2)``."""
        angles = np.linspace(0, 2 * np.pi, _TURNS, endpoint=False)
        radii = self.radii()
        return np.stack([self.x + radii * np.cos(angles), self.y + radii * np.sin(angles)], axis=1)


@dataclass(frozen=True)
class Specimen:
    """A field of view before any light falls through it.

    Args:
        stains: shape ``(size, size, 4)``, one channel for each of ``STAINS``, never negative.
        boxes: shape ``(N, 4)``, ``x1, y1, x2, y2`` in pixels, inside ``[0, size]``.
        classes: shape ``(N,)``, indices into ``CLASSES``.
    """

    stains: Floats
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


def layout(field_um: float, rng: np.random.Generator) -> list[Cell]:
    """Lay cells on a square field of ``field_um`` micrometres, in the order in which they lie on each other."""
    white: list[Cell] = []
    for _ in range(int(rng.choice(3, p=(0.3, 0.5, 0.2)))):
        _place(white, _white_cell(rng), field_um, rng, gap=1.0, margin=2.0)
    density = rng.uniform(9.5, 16.0) / 1000  # red cells per square micrometre, thin to crowded smears
    wanted = int(np.clip(round(density * field_um**2), FEWEST_RED, MOST_RED))
    gap = rng.uniform(0.6, 0.95)  # how close red cells come: rouleaux or single cells
    cells, first = list(white), len(white)
    anisocytosis, waviness = rng.uniform(0.04, 0.09), rng.uniform(0.015, 0.035)
    for _ in range(8 * wanted):
        if len(cells) - first == wanted:
            break
        _place(cells, _red_cell(rng, anisocytosis, waviness), field_um, rng, gap=gap, margin=0.0)
    for _ in range(min(int(rng.poisson(4.0)), 9)):
        _place(cells, _platelet(rng), field_um, rng, gap=0.75, margin=1.0)
    return [cells[index] for index in rng.permutation(len(cells))]


def paint(cells: list[Cell], size: int, um_per_px: float) -> Specimen:
    """Paint ``cells``, the last on top, on ``size`` x ``size`` pixels of ``um_per_px`` micrometres each.

    A cell of which less than ``SMALLEST_SHARE`` is inside the field is left out of the picture and of the labels, so
    that every painted cell has its box. A box is the cell's outline cut at the edges of the field.
    """
    stains = np.zeros((size, size, len(STAINS)), dtype=np.float32)
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for cell in cells:
        outline = cell.outline() / um_per_px
        low, high = outline.min(axis=0), outline.max(axis=0)
        x1, y1, x2, y2 = (float(v) for v in np.clip([*low, *high], 0, size))
        if min(x2 - x1, y2 - y1) < SMALLEST_PX:
            continue
        patch = _cut(cell, low, high, size, um_per_px)
        inside = float(patch.cover.sum()) * um_per_px**2
        if inside < SMALLEST_SHARE * _area(cell.radii()):
            continue
        _pour(stains[patch.rows, patch.columns], cell, patch)
        boxes.append((x1, y1, x2, y2))
        classes.append(CLASSES.index(cell.species))
    return Specimen(stains, np.array(boxes).reshape(-1, 4), np.array(classes, dtype=np.int64))


# --- where cells lie --------------------------------------------------------------------------------------------------


def _place(
    cells: list[Cell], cell: Cell, field_um: float, rng: np.random.Generator, *, gap: float, margin: float
) -> None:
    """Append ``cell`` at a random free place; leave it out when a few tries found none.

    ``gap`` is the least distance between centres in units of the sum of the radii; ``margin`` keeps centres away from
    the edge, in micrometres.
    """
    for _ in range(12):
        x, y = (float(v) for v in rng.uniform(margin, field_um - margin, 2))
        if all(np.hypot(x - o.x, y - o.y) > _gap(o, cell, gap) * (o.radius + cell.radius) for o in cells):
            cells.append(Cell(cell.species, x, y, cell.radius, cell.waves, cell.look))
            return


def _gap(one: Cell, other: Cell, gap: float) -> float:
    """Return the gap for two cells; a white cell is firm and lets others come little over its edge."""
    return max(gap, 0.88) if "WBC" in (one.species, other.species) else gap


def _waves(rng: np.random.Generator, shares: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    return tuple((abs(float(rng.normal(0, share))), float(rng.uniform(0, 2 * np.pi))) for share in shares)


def _red_cell(rng: np.random.Generator, anisocytosis: float, waviness: float) -> Cell:
    """Return a red cell, 7.3 micrometres across, sometimes oval or dented."""
    radius = 3.65 * float(np.clip(rng.normal(1, anisocytosis), 0.75, 1.25))
    stretch = 5 * waviness if rng.random() < OVAL_SHARE else 1.5 * waviness
    waves = _waves(rng, (stretch, waviness, waviness / 2, waviness / 3))
    return Cell("RBC", 0, 0, radius, waves, int(rng.integers(2**31)))


def _white_cell(rng: np.random.Generator) -> Cell:
    """Return a white cell, 11 (lymphocyte) to 16 (monocyte) micrometres across."""
    radius = float(rng.uniform(5.3, 7.9))
    return Cell("WBC", 0, 0, radius, _waves(rng, (0.05, 0.03, 0.02, 0.01)), int(rng.integers(2**31)))


def _platelet(rng: np.random.Generator) -> Cell:
    """Return a platelet, 2 to 4 micrometres across."""
    radius = float(rng.uniform(1.1, 1.9))
    return Cell("Platelets", 0, 0, radius, _waves(rng, (0.12, 0.08, 0.06, 0.05)), int(rng.integers(2**31)))


# --- how one cell takes up stain --------------------------------------------------------------------------------------


class _Patch(NamedTuple):
    """The part of the picture a cell covers; all maps have the patch's shape ``(h, w)``."""

    rows: slice
    columns: slice
    cover: Floats  # share of the pixel inside the outline, 0 to 1
    rho: Floats  # distance from the centre in units of the outline's radius there
    dx: Floats  # micrometres from the centre
    dy: Floats
    um_per_px: float


def _area(radii: NDArray[np.float64]) -> float:
    return float(0.5 * (radii**2).sum() * 2 * np.pi / _TURNS)


def _cut(cell: Cell, low: NDArray[np.float64], high: NDArray[np.float64], size: int, um_per_px: float) -> _Patch:
    x1, y1 = (int(v) for v in np.clip(np.floor(low) - 1, 0, size))
    x2, y2 = (int(v) for v in np.clip(np.ceil(high) + 1, 0, size))
    line_x = ((np.arange(x1, x2) + 0.5) * um_per_px - cell.x).astype(np.float32)
    line_y = ((np.arange(y1, y2) + 0.5) * um_per_px - cell.y).astype(np.float32)
    dx, dy = np.meshgrid(line_x, line_y)
    turn = np.arctan2(dy, dx) * np.float32(_TURNS / (2 * np.pi))
    edge = cell.radii().astype(np.float32)[np.rint(turn).astype(np.int64) % _TURNS]
    far: Floats = np.hypot(dx, dy)
    rho: Floats = (far / edge).astype(np.float32)
    cover = _soft(edge - far, um_per_px)
    return _Patch(slice(y1, y2), slice(x1, x2), cover, rho, dx, dy, um_per_px)


def _soft(depth: Floats, width: float) -> Floats:
    """Return 0 outside, 1 inside, with a ramp of ``width`` around depth 0 (an antialiased edge)."""
    ramp: Floats = np.clip(depth / np.float32(width) + np.float32(0.5), 0, 1)
    return ramp


def _grain(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> Floats:
    """Return smooth noise around 0 with unit strength whose blobs are about ``cell_px`` wide."""
    coarse = tuple(max(2, round(side / max(cell_px, 1))) for side in shape)
    noise = Image.fromarray(rng.standard_normal(coarse, dtype=np.float32))
    return np.asarray(noise.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), dtype=np.float32)


def _pour(ground: Floats, cell: Cell, patch: _Patch) -> None:
    """Lay the cell over ``ground``, a view of the stains; what lies below shines through a little."""
    rng = np.random.default_rng(cell.look)
    draw = {"RBC": _red_stain, "WBC": _white_stain, "Platelets": _platelet_stain}[cell.species]
    covers = {"RBC": 0.5, "WBC": 0.9, "Platelets": 0.6}[cell.species]
    ground *= (1 - np.float32(covers) * patch.cover)[..., None]
    ground += draw(patch, cell.radius, rng) * patch.cover[..., None]


def _red_stain(patch: _Patch, radius: float, rng: np.random.Generator) -> Floats:
    """Return the stain of a disc that is thick at the rim and thin in the middle."""
    pallor, width = rng.uniform(0.05, 0.85), rng.uniform(0.34, 0.62)
    off_x, off_y = rng.uniform(-0.14, 0.14, 2) * radius
    squeeze, tilt = rng.uniform(0.7, 1.0), rng.uniform(0, np.pi)
    strength = np.clip(rng.normal(1, 0.1), 0.7, 1.3)
    dx, dy = patch.dx - np.float32(off_x), patch.dy - np.float32(off_y)
    cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    hollow = np.hypot(along, across / np.float32(squeeze)) / np.float32(radius * width)
    disc = 1 - np.float32(pallor) * np.exp(-(hollow**4))
    rim = np.float32(0.3) * np.exp(-(((patch.rho - 0.9) / np.float32(0.1)) ** 2))
    stains = np.zeros((*patch.rho.shape, len(STAINS)), dtype=np.float32)
    stains[..., 0] = np.float32(strength) * (disc + rim)
    return stains


def _white_stain(patch: _Patch, radius: float, rng: np.random.Generator) -> Floats:
    """Return a pale, grainy cell body around a dark nucleus of one to four lobes."""
    shape = patch.rho.shape
    nucleus = _nucleus(patch, radius, rng)
    fine = _grain(rng, shape, 0.5 / patch.um_per_px)
    coarse = _grain(rng, shape, 1.1 / patch.um_per_px)
    body = np.float32(rng.uniform(0.6, 1.2)) * (1 + 0.15 * fine)
    body += np.float32(0.3) * np.exp(-(((patch.rho - 0.96) / np.float32(0.07)) ** 2))
    granular = rng.uniform(0.3, 0.8) if rng.random() < GRANULAR_SHARE else rng.uniform(0, 0.15)
    stains = np.zeros((*shape, len(STAINS)), dtype=np.float32)
    stains[..., 0] = (1 - nucleus) * np.maximum(0, np.float32(granular) * (1 + 0.5 * fine))  # eosinophil granules
    stains[..., 1] = nucleus * np.clip(1 + 0.16 * coarse, 0.4, 1.5)
    stains[..., 2] = (1 - nucleus) * np.maximum(0, body)
    stains[..., 3] = (1 - nucleus) * np.maximum(0, 0.25 * fine * np.float32(granular))
    return stains


def _nucleus(patch: _Patch, radius: float, rng: np.random.Generator) -> Floats:
    """Return the nucleus' cover, 0 to 1: lobes on an arc, melted into each other where they touch."""
    lobes = 1 if radius < LYMPHOCYTE_UM else int(rng.integers(1, 5))
    size = radius * (rng.uniform(0.72, 0.88), 0.46, 0.38, 0.33)[lobes - 1]
    ring = radius * (0.08 if lobes == 1 else rng.uniform(0.42, 0.52))
    start, step = rng.uniform(0, 2 * np.pi), rng.uniform(*((1.5, 2.6), (1.5, 2.6), (1.1, 1.6), (1.1, 1.6))[lobes - 1])
    melted = np.zeros(patch.rho.shape, dtype=np.float32)
    sharp = np.float32(4.0)  # per micrometre; lower melts lobes from further away
    for lobe in range(lobes):
        angle = start + lobe * step
        stretch = 1 + rng.uniform(-0.15, 0.15)
        dx = (patch.dx - np.float32(ring * np.cos(angle))) * np.float32(stretch)
        dy = (patch.dy - np.float32(ring * np.sin(angle))) / np.float32(stretch)
        depth = np.float32(size * rng.uniform(0.9, 1.08)) - np.hypot(dx, dy)
        melted += np.exp(sharp * depth)
    depth = np.log(np.maximum(melted, np.float32(1e-6))) / sharp
    inner = np.float32(0.93 * radius) - patch.rho * np.float32(radius)
    dents = 0.25 * _grain(rng, (patch.rho.shape[0], patch.rho.shape[1]), 2.0 / patch.um_per_px)
    return _soft(np.minimum(depth + dents, inner), max(patch.um_per_px, 0.25))


def _platelet_stain(patch: _Patch, radius: float, rng: np.random.Generator) -> Floats:
    """Return a small speck, granular in the middle and pale at the edge."""
    grain = _grain(rng, (patch.rho.shape[0], patch.rho.shape[1]), 0.6 / patch.um_per_px)
    stains = np.zeros((*patch.rho.shape, len(STAINS)), dtype=np.float32)
    core = np.exp(-((patch.rho / np.float32(rng.uniform(0.6, 0.85))) ** 2))
    stains[..., 3] = np.maximum(0, np.float32(rng.uniform(0.8, 1.3)) * core * (1 + 0.35 * grain))
    stains[..., 2] = 0.5
    return stains
