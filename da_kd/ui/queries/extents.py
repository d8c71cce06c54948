"""How many images of a run's target are in its review, from the disk; FiftyOne stays out of it."""

from __future__ import annotations

from da_kd.pipeline import Run, first
from da_kd.stages.review.extent import read
from da_kd.ui.queries.runs import outputs


def part_in_review(run: Run) -> str:
    """Return what a person is told where not all images are in the review; "" where they are, or it was never open."""
    made = outputs(run)
    place = made.get(first(made, "fuse"))
    extent = read(run.workspace, place.name) if place is not None else None
    return extent.words if extent is not None else ""
