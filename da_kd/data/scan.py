"""What image files are, remembered from one time to the next: hash, size, and whether they can be read.

Ten thousand files that did not change since the last scan cost well under a second. Must not know labels or formats.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from da_kd.data.images import Probe, probe
from da_kd.detections import ImageRecord
from da_kd.errors import DataError
from da_kd.events import Job

_CHUNK = 256  # files between two looks at the stop button; what a kill can lose
_QUERY = 500  # paths per SQL query
_TOO_YOUNG_NS = 20_000_000  # a file written this short ago may change again without its time stamp showing it
_CREATE = """CREATE TABLE IF NOT EXISTS probe_1 (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, verified INTEGER,
    sha TEXT, width INTEGER, height INTEGER, reason TEXT) WITHOUT ROWID"""


class _Stamp(NamedTuple):
    """What tells that a file is still the same."""

    size: int
    mtime_ns: int
    inode: int


class ScanCache:
    """Remembers probes by absolute path, size, time of change, inode, and whether the whole file was decoded.

    What has no hash is not remembered: why a file could not be read may pass without a trace in its stamp.

    Several processes may use one file: every access is one short transaction. A file that is no database, or a broken
    one, is begun anew; a cache that cannot be used never stops the work.

    Args:
        path: the database file, made where missing; None remembers in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.trouble = ""  #: why the cache could not be used the last time, "" where it could
        self._memory: dict[str, tuple[_Stamp, bool, Probe]] = {}

    def __enter__(self) -> ScanCache:
        """Return the cache; nothing stays open between its uses, so ``with`` only shows how long it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def get(self, stamps: Mapping[str, _Stamp], verify: bool) -> dict[str, Probe]:
        """Return what is still true of the files, by absolute path; with ``verify`` only what was fully decoded."""
        rows = self._rows(list(stamps))
        return {
            path: known
            for path, (stamp, verified, known) in rows.items()
            if stamp == stamps[path] and (verified or not verify) and known.sha
        }

    def put(self, found: Mapping[str, tuple[_Stamp, Probe]], verified: bool) -> None:
        """Remember probes by absolute path."""
        if self.path is None:
            self._memory.update({path: (stamp, verified, known) for path, (stamp, known) in found.items()})
            return
        rows = [(path, *stamp, int(verified), *known) for path, (stamp, known) in found.items()]
        with self._connect() as connection:
            if connection is not None:
                connection.executemany("INSERT OR REPLACE INTO probe_1 VALUES (?,?,?,?,?,?,?,?,?)", rows)

    def _rows(self, paths: Sequence[str]) -> dict[str, tuple[_Stamp, bool, Probe]]:
        """Return what is remembered, true or not."""
        if self.path is None:
            return {path: self._memory[path] for path in paths if path in self._memory}
        rows: dict[str, tuple[_Stamp, bool, Probe]] = {}
        with self._connect() as connection:
            for start in range(0, len(paths) if connection is not None else 0, _QUERY):
                part = paths[start : start + _QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT * FROM probe_1 WHERE path IN ({marks})"  # noqa: S608 - only question marks go in
                for row in connection.execute(query, part):  # type: ignore[union-attr]
                    rows[row[0]] = (_Stamp(*row[1:4]), bool(row[4]), Probe(*row[5:9]))
        return rows

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection inside one transaction; None where the database cannot be had."""
        self.trouble = ""
        try:
            connection = self._fresh()
        except (sqlite3.Error, OSError) as error:
            self.trouble = str(error)
            yield None
            return
        with closing(connection):
            try:
                with connection:
                    yield connection
            except sqlite3.Error as error:
                self.trouble = str(error)
                if not isinstance(error, sqlite3.OperationalError):  # damaged further inside
                    self._remove()

    def _fresh(self) -> sqlite3.Connection:
        """Open the database; one that is broken is removed first."""
        assert self.path is not None  # noqa: S101 - for the type checker
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._opened(self.path)
        except sqlite3.OperationalError:
            raise  # locked, read-only, disk full: the file itself may be sound
        except sqlite3.DatabaseError:
            self._remove()
            return self._opened(self.path)

    @staticmethod
    def _opened(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute(_CREATE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        assert self.path is not None  # noqa: S101 - for the type checker
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def scan(
    root: Path, keys: Sequence[str], cache: ScanCache, *, verify: bool = True, job: Job | None = None
) -> list[ImageRecord]:
    """Return one record per image, in the order of ``keys``; bad files carry their reason.

    Args:
        root: the folder the keys count from.
        keys: image names with ``/`` between folders.
        cache: what was found the last time; it learns what is new.
        verify: decode files fully, so that truncated ones are found.
        job: hears of progress; a stop loses no file that was read.

    Raises:
        DataError: a file's name is not UTF-8, so that no table could hold it.
        Cancelled: a person asked to stop.
    """
    job = job or Job()
    base = str(root.absolute())
    paths = {key: os.path.join(base, key) for key in keys}  # noqa: PTH118 - a Path each would cost more than the scan
    _require_utf8(paths.values())
    stamps = {path: stamp for path in paths.values() if (stamp := _stamp(path)) is not None}
    known = cache.get(stamps, verify)
    missing = [path for path in dict.fromkeys(paths.values()) if path not in known]
    known |= _probe_all(missing, stamps, cache, verify, job)
    if cache.trouble:
        job.warn(f"Image hashes could not be remembered in {cache.path} ({cache.trouble}); they are computed anew.")
    return [ImageRecord(key, *known[path]) for key, path in paths.items()]


def _require_utf8(paths: Iterable[str]) -> None:
    """Refuse names that have bytes which are no text."""
    odd = [path for path in paths if not _is_utf8(path)]
    if odd:
        shown = odd[0].encode("utf-8", "backslashreplace").decode()
        raise DataError(f"Expected images with names in UTF-8; found {len(odd)} others, e.g. {shown}; rename them.")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _probe_all(
    paths: Sequence[str], stamps: Mapping[str, _Stamp], cache: ScanCache, verify: bool, job: Job
) -> dict[str, Probe]:
    """Read files in a few threads, a chunk at a time, and remember them."""
    found: dict[str, Probe] = {}
    if not paths:
        return found
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _CHUNK):
            job.check()
            job.progress("read images", start, len(paths), "images")
            part = paths[start : start + _CHUNK]
            now = time.time_ns()
            fresh = dict(zip(part, pool.map(lambda path: probe(Path(path), verify=verify), part), strict=True))
            found |= fresh
            settled = {p: (stamps[p], known) for p, known in fresh.items() if _settled(stamps.get(p), now)}
            cache.put({path: entry for path, entry in settled.items() if entry[1].sha}, verify)
    job.progress("read images", len(paths), len(paths), "images")
    return found


def _settled(stamp: _Stamp | None, now: int) -> bool:
    """Say whether a later change of the file would show in its time stamp."""
    return stamp is not None and now - stamp.mtime_ns > _TOO_YOUNG_NS


def _stamp(path: str) -> _Stamp | None:
    """Return a file's stamp, None where there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
