"""Which folder a person means; and the words for numbers, which the browser app shares (:mod:`da_kd.words`)."""

from __future__ import annotations

from pathlib import Path

from da_kd.files import expanded
from da_kd.words import age, count, duration, figure, rate, size

__all__ = ["WORKSPACE", "age", "count", "duration", "figure", "rate", "run_folder", "size"]

WORKSPACE = Path("runs")


def run_folder(name: str) -> Path:
    """Return the folder of a run: a bare name is one under ``runs``, unless the only run of that name lies here."""
    path = expanded(name)
    inside = WORKSPACE / name
    if len(path.parts) > 1 or path.is_absolute() or name in (".", ".."):
        return path
    return path if (path / "run.json").is_file() and not inside.exists() else inside
