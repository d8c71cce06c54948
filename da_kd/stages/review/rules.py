"""The rule of a scripted review. Pure: knows a table and two figures, and neither FiftyOne nor a disk."""

from __future__ import annotations

import dataclasses

import numpy as np

from da_kd.detections import DetectionTable, State
from da_kd.recipe import Accept


def apply_rule(table: DetectionTable, accept: Accept) -> DetectionTable:
    """Return the table with every kept box that does not reach both figures of ``accept`` made uncertain.

    Boxes that a person decided on (``protected``) are never changed, nor is any box that is not kept. A rule protects
    nothing: what it accepts is only a state.
    """
    # The columns are float32, and so must the figures be: 0.7 in a recipe is to accept a score of 0.7.
    reaches = (table.score >= np.float32(accept.score)) & (table.agreement >= np.float32(accept.agreement))
    doubtful = (table.state == State.KEPT) & ~reaches & ~table.protected
    return dataclasses.replace(table, state=np.where(doubtful, State.UNCERTAIN, table.state).astype(np.int8))
