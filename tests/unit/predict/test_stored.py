"""Predictions read a part at a time: what is read is what the whole says, and of shards one stays in memory."""

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.errors import DataError
from da_kd.stages.predict import StoredPredictions, read_predictions


@pytest.fixture
def folder(tmp_path):
    """Shards of 4, 4, 1, 4 and 2 images, with as many boxes in an image as its number says."""
    begin = 0
    (tmp_path / "shards").mkdir()
    for number, size in enumerate((4, 4, 1, 4, 2)):
        records = [ImageRecord(f"{i:02}.png", f"{i:x}", 9, 9) for i in range(begin, begin + size)]
        found = {
            record.key: Detections(("a",), np.full((i, 4), i), np.full(i, 0.5), np.zeros(i, int))
            for i, record in enumerate(records, begin)
        }
        table_of(("a",), records, found).write(tmp_path / "shards" / f"{number:05d}.parquet")
        begin += size
    return tmp_path


def test_every_run_of_images_is_what_the_whole_says(folder):
    said, whole = StoredPredictions(folder), read_predictions(folder)
    assert (len(said), said.vocabulary) == (len(whole), ("a",))
    for begin in range(15):
        for end in range(begin + 1, 16):
            part = said.part(slice(begin, end))
            assert part.key == whole.key[begin:end]
            assert np.array_equal(part.xyxy, whole.take(range(begin, end)).xyxy)


@pytest.mark.parametrize("places", [[3], [14, 0, 7, 8, 1], list(range(15))[::-1]])
def test_images_are_taken_in_the_order_asked_for(folder, places):
    part, wanted = StoredPredictions(folder).take(places), read_predictions(folder).take(places)
    assert part.key == wanted.key
    assert np.array_equal(part.xyxy, wanted.xyxy)
    assert np.array_equal(part.offsets, wanted.offsets)


def test_a_shard_is_read_once_however_small_the_parts(folder, monkeypatch):
    from da_kd.stages.predict import stored

    read = []
    monkeypatch.setattr(stored, "read_table", lambda path, real=stored.read_table: read.append(path.name) or real(path))
    said = StoredPredictions(folder)
    for begin in range(0, 15, 3):
        said.part(slice(begin, begin + 3))
    assert read == [f"{number:05d}.parquet" for number in range(5)]


def test_no_predictions_and_those_that_are_gone_are_told(folder, tmp_path):
    said = StoredPredictions(folder)
    for path in (folder / "shards").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        said.part(slice(0, 1))
    with pytest.raises(DataError, match="run \\*predict\\* again"):
        StoredPredictions(folder)
