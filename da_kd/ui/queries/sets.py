"""The image sets and stored predictions of a run; read once and remembered, since many pictures come from one set."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from da_kd.data import ImageSet, fingerprint
from da_kd.detections import DetectionTable, read_table
from da_kd.errors import DaKdError
from da_kd.events import Job
from da_kd.hashing import hash_json
from da_kd.pipeline import Inputs, Run, load_inputs
from da_kd.recipe import Recipe
from da_kd.stages import predict
from da_kd.store import Store
from da_kd.ui.queries.runs import outputs

_REMEMBERED = 48
_SOONEST, _LATEST = 5.0, 60.0  # seconds before image sets are looked at again
_SHARE = 10  # times as long as that takes, within these bounds


class _Memory:
    """The last values that were asked for, by key; one thread at a time makes one."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], Any], holds: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return a value, making it where it is not known, or does not hold any more."""
        with self._lock:
            if key not in self._known or not holds(self._known[key]):
                self._known[key] = make()
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]


memory = _Memory()


def recipe_of(run: Run) -> Recipe:
    """Return the recipe of a run, read anew when it changed.

    Raises:
        InputError: there is no such run.
    """
    found: Recipe = memory.get(("recipe", *_recipe_version(run)), run.recipe)
    return found


class _Read(NamedTuple):
    """Image sets as they were read, a hash of them, and from when to when they were read."""

    inputs: Inputs
    digest: str
    began: float
    ended: float

    def holds(self) -> bool:
        """Whether it is too early to look at them again."""
        wait = min(max(_SOONEST, _SHARE * (self.ended - self.began)), _LATEST)
        return time.monotonic() < self.ended + wait


def version_of(run: Run) -> tuple[Path, int, str]:
    """Return what changes when the recipe of a run does, or its images or their labels.

    Raises:
        InputError: there is no such run.
    """
    file, changed = _recipe_version(run)
    try:
        return file, changed, _read(run).digest
    except DaKdError:
        return file, changed, ""  # whoever needs the images says what is wrong


def _recipe_version(run: Run) -> tuple[Path, int]:
    file = run.folder / "recipe.yaml"
    if not file.is_file():
        run.recipe()  # says what is wrong
    return file, file.stat().st_mtime_ns


def inputs_of(run: Run, job: Job | None = None) -> Inputs:
    """Return the image sets of a run, read anew when its recipe changed, and now and then, since files change as well.

    Raises:
        DaKdError: a set is missing, or does not fit the recipe.
    """
    return _read(run, job).inputs


def _read(run: Run, job: Job | None = None) -> _Read:
    recipe, key = recipe_of(run), ("inputs", *_recipe_version(run))

    def read() -> _Read:
        began = time.monotonic()
        inputs = load_inputs(recipe, Store(run.workspace), job or Job())
        digest = hash_json({name: fingerprint(images) for name, images in inputs.sets.items()})
        return _Read(inputs, digest, began, time.monotonic())

    found: _Read = memory.get(key, read, _Read.holds)
    return found


def truth_of(run: Run) -> ImageSet | None:
    """Return the labelled test images of a run, None where it has none that can be read."""
    try:
        return inputs_of(run).sets.get("test")
    except DaKdError:
        return None


def table_at(path: Path) -> DetectionTable:
    """Return a stored table; outputs of the store never change."""
    found: DetectionTable = memory.get(("table", path), lambda: read_table(path))
    return found


def teachers_said(run: Run) -> Mapping[str, DetectionTable]:
    """Return what every teacher said of the target images, by teacher, in its own vocabulary."""
    done = outputs(run)
    found = {}
    for teacher in recipe_of(run).teachers:
        place = done.get(f"predict:{teacher.name}")
        if place is not None:
            found[teacher.name] = predictions_at(place)
    return found


def predictions_at(place: Path) -> DetectionTable:
    """Return what a teacher said of images, as *predict* stored it."""
    found: DetectionTable = memory.get(("said", place), partial(predict.read_predictions, place))
    return found
