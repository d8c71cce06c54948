"""Outputs by fingerprint: finished or not there, whatever happens while they are made."""

import errno
import json
import os
import subprocess
import sys

import pytest

from da_kd.errors import Busy, Cancelled, SetupError
from da_kd.events import Job
from da_kd.store import Output, Store, hold, holder, library_versions, write_json

OUTPUT = Output("stage", {"a": 1})

MAKER = """
import sys
from pathlib import Path
from da_kd.events import Job
from da_kd.store import Output, Store

def work(out, job):
    (out / "begun").write_text("x")
    print("working", flush=True)
    sys.stdin.readline()
    (out / "result").write_text(sys.argv[2])

job = Job(lambda event: print("waiting", flush=True))
print(Store(Path(sys.argv[1])).make(Output("stage", {"a": 1}), work, job), flush=True)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def maker(tmp_path):
    """Start processes that make the output, and stop them at the end."""
    started = []

    def start(text):
        process = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path), text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def nothing(out, job):
    """Make an empty output."""


def test_an_output_is_made_once(store):
    calls = []

    def work(out, job):
        calls.append(out)
        (out / "result").write_text("x")
        assert not store.finished(OUTPUT)

    assert not store.begun(OUTPUT)
    folder = store.make(OUTPUT, work, Job())
    assert store.make(OUTPUT, work, Job()) == folder == store.path(OUTPUT)
    assert len(calls) == 1
    assert store.finished(OUTPUT)
    assert not store.begun(OUTPUT)
    assert (folder / "result").read_text() == "x"
    manifest = store.manifest(OUTPUT)
    assert manifest["parts"] == {"a": 1}
    assert manifest["versions"] == library_versions()
    assert manifest["seconds"] >= 0


@pytest.mark.parametrize("error", [RuntimeError("broken"), Cancelled("stopped"), KeyboardInterrupt()])
def test_an_output_that_fails_is_not_there_and_its_beginning_is_kept(store, error):
    def fail(out, job):
        (out / "shard").write_text("first")
        raise error

    def go_on(out, job):
        assert (out / "shard").read_text() == "first"

    with pytest.raises(type(error)):
        store.make(OUTPUT, fail, Job())
    assert not store.finished(OUTPUT)
    assert store.begun(OUTPUT)
    folder = store.make(OUTPUT, go_on, Job())
    assert sorted(path.name for path in folder.iterdir()) == ["output.json", "shard"]


def test_what_a_killed_writer_left_half_written_goes_before_the_work_goes_on(store):
    def fail(out, job):
        for name in ("shard", ".labels.parquet.7.tmp", ".hidden"):
            (out / name).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(OUTPUT, fail, Job())
    folder = store.make(OUTPUT, nothing, Job())
    assert sorted(path.name for path in folder.iterdir()) == [".hidden", "output.json", "shard"]


def test_time_spent_on_earlier_attempts_counts(store):
    def fail(out, job):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.make(OUTPUT, fail, Job())
    (store.path(OUTPUT).with_suffix(".partial") / ".spent").write_text("1000")
    with pytest.raises(RuntimeError):
        store.make(OUTPUT, fail, Job())
    store.make(OUTPUT, nothing, Job())
    assert 1000 <= store.manifest(OUTPUT)["seconds"] < 1100


def test_a_full_disk_is_told_as_one(store):
    def fill(out, job):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SetupError, match=r"full; free some space .* goes on from here"):
        store.make(OUTPUT, fill, Job())
    with pytest.raises(OSError, match="denied"):
        store.make(OUTPUT, lambda out, job: (_ for _ in ()).throw(OSError(errno.EACCES, "denied")), Job())


def test_two_processes_make_an_output_once(store, maker):
    first = maker("first")
    assert first.stdout.readline() == "working\n"
    second = maker("second")
    assert second.stdout.readline() == "waiting\n"  # it was told to wait, and does not work
    first.stdin.write("\n")
    first.stdin.flush()
    folder = str(store.path(OUTPUT)) + "\n"
    assert first.stdout.readline() == folder
    assert second.stdout.readline() == folder
    assert (store.path(OUTPUT) / "result").read_text() == "first"


def test_a_killed_process_leaves_a_beginning_and_no_output(store, maker):
    first = maker("first")
    assert first.stdout.readline() == "working\n"
    lock = store.path(OUTPUT).with_suffix(".lock")
    assert holder(lock) == first.pid
    first.kill()
    first.wait()
    assert holder(lock) is None
    assert not store.finished(OUTPUT)
    assert store.begun(OUTPUT)

    def go_on(out, job):
        assert (out / "begun").read_text() == "x"
        (out / "result").write_text("mine")

    folder = store.make(OUTPUT, go_on, Job())
    assert (folder / "result").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == [OUTPUT.fingerprint]  # no lock and no beginning stays


def test_the_fingerprint_is_of_what_decides_the_result():
    same = [Output("s", {"a": 1, "b": [2]}), Output("s", {"b": [2], "a": 1}), Output("s", {"a": 1, "b": [2]}, units=9)]
    assert len({output.fingerprint for output in same}) == 1
    other = [
        Output("t", {"a": 1, "b": [2]}),
        Output("s", {"a": 1, "b": [2]}, version=2),
        Output("s", {"a": 1}),
        Output("s", {"a": 1, "b": [3]}),
        Output("s", {"a": 1, "c": [2]}),
        same[0],
    ]
    assert len({output.fingerprint for output in other}) == len(other)


def test_rates_are_the_median_of_what_was_made(store):
    assert store.seconds_per_unit("stage") is None
    for index, seconds in enumerate([1.0, 200.0, 4.0]):
        folder = store.make(Output("stage", {"n": index}, units=2), nothing, Job())
        write_json(folder / "output.json", {**json.loads((folder / "output.json").read_text()), "seconds": seconds})
    assert store.seconds_per_unit("stage") == 2.0


def test_everything_is_listed_and_only_outputs_are_removed(store, tmp_path):
    assert list(store.everything()) == []
    folders = [store.make(Output(stage, {}), nothing, Job()) for stage in ("fuse", "predict")]
    with pytest.raises(RuntimeError):
        store.make(Output("teach", {}), lambda out, job: (_ for _ in ()).throw(RuntimeError), Job())
    found = list(store.everything())
    assert found[:2] == folders
    assert [path.suffix for path in found] == ["", "", ".partial"]
    (tmp_path / "run").mkdir()
    for place in (tmp_path / "run", store.root / "fuse", tmp_path):
        with pytest.raises(ValueError, match="not an output"):
            store.remove(place, lambda: False)
    assert store.remove(folders[0], lambda: False)
    assert list(store.everything()) == found[1:]


def test_a_removal_that_is_interrupted_leaves_no_output_and_the_next_one_ends_it(store, monkeypatch):
    def work(out, job):
        for name in "abc":
            (out / name).write_text("x")

    def interrupted(path):
        (path / "b").unlink()
        raise KeyboardInterrupt

    folder = store.make(OUTPUT, work, Job())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", interrupted)
        store.remove(folder, lambda: False)
    assert not store.finished(OUTPUT) and not store.begun(OUTPUT)
    assert store.alike(Output("stage", {"a": 2}), ("a",)) == []
    assert sorted(path.name for path in store.make(OUTPUT, work, Job()).iterdir()) == ["a", "b", "c", "output.json"]
    (left,) = [path for path in store.everything() if path != folder]
    assert store.remove(left, lambda: False)
    assert list(store.everything()) == [folder]


def test_an_output_that_is_needed_after_all_or_being_made_stays(store):
    folder = store.make(OUTPUT, nothing, Job())
    assert not store.remove(folder, lambda: True)
    with hold(folder.with_suffix(".lock"), Job(), "it"), pytest.raises(Busy):
        store.remove(folder, lambda: False)
    assert store.finished(OUTPUT)


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    old = path.stat().st_ino
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    with path.open() as reader:
        write_json(path, {"a": 2})
        assert json.loads(reader.read()) == {"a": 1}  # who reads meanwhile sees the old file to its end
    assert json.loads(path.read_text()) == {"a": 2}
    assert path.stat().st_ino != old
    assert os.listdir(tmp_path) == ["x.json"]  # noqa: PTH208


def test_versions_are_of_what_results_depend_on():
    versions = library_versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"da_kd", "torch", "ultralytics", "pycocotools", "numpy"} <= set(versions)


def test_outputs_that_differ_in_named_parts_alone_are_found_newest_first(store):
    def parts(**changes):
        return Output("stage", {"model": "m", "images": 1, "sizes": (1, 2)} | changes)

    def stop(out, job):
        raise Cancelled("stopped")

    for number, output in enumerate([parts(), parts(images=2), parts(model="other", images=3), parts(images=4)]):
        folder = store.make(output, nothing, Job())
        os.utime(folder / "output.json", (number, number))
    with pytest.raises(Cancelled):
        store.make(parts(images=5), stop, Job())  # begun, so the newest
    store.make(Output("stage", parts(images=6).parts, version=2), nothing, Job())
    store.make(Output("other stage", parts(images=7).parts), nothing, Job())
    wanted = [parts(images=5), parts(images=4), parts()]
    paths = [store.path(output) for output in wanted]
    assert store.alike(parts(images=2), ("images",)) == [paths[0].with_suffix(".partial"), *paths[1:]]
    assert store.alike(parts(images=2), ()) == []
    assert store.alike(Output("no stage", {}), ()) == []
