"""Labelled images that every teacher was run over: what teachers say where the truth is known. Knows no use for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable


@dataclass(frozen=True)
class Sample:
    """What the teachers said of labelled images.

    Attributes:
        name: the set under ``data``: ``source_val``, ``source`` or ``target_dev``; or ``audit``, images of the target
            that a person labelled completely.
        truth: its labels, in the recipe's classes.
        said: by teacher, its predictions of the same images in the same order, in its own vocabulary. On source images
            it is the teacher before it was adapted to the target.
        held_out: whether no teacher learned from these images; what teachers say of images they learned from is surer
            than it would be, so nothing is fitted on it.
        weight: (I,) how many images each stands for; None where all stand for as many.
    """

    name: str
    truth: DetectionTable
    said: Mapping[str, DetectionTable]
    held_out: bool
    weight: npt.NDArray[np.float64] | None = None
