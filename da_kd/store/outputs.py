"""Finished outputs, kept by fingerprint: one that exists is done, and nothing ever changes it.

An output is made in ``store/<stage>/<fingerprint>.partial`` and renamed when it is whole; a killed process leaves the
partial folder behind, which the next attempt gets again, so that a stage can go on from what is in it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from da_kd.errors import SetupError
from da_kd.events import Job
from da_kd.files import whole
from da_kd.hashing import hash_json
from da_kd.store.locks import hold

_MANIFEST = "output.json"
_BEGUN = "begun.json"  # the parts of an output that is not finished yet
_REMOVED = ".removed"  # ends the name of a folder that is being removed
_LIBRARIES = ("torch", "torchvision", "ultralytics", "pycocotools", "fiftyone", "numpy")


@dataclass(frozen=True)
class Output:
    """One output of one stage.

    Attributes:
        stage: the stage that makes it.
        parts: everything that decides what comes out, flat, by the name a person knows it by.
        version: of the stage's code; raised when the same parts give another result.
        units: how much work it is, in whatever the stage counts; not hashed, kept for estimates.
    """

    stage: str
    parts: Mapping[str, Any]
    version: int = 1
    units: float = 1.0

    @property
    def fingerprint(self) -> str:
        """The hash of stage, version and parts."""
        return hash_json([self.stage, self.version, dict(self.parts)])


class Store:
    """The outputs of a workspace."""

    def __init__(self, workspace: Path) -> None:
        self.root = workspace / "store"

    def path(self, output: Output) -> Path:
        """Return where an output lies, or will."""
        return self.root / output.stage / output.fingerprint

    def finished(self, output: Output) -> bool:
        """Return whether an output is there and whole."""
        return (self.path(output) / _MANIFEST).is_file()

    def begun(self, output: Output) -> bool:
        """Return whether an earlier attempt left something to go on from."""
        return self._partial(output).is_dir()

    def manifest(self, output: Output) -> dict[str, Any]:
        """Return what is recorded of a finished output: ``seconds``, ``versions``, ``parts``."""
        tree: dict[str, Any] = json.loads((self.path(output) / _MANIFEST).read_text(encoding="utf-8"))
        return tree

    def make(self, output: Output, work: Callable[[Path, Job], None], job: Job) -> Path:
        """Return the finished output, making it with ``work(folder, job)`` where it is not there yet.

        Two processes never make the same output at once; the second waits and then finds it finished.

        Raises:
            SetupError: the disk is full.
        """
        final, partial = self.path(output), self._partial(output)
        with hold(partial.with_suffix(".lock"), job, f"the output of '{output.stage}'", wait=True):
            if self.finished(output):
                return final
            partial.mkdir(parents=True, exist_ok=True)
            for leftover in partial.glob(".*.tmp"):
                leftover.unlink()  # its writer was killed
            began, earlier = time.time(), _spent(partial)
            try:
                write_json(partial / _BEGUN, {"version": output.version, "parts": dict(output.parts)})
                work(partial, job)
                seconds = earlier + time.time() - began
                for name in (".spent", _BEGUN):
                    (partial / name).unlink(missing_ok=True)
                write_json(partial / _MANIFEST, _record(output, seconds))
                os.replace(partial, final)
            except BaseException as error:
                _note_spent(partial, earlier + time.time() - began)
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise SetupError(
                        f"The disk of {self.root} is full; free some space (`da-kd gc` lists what no run needs) "
                        "and run the same command again: it goes on from here."
                    ) from error
                raise
        partial.with_suffix(".lock").unlink(missing_ok=True)
        return final

    def alike(self, output: Output, apart: Collection[str]) -> list[Path]:
        """Return the folders of other outputs that differ from one at most in the parts named in ``apart``.

        Both finished and unfinished ones, the newest first; an unfinished one that is being made right now will move.
        """
        wanted, own = _hash_without(apart, output.version, output.parts), (self.path(output), self._partial(output))
        found = []
        for name in (_MANIFEST, _BEGUN):
            for path in (self.root / output.stage).glob(f"*/{name}"):
                try:
                    tree, made = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
                except (OSError, ValueError):
                    continue  # it was moved or removed meanwhile
                if path.parent not in own and _hash_without(apart, tree["version"], tree["parts"]) == wanted:
                    found.append((made, path.parent))
        return [folder for _, folder in sorted(found, reverse=True)]

    def seconds_per_unit(self, stage: str) -> float | None:
        """Return what a unit of a stage's work took at the median of the finished outputs, or None."""
        rates = []
        for path in (self.root / stage).glob(f"*/{_MANIFEST}"):
            tree = json.loads(path.read_text(encoding="utf-8"))
            rates.append(tree["seconds"] / max(tree.get("units", 1.0), 1e-9))
        return statistics.median(rates) if rates else None

    def everything(self) -> Iterator[Path]:
        """Yield the folder of every output, finished or not."""
        for stage in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if stage.is_dir():
                yield from (path for path in sorted(stage.iterdir()) if path.is_dir())

    def remove(self, folder: Path, needed: Callable[[], bool]) -> bool:
        """Remove one output for good; only ``da-kd gc`` does. Interrupted, it leaves a folder that is no output.

        Args:
            folder: the output, finished or not.
            needed: asked once nobody else can begin to make or to take it; where it is, it stays.

        Returns:
            Whether it is gone.

        Raises:
            Busy: somebody is making it right now.
        """
        if folder.parent.parent != self.root:
            raise ValueError(f"{folder} is not an output of {self.root}")
        lock = folder.with_name(f"{folder.name.partition('.')[0]}.lock")  # stays: somebody may wait for it
        with hold(lock, Job(), f"the output of '{folder.parent.name}'"):
            if needed():
                return False
            gone = folder.with_name(f"{folder.name}.{os.getpid()}{_REMOVED}")
            os.replace(folder, gone)
            for name in (_MANIFEST, _BEGUN):
                (gone / name).unlink(missing_ok=True)  # nothing starts from what is left of it
            shutil.rmtree(gone)
        return True

    def _partial(self, output: Output) -> Path:
        return self.path(output).with_suffix(".partial")


def _hash_without(apart: Collection[str], version: int, parts: Mapping[str, Any]) -> str:
    return hash_json([version, {key: value for key, value in parts.items() if key not in apart}])


def _record(output: Output, seconds: float) -> dict[str, Any]:
    return {
        "stage": output.stage,
        "version": output.version,
        "parts": dict(output.parts),
        "units": output.units,
        "seconds": round(seconds, 3),
        "made": time.time(),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of Python, da_kd and the libraries that results depend on, without importing them."""
    found = {"python": platform.python_version(), "da_kd": _version("da-kd")}
    return found | {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _spent(partial: Path) -> float:
    """Return the seconds that earlier attempts which ended by themselves spent on an output."""
    try:
        return float((partial / ".spent").read_text())
    except (OSError, ValueError):
        return 0.0


def _note_spent(partial: Path, seconds: float) -> None:
    try:
        (partial / ".spent").write_text(f"{seconds:.3f}")
    except OSError:
        return  # the disk may be full; the time is only for information


def write_json(path: Path, value: Any) -> None:
    """Write a tree of plain values as JSON under a temporary name, then rename."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
