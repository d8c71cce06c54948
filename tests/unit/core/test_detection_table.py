"""The currency between stages: what fits together, what is refused, and that the disk gives back what it got."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, read_table, stack, table_of
from da_kd.errors import DataError

EASY = settings(max_examples=40, deadline=None)
COLUMNS = tuple(field.name for field in dataclasses.fields(DetectionTable))
BOX_COLUMNS = ("xyxy", "score", "label", "state", "agreement", "protected", "teacher_score")
unit = st.floats(0, 1, width=32)
names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)


@st.composite
def tables(draw, prefix="", vocabulary=None, teachers=None):
    """Any table, the odd ones included: no images, no boxes, no teachers, silent teachers."""
    if vocabulary is None:
        vocabulary = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    if teachers is None:
        teachers = tuple(draw(st.lists(names, max_size=3, unique=True)))
    counts = draw(st.lists(st.integers(0, 4), max_size=4))
    images, count = len(counts), sum(counts)

    def some(strategy, *shape, dtype=np.float32):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(strategy, min_size=size, max_size=size)), dtype).reshape(shape)

    return DetectionTable(
        vocabulary=vocabulary,
        key=tuple(f"{prefix}{i}/ä.jpg" for i in range(images)),
        sha=tuple(f"{i:02x}" for i in range(images)),
        size=some(st.integers(0, 9000), images, 2, dtype=np.int32),
        reason=tuple(draw(st.lists(st.sampled_from(["", "truncated"]), min_size=images, max_size=images))),
        searched=some(st.booleans(), images, len(vocabulary), dtype=bool),
        offsets=np.cumsum([0, *counts]).astype(np.int64),
        xyxy=some(st.floats(-10, 1e4, width=32), count, 4),
        score=some(unit, count),
        label=some(st.integers(0, len(vocabulary) - 1), count, dtype=np.int32),
        state=some(st.integers(0, 3), count, dtype=np.int8),
        agreement=some(unit, count),
        protected=some(st.booleans(), count, dtype=bool),
        teachers=teachers,
        teacher_score=some(st.one_of(unit, st.just(float("nan"))), count, len(teachers)),
    )


def same(a, b):
    """Assert that two tables are the same to the last bit and type."""
    for name in COLUMNS:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, tuple):
            assert left == right, name
        else:
            assert left.dtype == right.dtype, name
            assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name


def small(**changes):
    """Two images with three boxes."""
    given_columns = {
        "vocabulary": ("a", "b"),
        "key": ("1.jpg", "2.jpg"),
        "sha": ("", ""),
        "size": np.zeros((2, 2), np.int32),
        "reason": ("", "gone"),
        "searched": np.ones((2, 2), bool),
        "offsets": np.array([0, 2, 3]),
        "xyxy": np.arange(12, dtype=np.float32).reshape(3, 4),
        "score": np.array([0.9, 0.5, 0.1], np.float32),
        "label": np.array([0, 1, 0], np.int32),
        "state": np.array([0, 1, 3], np.int8),
        "agreement": np.ones(3, np.float32),
        "protected": np.zeros(3, bool),
    }
    return DetectionTable(**{**given_columns, **changes})


@given(tables())
@EASY
def test_what_is_written_is_read_back_exactly(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    table.write(path)
    same(read_table(path), table)
    assert [item.name for item in path.parent.iterdir()] == ["t.parquet"]  # nothing temporary stays
    before = path.read_bytes()
    read_table(path).write(path)
    assert path.read_bytes() == before  # the same table is the same file


@given(tables(), st.data())
@EASY
def test_taken_images_bring_their_own_boxes(table, data):
    order = data.draw(st.permutations(range(len(table))))[: data.draw(st.integers(0, len(table)))]
    part = table.take(order)
    assert part.key == tuple(table.key[i] for i in order)
    for new, old in enumerate(order):
        here, there = slice(*part.offsets[new : new + 2]), slice(*table.offsets[old : old + 2])
        for name in BOX_COLUMNS:
            assert np.array_equal(getattr(part, name)[here], getattr(table, name)[there], equal_nan=name != "protected")
    same(table.take(range(len(table))), table)


@given(tables(), st.data())
@EASY
def test_picked_boxes_keep_every_image(table, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(table.xyxy), max_size=len(table.xyxy))), bool)
    part = table.pick_boxes(keep)
    assert part.key == table.key
    assert np.array_equal(part.image_index, table.image_index[keep])
    assert np.array_equal(part.xyxy, table.xyxy[keep])
    same(table.pick_boxes(np.ones(len(table.xyxy), bool)), table)


@given(st.tuples(*[tables(prefix, ("x", "y"), ("t",)) for prefix in "abc"]))
@EASY
def test_joined_tables_come_apart_again(parts):
    joined = stack(parts)
    start = 0
    for part in parts:
        same(joined.take(range(start, start + len(part))), part)
        start += len(part)
    assert start == len(joined)
    same(stack([parts[0]]), parts[0])


def test_joining_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="no detection table"):
        stack([])
    with pytest.raises(DataError, match="unique"):
        stack([small(), small()])
    with pytest.raises(DataError, match="same classes"):
        stack([small(), small(vocabulary=("b", "a"), key=("3", "4"))])
    with pytest.raises(DataError, match="same classes and teachers"):
        stack([small(), small(teachers=("t",), key=("3", "4"))])


def test_columns_refuse_to_be_written():
    table = small()
    for name in COLUMNS:
        column = getattr(table, name)
        if isinstance(column, np.ndarray) and column.size:
            with pytest.raises(ValueError, match="read-only"):
                column[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.key = ()
    with pytest.raises(ValueError, match="read-only"):
        table.at(0).xyxy[0] = 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": np.ones(2, np.float32)}, r"'score' .* \(3,\); found \(2,\)"),
        ({"xyxy": np.ones((3, 5), np.float32)}, r"'xyxy' .* \(3, 4\); found \(3, 5\)"),
        ({"searched": np.ones((2, 1), bool)}, r"'searched' .* \(2, 2\)"),
        ({"offsets": np.array([0, 3])}, r"'offsets' .* \(3,\)"),
        ({"offsets": np.array([0, 2, 2])}, "rise from 0 to its 3 boxes"),
        ({"offsets": np.array([1, 2, 3])}, "rise from 0 to its 3 boxes"),
        ({"offsets": np.array([0, 4, 3])}, "rise from 0 to its 3 boxes"),
        ({"sha": ("",)}, "as many hashes"),
        ({"reason": ("", "", "")}, "as many hashes and reasons"),
        ({"key": ("1.jpg", "1.jpg")}, "unique"),
        ({"teachers": ("t",), "teacher_score": np.ones((2, 1), np.float32)}, r"'teacher_score' .* \(3, 1\)"),
        ({"teacher_score": np.ones((3, 1), np.float32)}, r"'teacher_score' .* \(3, 0\); found \(3, 1\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        small(**changes)


def test_teachers_whose_scores_are_not_given_said_nothing():
    assert np.isnan(small(teachers=("t", "u")).teacher_score).tolist() == [[True, True]] * 3
    empty = table_of(("a",), [], {})
    assert dataclasses.replace(empty, teachers=("t",), teacher_score=np.zeros((0, 0))).teacher_score.shape == (0, 1)


def test_images_may_be_counted_from_the_end_and_must_exist():
    table = small()
    same(table.take([-1]), table.take([1]))
    with pytest.raises(IndexError):
        table.take([2])


def test_one_image_shows_the_boxes_of_the_states_asked_for():
    table = small()
    assert table.at(0).score.tolist() == pytest.approx([0.9])
    assert table.at(0, (State.KEPT, State.UNCERTAIN)).label.tolist() == [0, 1]
    assert len(table.at(1)) == 0
    assert [(key, len(found)) for key, found in table] == [("1.jpg", 1), ("2.jpg", 0)]
    assert table.ok.tolist() == [True, False]


def test_a_file_that_is_no_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.parquet"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(DataError, match=r"junk\.parquet"):
        read_table(tmp_path / "junk.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet"):
        read_table(tmp_path / "other.parquet")


def test_a_table_from_single_images_tells_empty_from_not_looked_at():
    records = [ImageRecord("a", "aa", 4, 3), ImageRecord("b", "bb", 4, 3), ImageRecord("c", "", 0, 0, "missing file")]
    one = Detections(("x", "y"), [[0, 0, 2, 2]], [0.5], [1])
    found = {"b": one, "a": Detections.empty(("x", "y"))}
    table = table_of(("x", "y"), records, found, searched=["y"], state={"b": np.array([1])}, teachers=("t",))
    assert table.searched.tolist() == [[False, True], [False, True], [False, False]]
    assert table.offsets.tolist() == [0, 0, 1, 1]
    assert table.state.tolist() == [State.UNCERTAIN]
    assert table.teacher_score.tolist() == [[0.5]]
    assert table.size.tolist() == [[4, 3], [4, 3], [0, 0]]
    assert np.isnan(table_of(("x", "y"), records, found, teachers=("t", "u")).teacher_score).all()
    with pytest.raises(DataError, match="'z'"):
        table_of(("x", "y"), records, {"z": one})
    with pytest.raises(DataError, match="must count into"):
        table_of(("y", "x"), records, found)


@pytest.mark.parametrize(
    ("boxes", "score", "label", "message"),
    [
        ([[0, 0, 1, 1]], [], [0], "one score and one label"),
        ([[0, 0, 1, 1]], [1], [0, 0], "one score and one label"),
        ([[0, 0, 1, 1]], [1], [2], r"0\.\.1 for 2 classes; found 2\.\.2"),
        ([[0, 0, 1, 1]], [1], [-1], "Labels must lie"),
    ],
)
def test_detections_that_do_not_fit_are_refused(boxes, score, label, message):
    with pytest.raises(DataError, match=message):
        Detections(("a", "b"), np.array(boxes), np.array(score), np.array(label))


def test_detections_are_picked_by_mask_or_index():
    found = Detections(("a", "b"), np.arange(8).reshape(2, 4), [0.1, 0.9], [0, 1])
    assert found.pick(np.array([False, True])).label.tolist() == [1]
    assert found.pick(np.array([1, 0])).score.tolist() == pytest.approx([0.9, 0.1])
    assert found.xyxy.dtype == np.float32
    assert len(Detections.empty(("a",))) == 0
