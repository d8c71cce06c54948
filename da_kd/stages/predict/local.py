"""The engine of one machine: shard after shard in this process; the images of the next one are decoded meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.stages.predict.earlier import Earlier
from da_kd.stages.predict.shards import Said
from da_kd.teachers import Teacher
from da_kd.teachers.batches import Answer, answer_batches, cut

if TYPE_CHECKING:
    from da_kd.recipe import Predict


def answer(
    name: str,
    teacher: Teacher,
    config: Predict,
    images: ImageSet,
    missing: Mapping[Path, Sequence[int]],
    known: Earlier,
    device: str,
    job: Job,
) -> Generator[Said]:
    """Yield what a teacher says of shard after shard, in order.

    Args:
        name: the teacher's name, for progress.
        teacher: the teacher.
        config: floor and batch size.
        images: the set.
        missing: the places of the images of every shard that is wanted, by the file it will be.
        known: answers that stand in earlier outputs.
        device: where to run.
        job: where progress goes; asked before every batch whether to stop.
    """
    with teacher.open(device, config.floor, config.batch) as predictor:
        if known.vocabulary not in (None, predictor.classes):
            known = Earlier((), images)  # said with another version of its library, which named the classes otherwise

        def batches(part: Sequence[int]) -> Iterator[Sequence[int]]:
            return cut([place for place in part if not known.known[place]], config.batch)

        wanted = (places for part in missing.values() for places in batches(part))
        with closing(answer_batches(predictor, images, wanted, job)) as coming:
            for path, part in missing.items():
                job.check()
                said: dict[int, Answer] = {**known.of(part)}
                if said:
                    job.progress(name, part[0] + len(said), len(images), "images")
                for places in batches(part):
                    said.update(zip(places, next(coming), strict=True))
                    job.progress(name, part[0] + len(said), len(images), "images")
                yield Said(path, part, predictor.classes, said)
