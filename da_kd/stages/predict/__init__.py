"""*predict*: one teacher runs once over the target images, at a low score floor, shard by shard.

A shard is a fixed slice of the image list and batches never cross it, so a run that was killed writes the same files as
one that was not; a shard that exists is never predicted again. What the same teacher said of an image in an earlier
output is copied, so images that are added to a set cost only themselves. However large the set, a few shards' answers
are in memory at a time. Who answers, this process (``local``) or a Ray cluster's (``fleet``), does not show in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, Vocabulary, read_table, stack
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.predict import fleet, local
from da_kd.stages.predict.earlier import Earlier
from da_kd.stages.predict.shards import shards
from da_kd.stages.predict.stored import Predictions, StoredPredictions
from da_kd.teachers import Image, Teacher
from da_kd.teachers.batches import Answer
from da_kd.teachers.device import resolve_device

if TYPE_CHECKING:
    from da_kd.recipe import Predict


__all__ = ["Predictions", "StoredPredictions", "read_predictions", "refuse_unread", "refuse_unreadable", "run"]


def run(
    name: str,
    teacher: Teacher,
    config: Predict,
    images: ImageSet,
    device: str,
    out: Path,
    job: Job,
    earlier: Sequence[Path] = (),
) -> None:
    """Write ``shards/00000.parquet``, ... into ``out``: what the teacher says, in its own vocabulary.

    Args:
        name: the teacher's name.
        teacher: the teacher; not opened where every answer is known.
        config: floor, batch and shard sizes, and the engine.
        images: the images.
        device: the recipe's ``device``.
        out: the output folder, with what an interrupted attempt left in it.
        job: where progress goes.
        earlier: outputs of the same teacher, options and floor for other sets; the first that knows an image answers.

    Raises:
        DataError: more than ``config.max_bad`` of the images cannot be read.
        SetupError: the machine, or the cluster, lacks what is asked for.
    """
    refuse_unreadable(images.table, config)
    folder, count = out / "shards", len(images)
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()  # its writer was killed
    wanted = shards(folder, count, config.shard)
    missing = {path: part for path, part in wanted.items() if not path.exists()}
    tally = _Tally()
    if len(missing) < len(wanted):
        job.note(f"{len(wanted) - len(missing)} of {len(wanted)} shards were there already.")
        for path in wanted:
            if path not in missing:
                tally.add(read_table(path))
    if missing:
        known = Earlier(() if getattr(teacher, "by_name", False) else earlier, images)
        silent = not _left(images, missing, known, job) and known.vocabulary is not None
        asked = (name, _Silent(known.vocabulary or ()) if silent else teacher, config, images, missing, known)
        engine = fleet if config.engine == "ray" and not silent else local
        place = device if engine is fleet else resolve_device(device)
        with closing(engine.answer(*asked, place, job)) as answers:
            for said in answers:
                tally.add(said.write(images, name))
    tally.judge(config)
    if tally.bad:
        job.warn(f"{tally.bad} of {count} target images were skipped, e.g. {tally.example}; the report lists them.")


def read_predictions(folder: Path) -> DetectionTable:
    """Return all shards of a finished *predict* as one table; see :class:`StoredPredictions` for large sets."""
    return stack([read_table(path) for path in sorted((folder / "shards").glob("*.parquet"))])


def refuse_unreadable(table: DetectionTable, config: Predict) -> None:
    """Raise where more than ``config.max_bad`` of the images cannot be read.

    Raises:
        DataError: with the count and an example.
    """
    tally = _Tally()
    tally.add(table)
    tally.judge(config)


def refuse_unread(folder: Path, config: Predict) -> None:
    """Raise where more than ``config.max_bad`` of the images could not be read when *predict* made ``folder``.

    Raises:
        DataError: with the count and an example, or a shard cannot be read.
    """
    tally = _Tally()
    for path in sorted((folder / "shards").glob("*.parquet")):
        tally.count(*_reasons(path))
    tally.judge(config)


def _reasons(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of a shard's images and why they could not be read; no box is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=["key", "reason"])
        return rows.column("key").to_pylist(), rows.column("reason").to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"Expected a detection table at {path}; it cannot be read ({error}).") from error


@dataclass
class _Tally:
    """How many of the images seen so far cannot be read, and the first of them with its reason."""

    images: int = 0
    bad: int = 0
    example: str = ""

    def add(self, table: DetectionTable) -> None:
        """Count the images of a table."""
        self.count(table.key, table.reason)

    def count(self, keys: Sequence[str], reasons: Sequence[str]) -> None:
        """Count images by their names and what is wrong with them."""
        bad = [f"{key}: {reason}" for key, reason in zip(keys, reasons, strict=True) if reason]
        self.images, self.bad = self.images + len(keys), self.bad + len(bad)
        self.example = self.example or next(iter(bad), "")

    def judge(self, config: Predict) -> None:
        """Raise where they are too many."""
        if self.bad > config.max_bad * self.images:
            raise DataError(
                f"Expected at most {config.max_bad:.0%} unreadable target images; found {self.bad} of {self.images} "
                f"({self.example}). Mend or remove them, or raise 'predict.max_bad'."
            )


@dataclass(frozen=True)
class _Silent:
    """Stands in for a teacher that is not needed any more."""

    classes: Vocabulary

    def open(self, device: str, floor: float, batch: int) -> AbstractContextManager[_Silent]:
        """Load nothing."""
        return nullcontext(self)

    def predict(self, batch: Sequence[Image]) -> list[Answer]:
        """Answer for no image, which is all it is asked for."""
        return []


def _left(images: ImageSet, missing: Mapping[Path, Sequence[int]], known: Earlier, job: Job) -> int:
    """Return how many images have to be predicted; say so where some were answered in an earlier output."""
    places = np.concatenate([np.asarray(part) for part in missing.values()])
    left = int((images.table.ok & ~known.known)[places].sum())
    if known.known[places].any():
        before = len(images) - int((~known.known)[places].sum())
        rest = "1 is" if left == 1 else f"{left:,} are"
        job.note(f"{before:,} of {len(images):,} images were answered before; {rest} predicted.")
    return left
