"""The colours of an image: their mean and spread, and how another image is given them.

After Reinhard et al., *Color Transfer between Images* (2001): every channel is shifted and stretched until its mean and
standard deviation are the other image's. Channels are those of CIELAB, in which lightness and hue hardly depend on each
other. Must not know what images are for, nor where they lie.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from da_kd.data.images import RgbImage

_LOOK = 256  # pixels of the longer side of the copy that is measured; more hardly moves a mean
_LEAST = 1e-3  # a spread below this is a flat channel, which is moved and not stretched

Channels = npt.NDArray[np.float32]


class Colours(NamedTuple):
    """What the colours of an image are like, in CIELAB (lightness 0 to 100, two hues about -127 to 127).

    Attributes:
        mean: (3,) float32, of each channel.
        spread: (3,) float32, its standard deviation.
    """

    mean: Channels
    spread: Channels


def colours_of(pixels: RgbImage) -> Colours:
    """Return the colours of an (H, W, 3) uint8 RGB image."""
    import cv2

    shrink = _LOOK / max(pixels.shape[:2])
    if shrink < 1:
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    channels = _lab(pixels).reshape(-1, 3)
    return Colours(channels.mean(axis=0), channels.std(axis=0))


def recoloured(pixels: RgbImage, colours: Colours) -> RgbImage:
    """Return an (H, W, 3) uint8 RGB image in other colours; what lies outside of what RGB can show is cut off."""
    import cv2

    own = colours_of(pixels)
    stretch = np.where(own.spread > _LEAST, colours.spread / np.maximum(own.spread, _LEAST), 1)
    channels = (_lab(pixels) - own.mean) * stretch + colours.mean
    rgb = cv2.cvtColor(channels.astype(np.float32), cv2.COLOR_LAB2RGB)
    made: RgbImage = np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)
    return made


def _lab(pixels: RgbImage) -> Channels:
    import cv2

    channels: Channels = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return channels
