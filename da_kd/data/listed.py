"""Images without labels that a Parquet file lists, in a column ``path``: files, or URIs of an object store."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from da_kd.data.files import rooted
from da_kd.data.remote import copy_files, is_remote
from da_kd.data.source import Source
from da_kd.errors import DataError
from da_kd.events import Job

LIST_SUFFIX = ".parquet"
COLUMN = "path"


def open_list(path: Path, copies: Path, job: Job) -> Source:
    """List the images of a Parquet file, in its order; relative paths count from its folder.

    Args:
        path: the file; columns other than ``path`` are not read.
        copies: the local folder that keeps copies of remote files.
        job: hears of progress.

    Raises:
        DataError: the file cannot be read, lists a file twice, or lists local and remote files together.
        Cancelled: a person asked to stop.
    """
    names = _names(path)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"Expected every image of {path} once; found '{twice}' more than once. Take it out.")
    remote = sum(is_remote(name) for name in names)
    if not remote:
        root, keys = rooted([path.parent / name for name in names], path.parent) if names else (path.parent, ())
        return Source(str(path), root, keys)
    if remote < len(names):
        raise DataError(f"Expected either files or URIs in {path}; found both. Make two lists of it.")
    root = copies / hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
    return Source(str(path), root, copy_files(names, root, job))


def _names(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path, columns=[COLUMN]).column(COLUMN)
        names = column.cast(pa.string()).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        text = f"Expected a Parquet file with a text column '{COLUMN}' at {path}; it cannot be read ({error})."
        raise DataError(text) from error
    if None in names:
        raise DataError(f"Expected a path in every row of {path}; row {names.index(None)} has none. Take it out.")
    return [str(name) for name in names]
