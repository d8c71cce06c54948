"""How many images are in a review is told without a database."""

import pytest

from da_kd.stages.review import extent
from da_kd.stages.review.extent import Extent
from da_kd.ui.queries.extents import part_in_review


@pytest.mark.parametrize("step", ["fuse", "fuse@1"])
def test_a_part_is_told_and_the_whole_is_not(run, finished, step):
    assert part_in_review(run) == ""
    place = finished(step, "fuse")
    assert part_in_review(run) == ""
    extent.write(run.workspace, place.name, Extent(5, 20, 5))
    assert part_in_review(run).startswith("5 of 20 images are in this review")
    extent.write(run.workspace, place.name, Extent(20, 20, None))
    assert part_in_review(run) == ""
