"""What a laboratory makes of a slide: its stain, its microscope, its camera.

A :class:`Laboratory` is a handful of physical figures; :func:`develop` sends light through the stained slide (optical
densities add up), blurs it, and lets a camera record it. This module must not know cells, boxes, files or detectors.

The figures of the two laboratories follow two real collections of smears, measured as pictures: the colours of the
background, of red cells, nuclei, cytoplasm and platelets, the fall-off of the light, sharpness, noise and the share of
the picture a red cell takes. They were never fitted to what a detector makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_kd.demo.cells import Floats

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Laboratory:
    """Stain, microscope and camera; ranges are drawn anew for each picture.

    Args:
        field_um: side of the field of view in micrometres; smaller means a stronger magnification.
        lamp: what the camera records where nothing lies on the slide, linear red, green, blue in 0..1.
        densities: optical density of one unit of each stain as this camera's channels see it; shape (4, 3).
        strength: range of the stain's overall strength.
        tint_sd: spread of each stain's own strength and of the lamp's colour, as a share.
        exposure_sd: spread of the brightness, as a share.
        falloff: loss of light from the centre to the middle of an edge times 4, as a share.
        slant: range of the slope of the light from edge to edge, as a share.
        focus_um: range of the blur's standard deviation in micrometres (out of focus, glass, sensor).
        fringe_um: how far red and blue are shifted against green at the edges (an uncorrected objective).
        glare: stray light added everywhere, as a share of the lamp.
        sharpen: strength of the camera's own sharpening.
        noise: standard deviation of the sensor's noise at white, linear.
        quality: of the JPEG the camera writes.
    """

    field_um: float
    lamp: RGB
    densities: tuple[RGB, RGB, RGB, RGB]
    strength: tuple[float, float]
    tint_sd: float
    exposure_sd: float
    falloff: float
    slant: tuple[float, float]
    focus_um: tuple[float, float]
    fringe_um: float
    glare: float
    sharpen: float
    noise: float
    quality: int


LABORATORIES: dict[str, Laboratory] = {
    # A pale stain under a cool, uneven lamp; an old objective and a small, noisy camera.
    "lab_a": Laboratory(
        field_um=41.0,
        lamp=(0.55, 0.57, 0.535),
        densities=((0.21, 0.52, 0.36), (0.74, 1.52, -0.10), (0.17, 0.40, 0.04), (0.62, 0.95, 0.06)),
        strength=(0.8, 1.25),
        tint_sd=0.08,
        exposure_sd=0.05,
        falloff=0.22,
        slant=(0.0, 0.16),
        focus_um=(0.13, 0.27),
        fringe_um=0.14,
        glare=0.03,
        sharpen=0.0,
        noise=0.022,
        quality=85,
    ),
    # A strong stain on warm light, evenly lit; a modern, stronger objective and a camera that sharpens.
    "lab_b": Laboratory(
        field_um=33.0,
        lamp=(0.98, 0.77, 0.60),
        densities=((0.50, 0.76, 0.46), (2.30, 3.40, 0.95), (0.55, 0.80, 0.28), (1.30, 2.00, 0.52)),
        strength=(0.85, 1.2),
        tint_sd=0.06,
        exposure_sd=0.03,
        falloff=0.02,
        slant=(0.0, 0.03),
        focus_um=(0.09, 0.17),
        fringe_um=0.02,
        glare=0.0,
        sharpen=0.4,
        noise=0.009,
        quality=92,
    ),
}


def develop(stains: Floats, laboratory: Laboratory, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photograph a stained slide.

    Args:
        stains: shape ``(size, size, 4)``, amounts of stain, a square field of ``laboratory.field_um``.
        laboratory: where.
        rng: draws this picture's stain, light, focus and noise.

    Returns:
        sRGB, shape ``(size, size, 3)``.
    """
    size = stains.shape[0]
    um_per_px = laboratory.field_um / size
    light = _lamp(size, laboratory, rng) * np.exp(-(stains @ _densities(laboratory, rng)))
    light = _focus(light, laboratory, um_per_px, rng)
    light += np.float32(laboratory.glare) * np.array(laboratory.lamp, dtype=np.float32)
    return _record(light, laboratory, um_per_px, rng)


def _densities(laboratory: Laboratory, rng: np.random.Generator) -> Floats:
    """Return this slide's densities, shape ``(4, 3)``: one overall strength, and each stain a little on its own."""
    own = rng.normal(1, laboratory.tint_sd, (4, 1)) * rng.normal(1, laboratory.tint_sd / 2, (4, 3))
    return (np.array(laboratory.densities) * rng.uniform(*laboratory.strength) * own).astype(np.float32)


def _lamp(size: int, laboratory: Laboratory, rng: np.random.Generator) -> Floats:
    """Return the light without a slide, shape ``(size, size, 3)``: colour, fall-off, slant."""
    colour = np.array(laboratory.lamp) * rng.normal(1, laboratory.exposure_sd)
    colour *= rng.normal(1, laboratory.tint_sd / 4, 3)
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    off_x, off_y = rng.normal(0, 0.08, 2)
    radial = np.add.outer((line - off_y) ** 2, (line - off_x) ** 2)
    slope, angle = rng.uniform(*laboratory.slant), rng.uniform(0, 2 * np.pi)
    slant = np.add.outer(line * np.sin(angle), line * np.cos(angle))
    field = 1 + laboratory.falloff * (1 / 6 - radial) + slope * slant
    lamp: Floats = (field[..., None] * colour).astype(np.float32)
    return lamp


def _focus(light: Floats, laboratory: Laboratory, um_per_px: float, rng: np.random.Generator) -> Floats:
    """Blur by this picture's focus; an uncorrected objective shifts red and blue against each other."""
    sigma = rng.uniform(*laboratory.focus_um) / um_per_px
    shift = laboratory.fringe_um / um_per_px
    blurred = [_blur(light[..., channel], sigma, shift * side) for channel, side in enumerate((-1.0, 0.0, 1.0))]
    return np.stack(blurred, axis=-1)


def _blur(plane: Floats, sigma: float, shift: float = 0.0) -> Floats:
    """Return ``plane`` under a Gaussian of ``sigma`` pixels whose centre lies ``shift`` pixels right and below."""
    reach = max(1, int(np.ceil(3 * sigma + abs(shift))))
    weights = np.exp(-0.5 * ((np.arange(-reach, reach + 1) - shift) / max(sigma, 0.2)) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        rows = len(plane)
        plane = np.zeros_like(plane)
        for step, weight in enumerate(weights):
            plane += weight * padded[step : step + rows]
        plane = plane.T
    return plane


def _record(light: Floats, laboratory: Laboratory, um_per_px: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what the camera stores: shot and read noise, sharpening, the sRGB curve, eight bits."""
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    light = light + np.float32(laboratory.noise) * np.sqrt(np.maximum(light, 0) + np.float32(0.05)) * noise
    code = np.maximum(light, 0) ** np.float32(1 / 2.2)
    if laboratory.sharpen:
        grey = code.mean(axis=-1)
        code += np.float32(laboratory.sharpen) * (grey - _blur(grey, 0.25 / um_per_px))[..., None]
    return np.clip(np.rint(code * 255), 0, 255).astype(np.uint8)
