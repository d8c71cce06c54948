"""Files in folders: which there are, in which order, under which names, and how they are written. Knows no format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from da_kd.errors import DataError
from da_kd.files import whole


def natural(name: str) -> tuple[list[str | int], str]:
    """Return the key that sorts names as people do (``frame2`` before ``frame10``), the same way everywhere."""
    parts: list[str | int] = [
        int(part) if odd % 2 else part for odd, part in enumerate(re.split("([0-9]+)", name.lower()))
    ]
    return parts, name


def walk(folder: Path, suffixes: Iterable[str]) -> list[str]:
    """Return the files below ``folder`` with one of these suffixes, in natural order.

    Names are relative to ``folder`` with ``/`` between folders. Files and folders whose name begins with a dot are left
    alone; links to folders are followed, except in a circle.
    """
    wanted = frozenset(suffixes)
    found: list[str] = []
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _circle(here, name, real))
        relative = Path(here).relative_to(folder)
        found += [
            (relative / name).as_posix()
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in wanted  # noqa: PTH122 - many files
        ]
    return sorted(found, key=natural)


def _circle(here: str, name: str, real: str) -> bool:
    """Say whether the folder ``here/name`` is a link to one that ``here`` lies in."""
    child = os.path.join(here, name)  # noqa: PTH118
    if not os.path.islink(child):  # noqa: PTH114
        return False
    target = os.path.realpath(child)
    return real == target or real.startswith(target.rstrip(os.sep) + os.sep)


def rooted(paths: Sequence[Path], preferred: Path) -> tuple[Path, tuple[str, ...]]:
    """Return a folder that holds all of ``paths``, and their names in it.

    The folder is ``preferred`` where that holds them, else the closest one that does. Links are not resolved.
    """
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - keeps links, drops '..'
    root = os.path.abspath(preferred)  # noqa: PTH100
    if not all(path.startswith(root.rstrip(os.sep) + os.sep) for path in absolute):
        root = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    return Path(root), tuple(Path(os.path.relpath(path, root)).as_posix() for path in absolute)


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders directly in ``folder``, in natural order."""
    return sorted((item.name for item in folder.iterdir() if item.is_dir() and item.name[0] != "."), key=natural)


def read_text(path: Path) -> str:
    """Return a text file in UTF-8 (a byte order mark is left out).

    Raises:
        DataError: it is missing or is no such text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected a text file at {path}; it cannot be read ({error}).") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it is missing or is not JSON; the message names the line.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise DataError(f"Expected JSON in {path}; found lists nested too deeply; export it again.") from error
    except ValueError as error:
        raise DataError(f"Expected JSON in {path}; found a mistake: {error}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
