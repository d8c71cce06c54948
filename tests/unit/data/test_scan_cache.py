from __future__ import annotations

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from da_kd.data import ScanCache, scan
from da_kd.data.images import Probe
from da_kd.data.scan import _Stamp
from da_kd.errors import Cancelled
from da_kd.events import Job

KEYS = ["a.png", "deep/b.png", "c.png"]


@pytest.fixture
def root(tmp_path: Path, picture) -> Path:
    for seed, key in enumerate(KEYS):
        age(picture(tmp_path / "images" / key, seed=seed))
    return tmp_path / "images"


def age(path: Path, seconds: float = 100) -> None:
    """Make a file look written some time ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the files that are really read."""
    import sys

    module, names = sys.modules["da_kd.data.scan"], []
    real = module.probe
    monkeypatch.setattr(module, "probe", lambda path, **how: (names.append(path.name), real(path, **how))[1])
    return names


@pytest.fixture(params=[True, False], ids=["file", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> ScanCache:
    return ScanCache(tmp_path / "cache" / "scan.sqlite" if request.param else None)


def test_unchanged_files_are_read_once(root: Path, cache: ScanCache, reads: list[str]) -> None:
    first = scan(root, KEYS, cache)
    assert [record.key for record in first] == KEYS
    assert len(reads) == 3
    assert scan(root, KEYS, cache) == first
    assert len(reads) == 3


def test_a_new_process_remembers(root: Path, tmp_path: Path, reads: list[str]) -> None:
    first = scan(root, KEYS, ScanCache(tmp_path / "scan.sqlite"))
    assert scan(root, KEYS, ScanCache(tmp_path / "scan.sqlite")) == first
    assert len(reads) == 3


def test_a_changed_file_is_read_again(root: Path, cache: ScanCache, reads: list[str], picture) -> None:
    before = scan(root, KEYS, cache)
    age(picture(root / "c.png", (50, 20), seed=9), 50)
    after = scan(root, KEYS, cache)
    assert reads[3:] == ["c.png"]
    assert (after[2].width, after[2].height) == (50, 20)
    assert after[2].sha != before[2].sha
    assert after[:2] == before[:2]


def test_a_file_of_this_moment_is_not_trusted_later(root: Path, cache: ScanCache, reads: list[str], picture) -> None:
    future = time.time() + 1000
    os.utime(root / "a.png", (future, future))
    scan(root, KEYS, cache)
    scan(root, KEYS, cache)
    assert reads[3:] == ["a.png"]


def test_a_look_at_the_header_is_no_verification(root: Path, cache: ScanCache, reads: list[str]) -> None:
    path = root / "a.png"
    path.write_bytes(path.read_bytes()[:-200])
    age(path)
    assert scan(root, KEYS, cache, verify=False)[0].reason == ""
    assert scan(root, KEYS, cache, verify=True)[0].reason == "truncated"
    assert len(reads) == 6
    assert scan(root, KEYS, cache, verify=False)[0].reason == "truncated"  # known by now
    assert len(reads) == 6


def test_a_broken_database_is_begun_anew(root: Path, tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "scan.sqlite").write_bytes(b"this is no database at all" * 100)
    cache = ScanCache(tmp_path / "scan.sqlite")
    scan(root, KEYS, cache)
    scan(root, KEYS, cache)
    assert len(reads) == 3
    assert not cache.trouble


def test_a_cache_that_cannot_be_written_only_warns(root: Path, tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "file").touch()
    heard: list = []
    records = scan(root, KEYS, ScanCache(tmp_path / "file" / "scan.sqlite"), job=Job(heard.append))
    assert not any(record.reason for record in records)
    assert any("could not be remembered" in getattr(event, "text", "") for event in heard)


def test_several_at_once(root: Path, tmp_path: Path) -> None:
    expected = scan(root, KEYS, ScanCache(None))
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: scan(root, KEYS, ScanCache(tmp_path / "scan.sqlite")), range(12)))
    assert all(run == expected for run in runs)


def test_a_stop_is_heard(root: Path) -> None:
    with pytest.raises(Cancelled):
        scan(root, KEYS, ScanCache(None), job=Job(cancelled=lambda: True))


def test_a_file_that_could_not_be_opened_is_tried_again(root: Path) -> None:
    cache = ScanCache(None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no further file can be opened
    try:
        records = scan(root, KEYS, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {record.reason for record in records} == {"cannot be opened (Too many open files)"}
    assert not any(record.reason for record in scan(root, KEYS, cache))


def test_what_an_earlier_version_remembered_of_such_a_file_is_not_believed(root: Path, cache: ScanCache) -> None:
    path = root / "a.png"
    status = path.stat()
    stamp = _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
    cache.put({str(path): (stamp, Probe("", 0, 0, "cannot be opened (Permission denied)"))}, verified=True)
    assert scan(root, ["a.png"], cache)[0].reason == ""


def test_missing_files_keep_their_place(root: Path, cache: ScanCache) -> None:
    records = scan(root, ["c.png", "gone.png", "a.png"], cache)
    assert [record.reason for record in records] == ["", "missing file", ""]
