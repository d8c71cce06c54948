"""Runs a predictor over images of an image set: decodes beside it, in batches, one answer per image."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from da_kd.data import ImageSet, read_image
from da_kd.detections import Detections, DetectionTable, ImageRecord, table_of
from da_kd.errors import DataError, InputError
from da_kd.events import Job
from da_kd.teachers.base import Failure, Image, Predictor

_AHEAD = 3  # batches decoded beyond the one that is predicted


def predict_images(
    predictor: Predictor, images: ImageSet, name: str, batch: int, job: Job, task: str, done: int = 0, total: int = 0
) -> DetectionTable:
    """Return what a predictor says of every image of a set, in its own vocabulary.

    An image that cannot be read, or that the predictor refuses, keeps its reason and counts as not searched.

    Args:
        predictor: the loaded model.
        images: the images; batches are cut from their order, so that the same set gives the same batches.
        name: the teacher's name, for the ``teachers`` column.
        batch: images per call.
        job: told after every batch, asked before it whether to stop.
        task: what progress is called.
        done: images finished before these, for progress.
        total: images in all, for progress; 0 means these.
    """
    found: dict[str, Detections] = {}
    reasons: dict[str, str] = {}
    for answers in _answers(predictor, images, batch, job):
        for key, answer in answers:
            if isinstance(answer, Failure):
                reasons[key] = answer.reason
            else:
                found[key] = answer
        job.progress(task, done + len(found) + len(reasons), total or len(images.table), "images")
    table = images.table
    records = [
        ImageRecord(key, table.sha[i], int(table.size[i, 0]), int(table.size[i, 1]), reasons.get(key, table.reason[i]))
        for i, key in enumerate(table.key)
    ]
    return table_of(predictor.classes, records, found, teachers=(name,))


def _answers(
    predictor: Predictor, images: ImageSet, batch: int, job: Job
) -> Iterator[list[tuple[str, Detections | Failure]]]:
    """Yield the answers batch by batch."""
    for loaded in _decoded(images, batch):
        job.check()
        good = [item for item in loaded if isinstance(item, Image)]
        said = predictor.predict(good) if good else []
        if len(said) != len(good):
            raise InputError(f"Expected one answer of a teacher for each of {len(good)} images; found {len(said)}.")
        answers = iter(said)
        yield [(item.key, next(answers)) if isinstance(item, Image) else item for item in loaded]


def _decoded(images: ImageSet, batch: int) -> Iterator[list[Image | tuple[str, Failure]]]:
    """Yield batches of decoded images, the next ones being decoded meanwhile."""
    order = range(len(images.table))
    slices = [order[start : start + batch] for start in range(0, len(order), batch)]
    with ThreadPoolExecutor(max_workers=max(1, min(8, os.cpu_count() or 1))) as pool:
        waiting: deque[list[Future[Image | tuple[str, Failure]]]] = deque()
        for indices in slices:
            waiting.append([pool.submit(_decode, images, index) for index in indices])
            if len(waiting) > _AHEAD:
                yield _ready(waiting.popleft())
        while waiting:
            yield _ready(waiting.popleft())


def _ready(futures: Sequence[Future[Image | tuple[str, Failure]]]) -> list[Image | tuple[str, Failure]]:
    return [future.result() for future in futures]


def _decode(images: ImageSet, index: int) -> Image | tuple[str, Failure]:
    key = images.table.key[index]
    if images.table.reason[index]:
        return key, Failure(images.table.reason[index])
    try:
        return Image(key, read_image(images.path(index)))
    except DataError as error:
        return key, Failure(str(error))
