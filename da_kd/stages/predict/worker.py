"""What a process of a Ray cluster does: it opens a teacher once, and answers for the images of one shard after another.

Must not know Ray, nor what becomes of its answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet
from da_kd.detections import Vocabulary
from da_kd.errors import DaKdError
from da_kd.events import Event, Job, Note
from da_kd.store import library_versions
from da_kd.teachers import Predictor, Teacher
from da_kd.teachers.batches import Answer, answer_batches, cut


@dataclass(frozen=True)
class Told:
    """What a worker says of one shard.

    Attributes:
        classes: the teacher's own class names.
        answers: by place in the shard; an image that was answered before is not in it.
        warnings: sentences for a person.
        error: an error of ours instead of answers.
        versions: of the libraries there.
        tries: how often the shard was begun until then.
    """

    classes: Vocabulary = ()
    answers: Mapping[int, Answer] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: DaKdError | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)
    tries: int = 1


class Worker:
    """A teacher on one device.

    Args:
        teacher: the teacher; opened when the first shard comes.
        device: where to run.
        floor: the lowest score that is kept.
        batch: images per forward pass.
        words: the class names that earlier answers were given in; None where there are none.
    """

    def __init__(self, teacher: Teacher, device: str, floor: float, batch: int, words: Vocabulary | None) -> None:
        self._teacher, self._device, self._floor, self._batch, self._words = teacher, device, floor, batch, words
        self._stack = ExitStack()
        self._predictor: Predictor | None = None

    def answer(self, images: ImageSet, known: npt.NDArray[np.bool_]) -> Told:
        """Answer for the images of a shard, in the batches in which any engine asks.

        Args:
            images: the I images.
            known: (I,) bool, those that stand in an earlier output; asked for all the same if that has other classes.
        """
        heard: list[Event] = []
        try:
            if self._predictor is None:
                opened = self._teacher.open(self._device, self._floor, self._batch)
                self._predictor = self._stack.enter_context(opened)
            classes = self._predictor.classes
            asked = np.flatnonzero(~known if classes == self._words else np.ones_like(known)).tolist()
            batches = answer_batches(self._predictor, images, cut(asked, self._batch), Job(heard.append))
            answers = dict(zip(asked, (each for batch in batches for each in batch), strict=True))
        except DaKdError as error:
            return Told(error=error)
        return Told(classes, answers, tuple(event.text for event in heard if isinstance(event, Note)))
