"""Images without labels: a folder and everything below it. Splits are its direct subfolders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da_kd.data.files import subfolders, walk
from da_kd.data.images import IMAGE_SUFFIXES
from da_kd.data.source import Source, missing_split
from da_kd.errors import DataError


def open_folder(path: Path, split: Sequence[str] = ()) -> Source:
    """List the images of a folder, nested ones included, in natural order; keys count from the folder.

    Args:
        path: the folder.
        split: take only these direct subfolders; empty means everything.

    Raises:
        DataError: there is no such folder or subfolder.
    """
    if not path.is_dir():
        raise DataError(
            f"Expected a folder of images at {path}; found {'a file' if path.exists() else 'nothing'} there."
        )
    wanted = list(dict.fromkeys(split))
    absent = [name for name in wanted if not (path / name).is_dir()]
    if absent:
        raise missing_split(f"The image folder {path}", absent, subfolders(path))
    if wanted:
        keys = [f"{name}/{key}" for name in wanted for key in walk(path / name, IMAGE_SUFFIXES)]
    else:
        keys = walk(path, IMAGE_SUFFIXES)
    return Source(str(path), path, tuple(keys))
