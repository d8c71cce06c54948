"""What adapters check alike: options, weights that must be there, and the boxes they hand out. Knows no framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import clip
from da_kd.detections import Detections, Vocabulary
from da_kd.errors import InputError, SetupError, WeightsError
from da_kd.hashing import hash_file

_FIRST = 200  # characters of a foreign error that are shown


def number(options: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    """Return an option that must be a number in a range; None where it is not given.

    Raises:
        InputError: it is something else.
    """
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"Teacher option '{name}' must be a number from {least:g} to {most:g}; found '{value}'.")
    return float(value)


def whole(options: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """Return an option that must be a whole number in a range; None where it is not given.

    Raises:
        InputError: it is something else.
    """
    value = number(options, name, least, most)
    if value is not None and value != int(value):
        raise InputError(f"Teacher option '{name}' must be a whole number; found '{value}'.")
    return None if value is None else int(value)


def switch(options: Mapping[str, Any], name: str) -> bool:
    """Return an option that must be true or false; false where it is not given.

    Raises:
        InputError: it is something else.
    """
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"Teacher option '{name}' must be true or false; found '{value}'.")
    return value


def words(options: Mapping[str, Any], name: str) -> Vocabulary | None:
    """Return an option that must be a list of distinct, non-empty texts; None where it is not given.

    Raises:
        InputError: it is something else.
    """
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v.strip() for v in value):
        raise InputError(f"Teacher option '{name}' must be a list of names, e.g. [person, car]; found '{value}'.")
    if len(set(value)) != len(value):
        raise InputError(f"Teacher option '{name}' must not name anything twice; found {list(value)}.")
    return tuple(value)


def need_file(weights: Path) -> Path:
    """Return the path of a model file that is there.

    Raises:
        WeightsError: it is not.
    """
    if not weights.is_file():
        raise WeightsError(f"Expected a model file at {weights}; there is none. Put it there: nothing is downloaded.")
    return weights


def hash_weights(weights: Path) -> str:
    """Return the hash of a model file's content; its name and place do not count.

    Raises:
        WeightsError: it is not there.
    """
    return hash_file(need_file(weights))


def first_line(error: Exception) -> str:
    """Return the start of what a foreign library said, or the name of its error where it said nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:_FIRST] if lines else type(error).__name__


def missing_package(kind: str, package: str, extra: str, error: ImportError) -> SetupError:
    """Return the error for a library that an adapter needs and that does not load."""
    return SetupError(
        f"The teacher adapter '{kind}' needs the package {package}, which does not load ({first_line(error)}); "
        f"install it with: pip install 'da-kd[{extra}]'."
    )


def finish(
    classes: Vocabulary,
    xyxy: npt.NDArray[Any],
    score: npt.NDArray[Any],
    label: npt.NDArray[Any],
    size: tuple[int, ...],
    floor: float,
) -> Detections:
    """Return boxes as an answer: cut to the image, without those below the floor or with nothing inside the image.

    Args:
        classes: the vocabulary.
        xyxy: (N, 4) pixels of the image, which may reach beyond it.
        score: (N,) scores.
        label: (N,) places in the vocabulary; a box with a negative one is left out.
        size: height and width of the image in pixels.
        floor: the least score.
    """
    cut = clip(np.asarray(xyxy, np.float32).reshape(-1, 4), size[1], size[0])
    inside = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])  # False for a NaN
    keep = inside & (score >= floor) & (label >= 0)
    return Detections(classes, cut[keep], np.clip(score[keep], 0, 1), label[keep])
