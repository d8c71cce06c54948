"""Files that are whole or not there at all, whether there is room for them, and what a person's path leads to.

Standard library only.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from da_kd.errors import InputError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the name to write a file under; it gets its own once it is whole, and is removed where writing fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that a person knows
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


def expanded(name: str | Path, folder: Path = Path()) -> Path:
    """Return the place that a person's path leads to, ``~`` and ``~user`` replaced; whether anything is there is open.

    Args:
        name: the path as it was written.
        folder: what relative ones count from.

    Raises:
        InputError: the system could have nothing under such a name.
    """
    try:
        place = folder / Path(name).expanduser()
        place.lstat()
    except RuntimeError as error:
        user = str(name).partition("/")[0]
        raise InputError(
            f"Expected a path; found '{name}', and the folder of '{user}' is unknown; write it out."
        ) from error
    except ValueError as error:
        raise InputError(
            f"Expected a path; found {str(name)!r}, which holds a character that no path can hold."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"Expected a path; found '{name}', which leads nowhere ({error.strerror}).") from error
    return place


def is_there(path: Path) -> bool:
    """Say whether something lies at a path; nothing does under a name that is too long for the system.

    Raises:
        OSError: the system does not let one look.
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def is_file(path: Path) -> bool:
    """Say whether there is such a file; a text that cannot be a path names none."""
    try:
        return path.is_file()
    except OSError:
        return False


def file_in_the_way(folder: Path) -> Path | None:
    """Return the file that lies where a folder, or one above it, would have to be made; None where there is none."""
    closest = next((place for place in (folder, *folder.parents) if is_there(place)), folder)
    return closest if is_there(closest) and not closest.is_dir() else None
