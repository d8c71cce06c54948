"""The one seam for models: a :class:`Teacher` opens into a :class:`Predictor` that answers image by image.

Decoding, batching, sharding and thresholds belong to the caller; an adapter only turns pixels into boxes, in its own
vocabulary. Built-in adapters register through the same entry points (group ``da_kd.teachers``) as a user's package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError


@dataclass(frozen=True)
class Image:
    """One decoded image: its key, and (H, W, 3) uint8 RGB pixels as displayed."""

    key: str
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Failure:
    """Why a teacher could not answer for one image."""

    reason: str


class Predictor(Protocol):
    """A loaded model."""

    @property
    def classes(self) -> Vocabulary:
        """The model's own class names, in its order."""

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image, in order: boxes in pixels of that image, scores at or above the floor."""


class Teacher(Protocol):
    """A model that can be opened; cheap to make, nothing is loaded before :meth:`open`.

    What it says of an image is kept by the image's content. One that goes by ``Image.key`` has an attribute ``by_name``
    that is True, and is asked again for images that another set had.
    """

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember where the model lies; unknown ``options`` raise :class:`~da_kd.errors.InputError`."""

    def fingerprint(self) -> str:
        """Return a hash of everything that changes what the teacher says: weights and options."""

    def open(self, device: str, floor: float, batch: int) -> AbstractContextManager[Predictor]:
        """Load the model; leaving the context frees its memory. Boxes that score below ``floor`` are left out."""


def adapter(kind: str) -> type[Teacher]:
    """Return the adapter class registered under a name.

    Raises:
        InputError: no adapter of that name, or its package does not load.
    """
    from da_kd.recipe.kinds import find_kind

    try:
        loaded: type[Teacher] = find_kind(kind).load()
    except ImportError as error:
        raise InputError(f"The teacher adapter '{kind}' does not load ({error}); install what it needs.") from error
    return loaded


def refuse_unknown(kind: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise when an adapter is given an option it does not have.

    Raises:
        InputError: names the option and those that exist.
    """
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"Teacher adapter '{kind}' has no option '{unknown[0]}'; its options are: {', '.join(known)}.")
