"""The engine of many machines: Ray Data streams the shards through a cluster's processes, and this one writes them.

A row of the dataset is a shard: the unit of work, of retry and of what lies on the disk, so that the files come out as
those of one machine, whatever Ray Data's operators cut or join and whichever process is lost. Ray Data feeds every
worker two shards at a time, the one it works on and the next, and holds back where answers are not taken away. A worker
that is lost, be it its process or its whole machine, costs the shards it had; Ray starts another in its place as soon
as there is room. A register on this machine counts how often a shard was begun: one that takes its worker with it again
and again is no accident.

Every machine of the cluster must see the images and the weights under the same paths, and have the same da_kd. Must not
know how an image is answered (``worker``) nor what a shard's file looks like (``shards``).
"""

from __future__ import annotations

import pickle
import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from da_kd.data import ImageSet
from da_kd.errors import DaKdError
from da_kd.events import Job
from da_kd.stages.predict.cluster import cluster, share
from da_kd.stages.predict.earlier import Earlier
from da_kd.stages.predict.shards import Said
from da_kd.stages.predict.worker import Told, Worker
from da_kd.store import library_versions
from da_kd.teachers import Teacher
from da_kd.teachers.batches import Answer

if TYPE_CHECKING:
    from da_kd.recipe import Predict

_AT_ONCE = 2  # shards a worker has: while one is answered, the next is on its way
_TRIES = 3  # workers that may be lost over one shard before it is no accident any more
_LEAVE = 10.0  # seconds that the shards under way have when a person stops
_PAUSE = 0.5  # seconds between two looks at the stop button


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
    """Yield what a teacher says of every shard, in the order in which they are finished.

    Args:
        name: the teacher's name, for progress.
        teacher: the teacher; it is pickled, and opened by every worker.
        config: floor and batch size, and how many workers.
        images: the set.
        missing: the places of the images of every shard that is wanted, by the file it will be.
        known: answers that stand in earlier outputs.
        device: the recipe's; ``auto`` means the GPUs of the cluster, and where it has none its CPUs.
        job: where progress goes; asked twice a second whether to stop.

    Raises:
        SetupError: Ray is not installed, the cluster cannot be had, or it lacks what is asked for.
        DaKdError: workers are lost again and again.
    """
    total = len(images)
    done = total - sum(len(part) for part in missing.values())
    paths = list(missing)
    with cluster() as ray:
        wants, place, count = share(ray.cluster_resources(), device, config.workers)
        of_worker = (teacher, place, config.floor, config.batch, known.vocabulary)
        parts = (np.asarray(part) for part in missing.values())
        asked = ((images.take(part), known.known[part]) for part in parts)
        listener = _Listener(job)
        with closing(_stream(ray, asked, of_worker, wants, count, job)) as rows:
            for shard, told in rows:
                listener.hear(told)
                path = paths[shard]
                part = missing[path]
                said: dict[int, Answer] = {**known.of(part)} if told.classes == known.vocabulary else {}
                said |= {part[place]: found for place, found in told.answers.items()}
                done += len(part)
                job.progress(name, done, total, "images")
                yield Said(path, part, told.classes, said)


class _Register:
    """Counts how often every shard was begun; it lives where the run does, whatever happens to a worker."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, shard: int) -> int:
        """Return how often it has been begun, this time included."""
        self._begun[shard] += 1
        return self._begun[shard]


class _Answering:
    """What Ray Data runs on a machine: a worker that answers the shards of the rows it gets."""

    def __init__(self, register: Any, *of_worker: Any) -> None:
        self._register, self._worker = register, Worker(*of_worker)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one row, the only one of its batch."""
        import ray

        shard = int(rows["shard"][0])
        tries = ray.get(self._register.begin.remote(shard))
        told = (
            Told(tries=tries)
            if tries > _TRIES
            else replace(self._worker.answer(*pickle.loads(rows["asked"][0])), tries=tries)  # noqa: S301 - our own
        )
        return {"shard": np.array([shard]), "told": np.array([pickle.dumps(told)], object)}


def _stream(
    ray: Any,
    asked: Iterable[tuple[ImageSet, npt.NDArray[np.bool_]]],
    of_worker: tuple[Any, ...],
    wants: Mapping[str, Any],
    count: int,
    job: Job,
) -> Generator[tuple[int, Told]]:
    """Yield what is said of every shard, as it comes.

    Args:
        ray: the library, connected.
        asked: for every shard its images, and which of them are known.
        of_worker: what a :class:`Worker` is made of.
        wants: what a worker asks of the cluster.
        count: workers.
        job: asked twice a second whether to stop.

    Raises:
        DaKdError: workers are lost and nothing takes their place.
    """
    from ray import data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context = data.DataContext.get_current()
    context.enable_progress_bars, context.raise_original_map_exception = False, True
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    register = ray.remote(_Register).options(num_cpus=0, scheduling_strategy=here).remote()
    rows = [{"shard": shard, "asked": pickle.dumps(each)} for shard, each in enumerate(asked)]
    said = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Answering,
        fn_constructor_args=(register, *of_worker),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(count, len(rows)), max_tasks_in_flight_per_actor=_AT_ONCE),
        **wants,
    )
    with closing(_aside(said.iter_rows(), job)) as coming:
        try:
            for row in coming:
                yield int(row["shard"]), pickle.loads(row["told"])  # noqa: S301 - written by our own workers
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise DaKdError(
                f"Expected workers that live; the cluster lost them ({reason}). Shards that are done stay; the same "
                "command goes on."
            ) from error


def _aside(rows: Iterator[Any], job: Job) -> Generator[Any]:
    """Yield what another thread takes from an iterator, since a blocked iterator cannot be interrupted.

    Raises:
        Cancelled: a person asked to stop.
    """
    taken: queue.Queue[tuple[bool, Any]] = queue.Queue(_AT_ONCE)
    left = threading.Event()

    def put(done: bool, value: Any) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                taken.put((done, value), timeout=_PAUSE)
                return

    def take() -> None:
        try:
            for row in rows:
                put(False, row)
                if left.is_set():
                    return
            put(True, None)
        except Exception as error:  # it is raised in the thread that waits
            put(True, error)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        while True:
            job.check()
            try:
                done, value = taken.get(timeout=_PAUSE)
            except queue.Empty:
                continue
            if not done:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        left.set()
        thread.join(_LEAVE)


class _Listener:
    """Passes on what workers have to say to a person: warnings once each, lost workers for every shard."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._said: set[str] = set()

    def hear(self, told: Told) -> None:
        """Warn of lost workers, of other versions, and of what a worker warns of.

        Raises:
            DaKdError: an error of ours that a worker met, or one shard too many of them were lost over.
        """
        if told.tries > _TRIES:
            raise DaKdError(
                f"Expected workers that live; found {_TRIES} lost over one shard. Where the memory was too little, "
                "take fewer 'predict.workers' or a smaller 'predict.batch'; with RAY_BACKEND_LOG_LEVEL=info in the "
                "environment Ray's own logs say more."
            )
        if told.tries > 1:
            self._job.warn("A worker was lost, and a shard that it had begun was done again.")
        for text in (*told.warnings, *_apart(told.versions)):
            if text not in self._said:  # each worker finds it out for itself, and for each shard
                self._said.add(text)
                self._job.warn(text)
        if told.error is not None:
            raise told.error


def _apart(theirs: Mapping[str, str]) -> list[str]:
    """Return a warning where a worker has other libraries than this process: its answers may differ."""
    mine = library_versions()
    apart = [f"{name} {theirs.get(name)} (here {own})" for name, own in mine.items() if theirs.get(name) != own]
    return [f"A worker has other versions: {', '.join(apart)}; its boxes may differ a little."] if apart else []
