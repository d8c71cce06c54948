"""Runs a predictor over images of an image set: decodes beside it, in batches, one answer per image.

A batch that does not fit into the memory is asked for again in smaller ones. Knows no framework and no stage.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from da_kd.data import ImageSet, read_image
from da_kd.detections import Detections, DetectionTable, ImageRecord, Vocabulary, table_of
from da_kd.errors import DataError, InputError, SetupError
from da_kd.events import Job
from da_kd.teachers.base import Failure, Image, Predictor

Answer = Detections | Failure

_THREADS = max(1, min(32, os.cpu_count() or 1))  # that decode; a GPU outruns eight
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
    said: list[Answer] = []
    for answers in answer_batches(predictor, images, cut(range(len(images)), batch), job):
        said += answers
        job.progress(task, done + len(said), total or len(images), "images")
    return tabulate(predictor.classes, images, said, name)


def cut(indices: Sequence[int], batch: int) -> Iterator[Sequence[int]]:
    """Yield the indices in batches of so many; the last one may be smaller."""
    for start in range(0, len(indices), batch):
        yield indices[start : start + batch]


def answer_batches(
    predictor: Predictor, images: ImageSet, batches: Iterable[Sequence[int]], job: Job
) -> Generator[list[Answer]]:
    """Yield the answers batch by batch, one per image, in order; the next batches are decoded meanwhile.

    Args:
        predictor: the loaded model.
        images: the set that the batches count into.
        batches: the places of the images to ask for; taken a few ahead of the answers, never all at once.
        job: asked before every batch whether to stop, told when a batch does not fit into the memory.

    Raises:
        Cancelled: a person asked to stop.
        InputError: the predictor gave more or fewer answers than it got images.
        SetupError: not even one image fits into the memory.
    """
    asker = _Asker(predictor, job)
    for loaded in _decoded(images, batches):
        job.check()
        answers = iter(asker.ask([item for item in loaded if isinstance(item, Image)]))
        yield [next(answers) if isinstance(item, Image) else item for item in loaded]


def tabulate(classes: Vocabulary, images: ImageSet, said: Sequence[Answer], name: str) -> DetectionTable:
    """Return the answers for all images of a set, in its order, as a table with one teacher."""
    table = images.table
    records = [
        ImageRecord(key, sha, int(size[0]), int(size[1]), answer.reason if isinstance(answer, Failure) else "")
        for key, sha, size, answer in zip(table.key, table.sha, table.size, said, strict=True)
    ]
    pairs = zip(table.key, said, strict=True)
    found = {key: answer for key, answer in pairs if not isinstance(answer, Failure)}
    return table_of(classes, records, found, teachers=(name,))


class _Asker:
    """Asks a predictor, for fewer images at once after a batch did not fit into the memory."""

    def __init__(self, predictor: Predictor, job: Job) -> None:
        self._predictor, self._job = predictor, job
        self._most: int | None = None

    def ask(self, batch: Sequence[Image]) -> list[Answer]:
        """Return one answer per image."""
        said: list[Answer] = []
        while len(said) < len(batch):
            part = batch[len(said) :][: self._most]
            try:
                answers = self._predictor.predict(part)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._most = self._halved(part)
                continue
            if len(answers) != len(part):
                raise InputError(
                    f"Expected one answer of a teacher for each of {len(part)} images; found {len(answers)}."
                )
            said += answers
        return said

    def _halved(self, part: Sequence[Image]) -> int:
        if len(part) == 1:
            height, width, _ = part[0].pixels.shape
            raise SetupError(
                f"Expected memory for at least one image at a time; there is too little for {part[0].key} "
                f"({width} x {height} pixels). Use another 'device', a smaller model input, or a smaller model."
            )
        half = len(part) // 2
        self._job.warn(f"{len(part)} images at a time do not fit into the memory; it goes on with {half} at a time.")
        return half


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says so; torch's has a class of its own on a GPU alone, other libraries only words."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in ("out of memory", "not enough memory", "allocate memory"))
    )


def _decoded(images: ImageSet, batches: Iterable[Sequence[int]]) -> Iterator[list[Image | Failure]]:
    """Yield batches of decoded images, the next ones being decoded meanwhile."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[list[Future[Image | Failure]]] = deque()
        try:
            for indices in batches:
                waiting.append([pool.submit(_decode, images, index) for index in indices])
                if len(waiting) > _AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)  # who stops does not wait for images that nobody will see


def _decode(images: ImageSet, index: int) -> Image | Failure:
    if reason := images.table.reason[index]:
        return Failure(reason)
    try:
        return Image(images.table.key[index], read_image(images.path(index)))
    except DataError as error:
        return Failure(str(error))
