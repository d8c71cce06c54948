"""Tables written and read part by part: the whole is what it would be at once, and a failure leaves nothing."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import DetectionTable, ImageRecord, read_table, stack, table_of
from da_kd.errors import DataError
from da_kd.tables import outline, read_parts, writing

COLUMNS = tuple(field.name for field in dataclasses.fields(DetectionTable))


def same(one, other):
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a == b
        for a, b in ((getattr(one, name), getattr(other, name)) for name in COLUMNS)
    )


def table(keys, boxes=3):
    """So many boxes in the first image, one fewer in every next."""
    random = np.random.default_rng(len(keys))
    counts = np.maximum(boxes - np.arange(len(keys)), 0)
    rows = table_of(("a", "b"), [ImageRecord(key, f"{key}0", 9, 8) for key in keys], {}, teachers=("t", "u"))
    total = int(counts.sum())
    return dataclasses.replace(
        rows,
        searched=random.random((len(keys), 2)) < 0.5,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        xyxy=random.random((total, 4), np.float32),
        score=random.random(total, np.float32),
        label=random.integers(0, 2, total).astype(np.int32),
        state=random.integers(0, 4, total).astype(np.int8),
        agreement=random.random(total, np.float32),
        protected=random.random(total) < 0.5,
        teacher_score=np.where(random.random((total, 2)) < 0.5, np.nan, 0.5).astype(np.float32),
    )


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 2), (4, 4)])
def test_parts_become_one_table_and_come_back_as_they_were(tmp_path, sizes):
    parts = [table([f"{number}-{i}" for i in range(size)]) for number, size in enumerate(sizes)]
    with writing(tmp_path / "x.parquet") as add:
        for part in parts:
            add(part)
        assert not (tmp_path / "x.parquet").exists()
    assert same(read_table(tmp_path / "x.parquet"), stack(parts))
    back = list(read_parts(tmp_path / "x.parquet"))
    assert len(back) == len(parts)
    assert all(same(one, other) for one, other in zip(back, parts, strict=True))
    assert outline(tmp_path / "x.parquet") == (sum(sizes), ("a", "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_table_without_images_is_a_part_too(tmp_path):
    with writing(tmp_path / "x.parquet") as add:
        add(table([]))
    assert same(read_table(tmp_path / "x.parquet"), table([]))


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.parquet"
    table(["a"]).write(path)
    with pytest.raises(ZeroDivisionError), writing(path) as add:
        add(table(["b"]))
        raise ZeroDivisionError
    assert read_table(path).key == ("a",)
    assert [left.name for left in tmp_path.iterdir()] == ["x.parquet"]


def test_a_table_that_cannot_be_finished_leaves_what_was_there(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    def full(writer):
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.parquet"
    table(["a"]).write(path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"), writing(path) as add:
        patch.setattr(pq.ParquetWriter, "close", full)
        add(table(["b"]))
    assert read_table(path).key == ("a",)
    assert [left.name for left in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("read", [outline, lambda path: list(read_parts(path))])
def test_what_is_no_table_is_told_with_its_place(tmp_path, read):
    with pytest.raises(DataError, match=r"Expected a detection table at .*x\.parquet"):
        read(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "x.parquet")


def test_a_run_of_images_is_what_taking_them_gives():
    whole = table(list("abcdef"), boxes=4)
    for begin in range(7):
        for end in range(begin, 7):
            assert same(whole.part(slice(begin, end)), whole.take(range(begin, end)))
    assert np.shares_memory(whole.part(slice(1, 4)).xyxy, whole.xyxy)
