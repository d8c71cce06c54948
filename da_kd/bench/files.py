"""What a finished table leaves behind: ``bench.json``, the table, the plot; and on what machine it was made."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da_kd.bench.claims import Tree
from da_kd.bench.plot import draw, draw_panels
from da_kd.bench.table import as_csv, markdown, measured_markdown
from da_kd.errors import DataError
from da_kd.store import library_versions, write_json

_TREE, _MACHINE = "bench.json", "sittings.json"


def note_sitting(folder: Path, sitting: Mapping[str, Any]) -> None:
    """Write down on what machine (:func:`machine`) outputs were just made, and for how long (``worked``, seconds)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _MACHINE, [*_sittings(folder), dict(sitting)])


def _sittings(folder: Path) -> list[Any]:
    """Return what is known of the machines that made a table, the interrupted sittings included."""
    path = folder / _MACHINE
    found: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found


def write_all(tree: Tree, folder: Path, command: str, seconds: float) -> list[Path]:
    """Write everything into a folder; return what a person looks at.

    Args:
        tree: the figures.
        folder: where to; it is made.
        command: what to type to make the table again.
        seconds: what its outputs took, all together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sittings = _sittings(folder)
    tree = {**tree, "command": command, "seconds": seconds, "sittings": sittings, "versions": library_versions()}
    for name, text in {"table.md": markdown(tree), "table.csv": as_csv(tree)}.items():
        _write(folder / name, text)
    _moved(draw(tree, folder / ".plot"), folder)
    write_json(folder / _TREE, tree)
    return [folder / name for name in ("table.md", "table.csv", "plot.png", "plot.svg", _TREE)]


def write_measured(tree: Tree, folder: Path, seconds: float) -> list[Path]:
    """Write the table of a measurement that is no grid's, so that it stands on the same page; return its files.

    Args:
        tree: ``name``, ``title``, ``about``, ``command`` and ``scored_on``; the table's ``head`` and ``lines`` as text,
            the ``sentences`` below it; ``panels`` where it has a plot (:func:`~da_kd.bench.plot.draw_panels`); and
            whatever else shall be kept.
        folder: where to; it is made.
        seconds: what the outputs took, all together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sittings, versions = _sittings(folder), library_versions()
    kept = {"schema": 1, **tree, "seconds": round(seconds, 1), "sittings": sittings, "versions": versions}
    _write(folder / "table.md", measured_markdown(kept))
    drawn = draw_panels(kept, folder / ".plot") if "panels" in kept else []
    write_json(folder / _TREE, kept)
    return [folder / "table.md", *_moved(drawn, folder), folder / _TREE]


def read_tree_of(folder: Path) -> Tree:
    """Read the figures that a finished table left in a folder.

    Raises:
        DataError: there are none.
    """
    path = folder / _TREE
    try:
        tree: Tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"Expected the figures of a table at {path}; found none ({error}); run 'da-kd bench'."
        ) from error
    return tree


def usable_processors() -> int:
    """Return how many processors this process may use; where the system does not tell (macOS), how many there are."""
    told = getattr(os, "sched_getaffinity", None)
    return len(told(0)) if told is not None else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Return what figures in seconds depend on: processor, cores, memory, GPU, and how busy the machine is."""
    gpu = Path("/proc/driver/nvidia/gpus")
    return {
        "processor": _processor(),
        "cores": usable_processors(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpus": len(list(gpu.iterdir())) if gpu.is_dir() else 0,
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def _processor() -> str:
    """Return the processor's name, '' where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _moved(drawn: Sequence[Path], folder: Path) -> list[Path]:
    """Give plots their own names, now that they are whole."""
    paths = [folder / path.name.removeprefix(".") for path in drawn]
    for path, place in zip(drawn, paths, strict=True):
        os.replace(path, place)
    return paths


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
