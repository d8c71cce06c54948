"""Labelled images that every teacher was run over: what teachers say where the truth is known. Knows no use for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from da_kd.detections import DetectionTable


@dataclass(frozen=True)
class Sample:
    """What the teachers said of labelled images.

    Attributes:
        name: the set under ``data``: ``source_val``, ``source`` or ``target_dev``.
        truth: its labels, in the recipe's classes.
        said: by teacher, its predictions of the same images in the same order, in its own vocabulary. On source images
            it is the teacher before it was adapted to the target.
        held_out: whether no teacher learned from these images; what teachers say of images they learned from is surer
            than it would be, so nothing is fitted on it.
    """

    name: str
    truth: DetectionTable
    said: Mapping[str, DetectionTable]
    held_out: bool
