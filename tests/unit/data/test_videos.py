from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import open_video, read_image
from da_kd.errors import Cancelled, DataError
from da_kd.events import Event, Job, Note


@pytest.fixture
def video(tmp_path: Path):
    """Write ten gray frames a second, each brighter than the one before."""
    cv2 = pytest.importorskip("cv2")

    def write(name: str, frames: int = 20) -> Path:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
        if not writer.isOpened():
            pytest.skip("this OpenCV cannot write MJPG video")
        for index in range(frames):
            writer.write(np.full((48, 64, 3), index * 10 % 250, np.uint8))
        writer.release()
        return path

    return write


def test_frames_at_even_times(video, tmp_path: Path) -> None:
    source = open_video(video("a.avi"), 2.5, tmp_path / "frames")
    assert source.keys == tuple(f"a.avi/{index:06d}.jpg" for index in (0, 4, 8, 12, 16))
    assert abs(int(read_image(source.root / source.keys[2])[0, 0, 0]) - 80) < 5
    assert len(open_video(video("a.avi"), 99, tmp_path / "frames").keys) == 20


def test_no_more_frames_than_asked_for(video, tmp_path: Path) -> None:
    told: list[Event] = []
    few = open_video(video("a.avi"), 10, tmp_path / "frames", Job(told.append), most=3)
    assert len(few.keys) == len(list((tmp_path / "frames").rglob("*.jpg"))) == 3
    assert [event for event in told if isinstance(event, Note)] == []  # what is left out was not wanted
    assert len(open_video(video("a.avi"), 10, tmp_path / "frames").keys) == 20


def test_finished_videos_are_not_read_again(video, tmp_path: Path) -> None:
    path = video("a.avi")
    first = open_video(path, 1, tmp_path / "frames")
    stamp = (first.root / first.keys[0]).stat().st_mtime_ns
    again = open_video(path, 1, tmp_path / "frames")
    assert again.keys == first.keys
    assert (again.root / again.keys[0]).stat().st_mtime_ns == stamp
    video("a.avi", frames=40)
    assert len(open_video(path, 1, tmp_path / "frames").keys) == 4


def test_a_folder_of_videos(video, tmp_path: Path, load) -> None:
    video("day/a.avi")
    video("night/a.avi")
    found = load("cat", labels=False, path="videos", fps=1)
    assert found.table.key == tuple(f"{part}/a.avi/{index:06d}.jpg" for part in ("day", "night") for index in (0, 10))
    held = load("cat", labels=False, path="videos", fps=1, holdout={"group": "video", "fraction": 0.5})
    assert len({key.rsplit("/", 1)[0] for key in held.table.key}) == 1


def test_an_unreadable_video(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "bad.avi"
    path.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"bad\.avi; it cannot be opened"):
        open_video(path, 1, tmp_path / "frames")
    assert not list((tmp_path / "frames").rglob("*.tmp"))


def test_a_stop_leaves_no_half_video(video, tmp_path: Path) -> None:
    path, asked = video("a.avi"), iter(range(100))
    with pytest.raises(Cancelled):
        open_video(path, 10, tmp_path / "frames", Job(cancelled=lambda: next(asked) > 5))
    assert not list((tmp_path / "frames").rglob("*.jpg"))
    assert len(open_video(path, 10, tmp_path / "frames").keys) == 20


def test_two_that_want_one_video_extract_it_once(video, tmp_path: Path) -> None:
    path, folders, told = video("a.avi"), [], []
    goes_on = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.text)
            goes_on.set()

    def other() -> None:
        source = open_video(path, 10, tmp_path / "frames", Job(hear))
        folders.append((source.root / "a.avi").stat().st_ino)
        goes_on.set()

    thread = threading.Thread(target=other)

    def begin_the_other() -> bool:
        """Begin another extraction in the middle of the first, and go on once it waits."""
        if not thread.ident and list((tmp_path / "frames").rglob("*.jpg")):
            thread.start()
            goes_on.wait(60)
        return False

    source = open_video(path, 10, tmp_path / "frames", Job(cancelled=begin_the_other))
    thread.join(60)
    assert folders == [(source.root / "a.avi").stat().st_ino]
    assert len(told) == 1 and "which uses the video" in told[0]


def test_what_a_killed_extraction_left_is_removed(video, tmp_path: Path) -> None:
    path = video("a.avi")
    root = open_video(path, 10, tmp_path / "frames").root
    (root / ".a.avi.123.tmp").mkdir()
    (root / ".a.avi.123.tmp/000000.jpg").touch()
    (root / ".a.avi.b.avi.123.tmp").mkdir()  # of another video
    video("a.avi", frames=30)
    open_video(path, 10, tmp_path / "frames")
    assert [found.name for found in root.glob(".*.tmp")] == [".a.avi.b.avi.123.tmp"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        open_video(tmp_path / "none.mp4", 1, tmp_path)
    with pytest.raises(DataError, match="found no video there"):
        open_video(tmp_path, 1, tmp_path)


def test_a_video_has_no_labels_and_no_splits(video, load) -> None:
    video("a.avi")
    with pytest.raises(DataError, match="found images alone"):
        load("cat", path="videos")
    with pytest.raises(DataError, match="no splits"):
        load("cat", labels=False, path="videos", split="train")
