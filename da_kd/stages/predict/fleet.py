"""The engine of many machines: the processes of a Ray cluster answer shards, and this one writes them.

These are Ray's actors and not operators of Ray Data, which cut and join blocks by their size: here the unit of work, of
retry and of what lies on the disk is the recipe's shard, and a person who stops is heard at once. A worker has two
shards at a time, the one it works on and the next, so that however large the set, few are in memory. One that is lost,
be it its process or its whole machine, costs the shards it had; they go to the others, and to whoever takes its place.

Every machine of the cluster must see the images and the weights under the same paths, and have the same da_kd. Must not
know how an image is answered (``worker``) nor what a shard's file looks like (``shards``).
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from da_kd.data import ImageSet
from da_kd.errors import DaKdError, SetupError
from da_kd.events import Job
from da_kd.offline import settle_ray
from da_kd.stages.predict.earlier import Earlier
from da_kd.stages.predict.shards import Said
from da_kd.stages.predict.worker import Told, Worker
from da_kd.store import library_versions
from da_kd.teachers import Teacher
from da_kd.teachers.batches import Answer

if TYPE_CHECKING:
    from da_kd.recipe import Predict

_AT_ONCE = 2  # shards a worker has: while one is answered, the next is on its way
_TRIES = 3  # workers that may be lost over one shard, or before they were ready, before it is no accident any more
_REACH = 10.0  # seconds that a cluster has to answer
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
    with _cluster() as ray, _Fleet(ray, teacher, config, known, device, job) as fleet:
        for path, told in fleet.answers(images, missing):
            part = missing[path]
            said: dict[int, Answer] = {**known.of(part)} if told.classes == known.vocabulary else {}
            said |= {part[place]: found for place, found in told.answers.items()}
            done += len(part)
            job.progress(name, done, total, "images")
            yield Said(path, part, told.classes, said)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Connect to the cluster of ``RAY_ADDRESS``, else start one on this machine; one that is there already stays."""
    settle_ray()
    try:
        import ray
    except ImportError as error:
        raise SetupError(
            f"'predict.engine: ray' needs the package ray, which does not load ({error}); install it with: "
            "pip install 'da-kd[ray]', or take 'engine: local'."
        ) from error
    mine = not ray.is_initialized()
    if mine:
        with _signals_kept():
            _connect(ray, os.environ.get("RAY_ADDRESS", ""))
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not address:
        ray.init("local", include_dashboard=False, **quiet)
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _REACH).close()
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise SetupError(
            f"Expected a Ray cluster at {address} (RAY_ADDRESS); it cannot be reached ({error}). Start it, or unset "
            "RAY_ADDRESS to work on this machine alone."
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give SIGTERM back to whom it belonged; Ray takes it, and a person could not stop the run any more."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


class _Fleet:
    """Workers of a cluster, what each has to do, and what becomes of it when one is lost."""

    def __init__(self, ray: Any, teacher: Teacher, config: Predict, known: Earlier, device: str, job: Job) -> None:
        self._ray, self._known, self._job = ray, known, job
        wants, place, count = _share(ray.cluster_resources(), device, config.workers)
        self._make = ray.remote(Worker).options(**wants).remote
        self._of_worker = (teacher, place, config.floor, config.batch, known.vocabulary)
        self._given: dict[Any, tuple[Any, Path | None]] = {}  # what is awaited: by whom, and for which shard
        self._load: dict[Any, int] = {}  # shards that every worker has that is ready
        self._lost: Counter[Path | None] = Counter()
        self._said: set[str] = set()
        for _ in range(count):
            self._add()

    def __enter__(self) -> _Fleet:
        """Return the fleet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the workers go."""
        for worker in {*self._load, *(worker for worker, _ in self._given.values())}:
            self._ray.kill(worker)

    def answers(self, images: ImageSet, missing: Mapping[Path, Sequence[int]]) -> Iterator[tuple[Path, Told]]:
        """Yield what is said of every shard, as it comes."""
        todo, left = deque(missing), len(missing)
        while left:
            self._job.check()
            for ref in self._ray.wait(list(self._given), timeout=_PAUSE)[0]:
                worker, path = self._given.pop(ref)
                try:
                    told = self._ray.get(ref)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except self._ray.exceptions.RayError as error:
                    todo.extend(self._replace(worker, path, error))
                    continue
                if path is None:
                    self._compare(told)
                    self._load[worker] = 0
                else:
                    self._load[worker] -= 1
                    left -= 1
                    yield path, self._heard(told)
            while todo and (free := [worker for worker, load in self._load.items() if load < _AT_ONCE]):
                self._give(min(free, key=self._load.__getitem__), todo.popleft(), images, missing)

    def _add(self) -> None:
        """Start a worker; it gets shards once it answers, which is never where the cluster has no room for it."""
        worker = self._make(*self._of_worker)
        self._given[worker.versions.remote()] = (worker, None)

    def _give(self, worker: Any, path: Path, images: ImageSet, missing: Mapping[Path, Sequence[int]]) -> None:
        part = np.asarray(missing[path])
        self._given[worker.answer.remote(images.take(part), self._known.known[part])] = (worker, path)
        self._load[worker] += 1

    def _replace(self, lost: Any, path: Path | None, error: Exception) -> list[Path]:
        """Start another worker in the place of a lost one; return the shards that it had.

        Raises:
            DaKdError: it is not the first over this shard.
        """
        refs = [ref for ref, (worker, _) in self._given.items() if worker == lost]
        had = [each for each in (path, *(self._given.pop(ref)[1] for ref in refs)) if each is not None]
        self._load.pop(lost, None)
        self._ray.kill(lost)  # it may only be out of reach
        self._lost[path] += 1
        reason = str(error).strip().splitlines()[0]
        if self._lost[path] >= _TRIES:
            what = "before it could begin" if path is None else f"over shard {path.name}"
            raise DaKdError(
                f"Expected workers that live; found {_TRIES} lost {what} ({reason}). Ray's log of that machine "
                "says more; where the memory was too little, take fewer 'predict.workers' or a smaller 'predict.batch'."
            )
        self._job.warn(f"A worker was lost ({reason}); shards that are done again: {len(had)}.")
        self._add()
        return had

    def _heard(self, told: Told) -> Told:
        """Pass on what a worker has to say to a person.

        Raises:
            DaKdError: an error of ours that a worker met.
        """
        for text in told.warnings:
            if text not in self._said:  # each worker finds it out for itself, and for each shard
                self._job.warn(text)
        self._said.update(told.warnings)
        if told.error is not None:
            raise told.error
        return told

    def _compare(self, theirs: Mapping[str, str]) -> None:
        """Warn where a worker has other libraries than this process: its answers may differ."""
        mine = library_versions()
        apart = [f"{name} {theirs.get(name)} (here {own})" for name, own in mine.items() if theirs.get(name) != own]
        text = f"A worker has other versions: {', '.join(apart)}; its boxes may differ a little."
        if apart and text not in self._said:
            self._said.add(text)
            self._job.warn(text)


def _share(there: Mapping[str, float], device: str, wanted: int | None) -> tuple[dict[str, Any], str, int]:
    """Return what a worker asks the cluster for, the device it runs on, and how many workers there are.

    Raises:
        SetupError: the cluster has no GPU and one is asked for, or fewer places than workers.
    """
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    if device not in ("auto", "cpu") and not gpus:
        raise SetupError(f"Expected GPUs in the Ray cluster for 'device: {device}'; it has none; use 'auto' or 'cpu'.")
    on_gpu = gpus > 0 and device != "cpu"
    most, kind = (gpus, "GPUs") if on_gpu else (cpus, "CPUs")
    if most < (wanted or 1):
        raise SetupError(
            f"Expected a Ray cluster with room for {wanted or 1} workers; it has {most} {kind}; lower "
            "'predict.workers' or add machines."
        )
    wants = {"num_gpus": 1, "num_cpus": min(1, cpus)} if on_gpu else {"num_cpus": 1}
    return wants, "cuda:0" if on_gpu else "cpu", wanted or most
