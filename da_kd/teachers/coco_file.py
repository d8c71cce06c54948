"""A teacher that replays stored predictions from COCO JSON: of a model that cannot be loaded, or of a service.

It looks at an image's name only, never at its pixels, and doubles as the test double of the other adapters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from da_kd.data import StoredPredictions, read_coco_results
from da_kd.detections import Detections, Vocabulary
from da_kd.errors import DataError, InputError
from da_kd.hashing import hash_file, hash_json
from da_kd.teachers.base import Failure, Image, refuse_unknown

_OPTIONS = ("images",)


class CocoFileTeacher:
    """Stored predictions; ``weights`` is the JSON file.

    Options:
        images: a COCO JSON whose ``images`` and ``categories`` say what the ids in a list of results mean.
    """

    by_name = True  # see Teacher

    def __init__(self, weights: Path, options: Mapping[str, Any]) -> None:
        """Remember the files; see the class."""
        refuse_unknown("coco_file", options, _OPTIONS)
        self.weights = Path(weights)
        images = options.get("images")
        if not isinstance(images, str | Path | None):
            raise InputError(f"Teacher option 'images' must be the path of a COCO JSON; found '{images}'.")
        self.images = None if images is None else Path(images)

    def fingerprint(self) -> str:
        """Return a hash of the files.

        Raises:
            DataError: a file is not there.
        """
        for path in (self.weights, self.images):
            if path is not None and not path.is_file():
                raise DataError(f"Expected stored predictions or their image list at {path}; there is no such file.")
        return hash_json(["coco_file", 1, hash_file(self.weights), hash_file(self.images) if self.images else ""])

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[_Replay]:
        """Read the files; see :class:`~da_kd.teachers.base.Teacher`."""
        yield _Replay(read_coco_results(self.weights, self.images), floor)


class _Replay:
    """Stored predictions, ready to answer."""

    def __init__(self, stored: StoredPredictions, floor: float) -> None:
        self._stored, self._floor = stored, floor

    @property
    def classes(self) -> Vocabulary:
        """The class names of the stored predictions."""
        return self._stored.vocabulary

    def predict(self, batch: Sequence[Image]) -> list[Detections | Failure]:
        """Return one answer per image; an image that the file does not name is a failure, not an empty one."""
        return [self._answer(image.key) for image in batch]

    def _answer(self, key: str) -> Detections | Failure:
        found = self._stored.lookup(key)
        if found is None:
            return Failure("the stored predictions do not name this image")
        return found.pick(found.score >= self._floor)
