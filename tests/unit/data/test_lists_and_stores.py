"""Images that a Parquet file lists, and sets of an object store; ``file://`` is one that every machine has."""

from __future__ import annotations

import queue
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from da_kd.data.remote import copy_folder
from da_kd.errors import DataError
from da_kd.events import Event, Job, Progress


def listed(path: Path, *names: str | None, column: str = "path") -> Path:
    pq.write_table(pa.table({column: pa.array(names, pa.string()), "other": list(range(len(names)))}), path)
    return path


@pytest.fixture
def store(tmp_path: Path, picture) -> Path:
    """A folder that plays the store: two images, one of them in a folder of its own."""
    for seed, name in enumerate(("b.png", "deep/a.png")):
        picture(tmp_path / "store" / name, seed=seed)
    return tmp_path / "store"


def copied(events: list[Event]) -> int:
    return max(
        (event.total or 0 for event in events if isinstance(event, Progress) and "store" in event.task), default=0
    )


def test_a_list_is_taken_in_its_order_wherever_the_files_lie(tmp_path: Path, store: Path, picture, load) -> None:
    picture(tmp_path / "elsewhere.png", seed=9)
    listed(tmp_path / "store/some.parquet", str(tmp_path / "elsewhere.png"), "b.png", "deep/../deep/a.png", "gone.png")
    images = load(path="store/some.parquet", labels=False)
    assert images.table.key == ("elsewhere.png", "store/b.png", "store/deep/a.png", "store/gone.png")
    assert images.table.reason == ("", "", "", "missing file")
    assert all(path.is_file() for path in images.paths[:3])


def test_a_remote_folder_is_the_folder(store: Path, load, events: list[Event]) -> None:
    here = load(path="store", labels=False)
    there = load(path=store.as_uri(), labels=False)
    assert (there.table.key, there.table.sha) == (here.table.key, here.table.sha)
    assert there.root != here.root
    assert copied(events) == 2


def test_what_did_not_change_is_not_copied_again(store: Path, picture, load, events: list[Event]) -> None:
    load(path=store.as_uri(), labels=False)
    events.clear()
    load(path=store.as_uri(), labels=False)
    assert copied(events) == 0
    picture(store / "b.png", seed=7)
    picture(store / "c.png", seed=8)
    (store / "deep/a.png").unlink()
    assert load(path=store.as_uri(), labels=False).table.sha == load(path="store", labels=False).table.sha
    assert copied(events) == 2


def test_two_readers_of_one_folder_leave_each_others_files_alone(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, copy = threading.Event(), threading.Event(), shutil.copyfileobj

    def slow(source, target, size):
        copy(source, target, size)
        begun.set()
        may_end.wait(60)

    monkeypatch.setattr(shutil, "copyfileobj", slow)
    with ThreadPoolExecutor(2) as readers:
        first = readers.submit(copy_folder, store.as_uri(), tmp_path / "copies", Job())
        assert begun.wait(60)
        told = queue.Queue[Event]()
        second = readers.submit(copy_folder, store.as_uri(), tmp_path / "copies", Job(told.put))
        assert "Waiting for process" in told.get(timeout=60).text
        may_end.set()
        assert first.result() == second.result()
    assert sorted(path.name for path in first.result().rglob("*.*")) == ["a.png", "b.png"]


def test_a_list_of_uris_may_be_remote_itself(tmp_path: Path, store: Path, load) -> None:
    names = [(store / name).as_uri() for name in ("deep/a.png", "b.png", "gone.png")]
    where = listed(tmp_path / "some.parquet", *names)
    images = load(path=where.as_uri(), labels=False)
    assert [Path(key).name for key in images.table.key] == ["a.png", "b.png", "gone.png"]
    assert images.table.reason == ("", "", "missing file")
    assert images.table.sha[:2] == load(path="store", labels=False).table.sha[::-1]


def test_labels_of_a_remote_set_are_read(tmp_path: Path, picture, load) -> None:
    picture(tmp_path / "set/images/0.png", (100, 100))
    (tmp_path / "set/labels").mkdir()
    (tmp_path / "set/labels/0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [x]\n")
    assert load("x", path=(tmp_path / "set").as_uri()).table.xyxy.tolist() == [[40, 40, 60, 60]]


@pytest.mark.parametrize(
    ("names", "column", "problem"),
    [
        (["a.png", "a.png"], "path", "found 'a.png' more than once"),
        (["a.png", None], "path", "row 1 has none"),
        (["a.png", "file:///b.png"], "path", "found both. Make two lists"),
        (["a.png"], "file", "a text column 'path'"),
        ([], "path", "expected images in"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, load, names, column, problem) -> None:
    listed(tmp_path / "some.parquet", *names, column=column)
    with pytest.raises(DataError, match=problem):
        load(path="some.parquet", labels=False)


@pytest.mark.parametrize("uri", ["file:///no/such/folder", "nonsense://bucket/folder"])
def test_a_store_that_cannot_be_read_is_said(load, uri) -> None:
    with pytest.raises(DataError, match=r"^data\.source: Expected files at .*cannot be read"):
        load(path=uri, labels=False)
