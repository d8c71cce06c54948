"""*predict*: one teacher runs once over the target images, at a low score floor, shard by shard.

A shard is a fixed slice of the image list and batches never cross it, so a run that was killed writes the same files as
one that was not; a shard that exists is never predicted again.
"""

from __future__ import annotations

from pathlib import Path

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, read_table, stack
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Predict
from da_kd.teachers import Teacher
from da_kd.teachers.batches import predict_images


def run(name: str, teacher: Teacher, config: Predict, images: ImageSet, device: str, out: Path, job: Job) -> None:
    """Write ``shards/00000.parquet``, ... into ``out``: what the teacher says, in its own vocabulary.

    Raises:
        DataError: more than ``config.max_bad`` of the images cannot be read.
    """
    refuse_unreadable(images.table, config)
    folder = out / "shards"
    folder.mkdir(exist_ok=True)
    count = len(images.table)
    starts = range(0, count, config.shard)
    paths = [folder / f"{index:05d}.parquet" for index in range(len(starts))]
    missing = [(path, start) for path, start in zip(paths, starts, strict=True) if not path.exists()]
    if len(missing) < len(paths):
        job.note(f"{len(paths) - len(missing)} of {len(paths)} shards were there already.")
    if missing:
        with teacher.open(device, config.floor, config.batch) as predictor:
            for path, start in missing:
                part = images.take(range(start, min(start + config.shard, count)))
                predict_images(predictor, part, name, config.batch, job, name, start, count).write(path)
    said = read_predictions(out)
    refuse_unreadable(said, config)
    if bad := _unreadable(said):
        example = f"{bad[0][0]}: {bad[0][1]}"
        job.warn(f"{len(bad)} of {len(said)} target images were skipped, e.g. {example}; the report lists them.")


def read_predictions(folder: Path) -> DetectionTable:
    """Return all shards of a finished *predict* as one table."""
    return stack([read_table(path) for path in sorted((folder / "shards").glob("*.parquet"))])


def _unreadable(table: DetectionTable) -> list[tuple[str, str]]:
    """Return the key and the reason of every image that cannot be read."""
    return [(key, reason) for key, reason in zip(table.key, table.reason, strict=True) if reason]


def refuse_unreadable(table: DetectionTable, config: Predict) -> None:
    """Raise where more than ``config.max_bad`` of the images cannot be read.

    Raises:
        DataError: with the count and an example.
    """
    bad = _unreadable(table)
    if len(bad) > config.max_bad * len(table):
        raise DataError(
            f"Expected at most {config.max_bad:.0%} unreadable target images; found {len(bad)} of {len(table)} "
            f"({bad[0][0]}: {bad[0][1]}). Mend or remove them, or raise 'predict.max_bad'."
        )
