"""*predict*: one teacher runs once over the target images, at a low score floor, shard by shard.

A shard is a fixed slice of the image list and batches never cross it, so a run that was killed writes the same files as
one that was not; a shard that exists is never predicted again. What the same teacher said of an image in an earlier
output is copied, so images that are added to a set cost only themselves. However large the set, one shard's answers are
in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, Vocabulary, read_table, stack
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Predict
from da_kd.stages.predict.earlier import Earlier
from da_kd.teachers import Image, Predictor, Teacher
from da_kd.teachers.batches import Answer, answer_batches, cut, tabulate


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
        config: floor, batch and shard sizes.
        images: the images.
        device: where to run.
        out: the output folder, with what an interrupted attempt left in it.
        job: where progress goes.
        earlier: outputs of the same teacher, options and floor for other sets; the first that knows an image answers.

    Raises:
        DataError: more than ``config.max_bad`` of the images cannot be read.
    """
    refuse_unreadable(images.table, config)
    folder, count = out / "shards", len(images)
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()  # its writer was killed
    shards = {folder / f"{i:05d}.parquet": part for i, part in enumerate(cut(range(count), config.shard))}
    missing = {path: part for path, part in shards.items() if not path.exists()}
    tally = _Tally()
    if len(missing) < len(shards):
        job.note(f"{len(shards) - len(missing)} of {len(shards)} shards were there already.")
        for path in shards:
            if path not in missing:
                tally.add(read_table(path))
    if missing:
        known = Earlier(() if getattr(teacher, "by_name", False) else earlier, images)
        left = _left(images, missing, known, job)
        silent = _Silent(known.vocabulary) if known.vocabulary is not None and not left else None
        opened = nullcontext(silent) if silent else teacher.open(device, config.floor, config.batch)
        with opened as predictor:
            for table in _write(name, predictor, images, missing, known, config.batch, job):
                tally.add(table)
    tally.judge(config)
    if tally.bad:
        job.warn(f"{tally.bad} of {count} target images were skipped, e.g. {tally.example}; the report lists them.")


def read_predictions(folder: Path) -> DetectionTable:
    """Return all shards of a finished *predict* as one table."""
    return stack([read_table(path) for path in sorted((folder / "shards").glob("*.parquet"))])


def refuse_unreadable(table: DetectionTable, config: Predict) -> None:
    """Raise where more than ``config.max_bad`` of the images cannot be read.

    Raises:
        DataError: with the count and an example.
    """
    tally = _Tally()
    tally.add(table)
    tally.judge(config)


@dataclass
class _Tally:
    """How many of the images seen so far cannot be read, and the first of them with its reason."""

    images: int = 0
    bad: int = 0
    example: str = ""

    def add(self, table: DetectionTable) -> None:
        """Count the images of a table."""
        bad = [f"{key}: {reason}" for key, reason in zip(table.key, table.reason, strict=True) if reason]
        self.images, self.bad = self.images + len(table), self.bad + len(bad)
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


def _write(
    name: str,
    predictor: Predictor,
    images: ImageSet,
    missing: Mapping[Path, Sequence[int]],
    known: Earlier,
    batch: int,
    job: Job,
) -> Iterator[DetectionTable]:
    """Write shard after shard and yield each; images of the next one are decoded meanwhile."""
    if known.vocabulary not in (None, predictor.classes):
        known = Earlier((), images)  # said with another version of its library, which named the classes otherwise

    def batches(part: Sequence[int]) -> Iterator[Sequence[int]]:
        return cut([place for place in part if not known.known[place]], batch)

    coming = answer_batches(predictor, images, (places for part in missing.values() for places in batches(part)), job)
    with closing(coming):
        for path, part in missing.items():
            job.check()
            said: dict[int, Answer] = {**known.of(part)}
            if said:
                job.progress(name, part[0] + len(said), len(images), "images")
            for places in batches(part):
                said.update(zip(places, next(coming), strict=True))
                job.progress(name, part[0] + len(said), len(images), "images")
            table = tabulate(predictor.classes, images.take(part), [said[place] for place in part], name)
            table.write(path)
            yield table
