"""Refreshed labels on the disk: those of one epoch, for the images that were not mixed in."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.training.mixing import Share
from da_kd.training.refresh import Refresh, forget_labels, refreshed
from da_kd.training.signals import Lesson

NAMES = ("a", "b")


def lesson(*shares: Share) -> Lesson:
    """Return four images with a box each."""
    records = [ImageRecord(f"{number}.png", str(number), 50, 50) for number in range(4)]
    found = {record.key: Detections(NAMES, [[1, 2, 30, 40]], [0.5], [0]) for record in records}
    return Lesson(ImageSet(Path("images"), table_of(NAMES, records, found, teachers=("one",))), shares=shares)


@pytest.mark.parametrize(("shares", "own"), [((), 4), ((Share("source", 3, 1, 1),), 3)])
def test_images_that_were_mixed_in_keep_their_labels(tmp_path: Path, shares, own) -> None:
    fixed = lesson(*shares)
    table = fixed.images.table.take(range(own))
    changed = dataclasses.replace(table, state=np.full(own, State.DROPPED, np.int8))
    changed.write(tmp_path / "labels-refreshed-7.parquet")
    now = refreshed(fixed, 7, tmp_path)
    assert now.images.table.state.tolist() == [State.DROPPED] * own + [State.KEPT] * (4 - own)
    assert now.images.table.key == fixed.images.table.key
    assert (now.order == fixed.order).all()
    assert fixed.images.table.state.tolist() == [State.KEPT] * 4
    with pytest.raises(DataError, match=r"labels-refreshed-8\.parquet"):
        refreshed(fixed, 8, tmp_path)
    forget_labels(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_begins_after_just_the_share_of_the_epochs_that_was_asked_for() -> None:
    for share, epochs in itertools.product(range(1, 101), range(1, 101)):
        rule, first = Refresh(1, share / 100, 0.02, 4, lambda fixed, *_: fixed), -(-share * epochs // 100)
        assert [rule.last_due(done, epochs) for done in (first - 1, first)] == [0, first], (share, epochs)
