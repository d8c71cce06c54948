"""Hashes: of plain values and of files. Standard library only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BYTES = 16


def hash_bytes(data: bytes) -> str:
    """Return the hex BLAKE2b hash (16 bytes) of ``data``."""
    return hashlib.blake2b(data, digest_size=_BYTES).hexdigest()


def hash_json(value: Any) -> str:
    """Return the hash of a tree of plain values; the order of keys does not matter."""
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode())


def hash_file(path: Path) -> str:
    """Return the hash of a file's content.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=_BYTES)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
