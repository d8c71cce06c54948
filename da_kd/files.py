"""Files that are whole or not there at all, and whether there is room for them. Standard library only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the name to write a file under; it gets its own once it is whole, and is removed where writing fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def lack_of_room(folder: Path, needed: int) -> str:
    """Return what to say where a disk has no room for so many bytes; '' where it has."""
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < needed:
            return (
                f"Expected {-(-needed >> 20)} MB of free space at {folder}; found {free >> 20} MB. Free some "
                "('da-kd gc' lists what no run needs), then try again."
            )
    return ""
