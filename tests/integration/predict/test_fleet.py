"""A real Ray cluster of this machine: two processes answer with a real detector, and one of them is killed."""

import os
import signal
import sys
from collections import Counter
from contextlib import contextmanager

import psutil
import pytest

from da_kd.detections import read_table
from da_kd.errors import Cancelled, DaKdError, SetupError
from da_kd.events import Event, Job, Note, Progress
from da_kd.offline import settle_ray
from da_kd.recipe import Fuse, Predict, Teacher
from da_kd.stages import fuse, predict
from da_kd.teachers.ultralytics import UltralyticsTeacher

settle_ray()
ray = pytest.importorskip("ray")

COUNT = 46
LOCAL = Predict(floor=1e-5, batch=2, shard=4)
RAY = LOCAL.model_copy(update={"engine": "ray", "workers": 2})
ALONE = RAY.model_copy(update={"workers": 1})


@pytest.fixture(scope="module")
def cluster():
    """Two places for workers, from here on for all tests of this module."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def shards(folder):
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}


def workers():
    """Return the processes that hold a teacher."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if any("Worker" in word for word in process.cmdline()[:1])]


class Killer:
    """Hears of progress, and kills a worker in the middle."""

    def __init__(self, moment):
        self.moment, self.told, self.killed = moment, [], []

    def __call__(self, event: Event):
        self.told.append(event)
        if isinstance(event, Progress) and event.done >= self.moment and not self.killed:
            self.killed = workers()[:1]
            self.killed[0].send_signal(signal.SIGKILL)

    def notes(self):
        return [event.text for event in self.told if isinstance(event, Note)]


class Witness:
    """Answers as another teacher does, and writes down every picture it is asked for; at some it kills its process."""

    def __init__(self, inner, log, deadly=""):
        self.inner, self.log, self.deadly = inner, log, deadly

    def fingerprint(self):
        return self.inner.fingerprint()

    @contextmanager
    def open(self, device, floor, batch):
        with self.inner.open(device, floor, batch) as predictor:
            self.predictor, self.classes = predictor, predictor.classes
            yield self

    def predict(self, batch):
        with self.log.open("a", encoding="utf-8") as file:
            file.writelines(f"{image.key}\n" for image in batch)
        if any(image.key == self.deadly for image in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.predictor.predict(batch)


@pytest.fixture
def by_value():
    """Let the workers have the classes of this module, which they cannot import."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_costs_its_unfinished_shards_and_the_files_are_those_of_one_process(
    images, teacher, whole, tmp_path, by_value
):
    heard, finished = Killer(moment=8), {}

    def sink(event):
        if isinstance(event, Progress) and not heard.killed:
            finished.update({path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("0*.parquet")})
        heard(event)

    predict.run("t", Witness(teacher, tmp_path / "asked"), RAY, images, "cpu", tmp_path, Job(sink))
    (killed,) = heard.killed
    assert not killed.is_running()
    # A worker has two shards, and what it says of each is a note; none, where it was killed between them.
    assert len([note for note in heard.notes() if "lost" in note]) <= 2
    assert shards(tmp_path) == shards(whole)
    asked = Counter((tmp_path / "asked").read_text().split())
    again = {int(key.removesuffix(".png")) // LOCAL.shard for key, times in asked.items() if times > 1}
    assert len(asked) == COUNT - 1  # one is no picture
    assert len(again) <= 2  # shards that the killed one had; the other's are asked for once
    assert finished
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    done = [event.done for event in heard.told if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == COUNT
    voices = [Teacher(name="t", weights="w.pt", classes={"0": "x"} | {str(number): None for number in range(1, 80)})]
    labels = []
    for folder in (tmp_path, whole):
        fuse.run(voices, {"t": predict.read_predictions(folder)}, Fuse(keep=0.0, drop=0.0), ("x",), folder, Job())
        labels.append((folder / "labels.parquet").read_bytes())
    assert labels[0] == labels[1]
    assert len(read_table(tmp_path / "labels.parquet")) == COUNT


class Broken(Witness):
    """A teacher whose library fails."""

    def predict(self, batch):
        raise RuntimeError("CUDA error: unspecified launch failure")


@pytest.mark.usefixtures("cluster", "by_value")
def test_a_foreign_error_of_a_worker_is_the_error(images, teacher, tmp_path):
    with pytest.raises(RuntimeError, match="CUDA error: unspecified launch failure"):
        predict.run("t", Broken(teacher, tmp_path / "asked"), ALONE, images, "cpu", tmp_path, Job())


@pytest.mark.usefixtures("cluster", "by_value")
def test_a_picture_that_kills_every_worker_ends_the_run_and_what_is_done_stays(images, teacher, whole, tmp_path):
    deadly = Witness(teacher, tmp_path / "asked", deadly="41.png")
    with pytest.raises(DaKdError, match=r"^Expected workers that live; found 3 lost over one shard\."):
        predict.run("t", deadly, RAY, images, "cpu", tmp_path, Job())
    assert Counter((tmp_path / "asked").read_text().split())["41.png"] == 3
    done = shards(tmp_path)
    assert {name: shards(whole)[name] for name in done} == done
    predict.run("t", teacher, RAY, images, "cpu", tmp_path, Job())
    assert shards(tmp_path) == shards(whole)


@pytest.mark.usefixtures("cluster")
def test_what_stands_already_is_kept_and_what_was_said_before_is_copied(images, teacher, whole, tmp_path):
    first = images.take(range(10))
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    predict.run("t", teacher, LOCAL, first, "cpu", old, Job())
    (new / "shards").mkdir()
    kept = new / "shards" / "00001.parquet"
    kept.write_bytes((whole / "shards" / "00001.parquet").read_bytes())
    before, told = kept.stat().st_mtime_ns, Killer(moment=COUNT + 1)
    predict.run("t", teacher, ALONE, images, "cpu", new, Job(told), earlier=[old])
    assert kept.stat().st_mtime_ns == before
    assert shards(new) == shards(whole)
    assert told.notes()[:2] == [
        "1 of 12 shards were there already.",
        "10 of 46 images were answered before; 36 are predicted.",
    ]


@pytest.mark.usefixtures("cluster")
def test_a_person_who_stops_is_heard_and_the_local_engine_goes_on(images, teacher, whole, tmp_path):
    told = []
    job = Job(told.append, cancelled=lambda: any(isinstance(event, Progress) for event in told))
    with pytest.raises(Cancelled):
        predict.run("t", teacher, ALONE, images, "cpu", tmp_path, job)
    assert 1 <= len(shards(tmp_path)) < len(shards(whole))
    predict.run("t", teacher, LOCAL, images, "cpu", tmp_path, Job())
    assert shards(tmp_path) == shards(whole)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("device", "wanted", "problem"),
    [
        ("cuda", 1, "Expected GPUs in the Ray cluster for 'device: cuda'"),
        ("auto", 9, "room for 9 workers; it has 2 CPU"),
    ],
)
def test_what_the_cluster_does_not_have_is_said(images, teacher, tmp_path, device, wanted, problem):
    config = RAY.model_copy(update={"workers": wanted})
    with pytest.raises(SetupError, match=problem):
        predict.run("t", teacher, config, images, device, tmp_path, Job())


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_worker_is_the_error(images, place, tmp_path):
    (place / "broken.pt").write_bytes(b"no weights")
    broken = UltralyticsTeacher(place / "broken.pt", {})
    with pytest.raises(Exception, match=r"broken\.pt") as alone:
        predict.run("t", broken, LOCAL, images, "cpu", tmp_path, Job())
    with pytest.raises(type(alone.value)) as shared:
        predict.run("t", broken, ALONE, images, "cpu", tmp_path, Job())
    assert str(shared.value) == str(alone.value)
