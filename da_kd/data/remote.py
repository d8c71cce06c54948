"""Files of an object store (``s3://``, ``gs://``, ``hdfs://`` and what else Arrow opens) become files of the workspace.

A copy is made once, since every image is hashed before anything runs, and trainings, FiftyOne and the report open
files. A file is copied again where its size or time of change is another. Must not know formats, nor what is in a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.files import whole
from da_kd.store import hold

_THREADS = 16  # that copy; a store answers many slowly rather than one fast
_PATIENCE = 10  # seconds that Google's store has to answer
_CHUNK = 512  # files between two looks at the stop button


def is_remote(name: str) -> bool:
    """Return whether a recipe's path is a URI."""
    return "://" in name


def copy_folder(uri: str, copies: Path, job: Job) -> Path:
    """Return a local folder with the same files as a remote one, those below it included; others are removed there.

    Args:
        uri: the remote folder.
        copies: the local folder that keeps copies.
        job: hears of progress.

    Raises:
        DataError: there is no such folder, or a file of it cannot be read.
        Cancelled: a person asked to stop; what was copied stays.
    """
    from pyarrow import fs

    system, base = _open(uri)
    folder = copies / hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()
    with _alone(folder, job):
        try:
            found = system.get_file_info(fs.FileSelector(base, recursive=True))
        except OSError as error:
            raise _unreadable(uri, error) from error
        files = {PurePosixPath(info.path).relative_to(base).as_posix(): info for info in found if info.is_file}
        _copy(system, {_inside(folder, name): info for name, info in files.items()}, job)
        for path in folder.rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()
    return folder


def copy_files(uris: Sequence[str], folder: Path, job: Job) -> tuple[str, ...]:
    """Copy remote files into a local folder; return their names in it. One that is not there is not there either.

    Raises:
        DataError: a store cannot be reached, or a file of it cannot be read.
        Cancelled: a person asked to stop; what was copied stays.
    """
    stores: dict[str, list[str]] = {}
    for uri in uris:
        scheme, _, rest = uri.partition("://")
        stores.setdefault(f"{scheme}://{rest.partition('/')[0]}", []).append(uri)
    with _alone(folder, job):
        for members in stores.values():
            system, _ = _open(members[0])
            for start in range(0, len(members), _CHUNK):
                _copy_part(system, members[start : start + _CHUNK], folder, job)
    return tuple(_name(uri) for uri in uris)


def _copy_part(system: Any, uris: Sequence[str], folder: Path, job: Job) -> None:
    try:
        found = system.get_file_info([_open(uri)[1] for uri in uris])
    except OSError as error:
        raise _unreadable(uris[0], error) from error
    pairs = [(_inside(folder, _name(uri)), info) for uri, info in zip(uris, found, strict=True)]
    for path in (path for path, info in pairs if not info.is_file):
        path.unlink(missing_ok=True)
    _copy(system, {path: info for path, info in pairs if info.is_file}, job)


def _alone(folder: Path, job: Job) -> AbstractContextManager[None]:
    """Let one reader at a time copy into a folder, which runs of a workspace share."""
    return hold(folder.with_name(f"{folder.name}.lock"), job, f"the copies in {folder}", wait=True)


def _name(uri: str) -> str:
    """Return what a remote file is called in the local folder; what a URI says behind ``?`` is no part of a name."""
    return uri.partition("://")[2].partition("?")[0].lstrip("/")


def _open(uri: str) -> tuple[Any, str]:
    """Return Arrow's file system of a URI, and the path in it."""
    from pyarrow import ArrowException, fs

    if uri.partition("://")[0] in ("gs", "gcs") and "retry_limit_seconds" not in uri:  # else it tries for minutes
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={_PATIENCE}"
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (ArrowException, OSError, ValueError) as error:
        raise _unreadable(uri, error) from error
    return system, str(path)


def _inside(folder: Path, name: str) -> Path:
    """Return the local file of a remote one.

    Raises:
        DataError: its name leads out of the folder, as a store allows.
    """
    if ".." in PurePosixPath(name).parts:
        raise DataError(f"Expected names without '..' in an object store; found '{name}'. Rename the file.")
    return folder / name


def _copy(system: Any, wanted: Mapping[Path, Any], job: Job) -> None:
    """Copy the files that are not there as they are in the store; the local file takes over the time of change."""
    missing = [(path, info) for path, info in wanted.items() if not _same(path, info)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(missing), _CHUNK):
            job.check()
            job.progress("copy from the store", start, len(missing), "files")
            _all(pool.map(lambda each: _fetch(system, *each), missing[start : start + _CHUNK]))
    if missing:
        job.progress("copy from the store", len(missing), len(missing), "files")


def _all(done: Iterable[None]) -> None:
    for _ in done:
        pass


def _same(path: Path, info: Any) -> bool:
    """Return whether the local file is a copy of the remote one as it is now."""
    try:
        status = path.stat()
    except OSError:
        return False
    return bool(status.st_size == info.size and status.st_mtime_ns == (info.mtime_ns or 0))


def _fetch(system: Any, path: Path, info: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole(path) as temporary:
            with system.open_input_stream(info.path) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.utime(temporary, ns=(info.mtime_ns or 0, info.mtime_ns or 0))
    except OSError as error:
        raise _unreadable(info.path, error) from error


def _unreadable(uri: str, error: Exception) -> DataError:
    return DataError(f"Expected files at {uri}; they cannot be read ({error}). Correct the path, or the credentials.")
