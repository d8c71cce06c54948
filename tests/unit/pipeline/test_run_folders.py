"""A run's folder: its record, who works on it, and how it is stopped. Results and leaks between sets as well."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from da_kd.errors import Busy, DataError, InputError
from da_kd.events import Job
from da_kd.pipeline import Inputs, Run, RunResult, RunState, StepOutcome, list_runs, load_inputs
from da_kd.store import Store

WORKER = """
import signal, sys
from pathlib import Path
from da_kd.events import Job
from da_kd.pipeline.runs import Run, RunState
from da_kd.recipe import load_recipe

if sys.argv[3] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = Run(Path(sys.argv[1]))
run.keep(load_recipe(sys.argv[2]))
with run.taken(Job()) as job:
    run.save(RunState(state="running", stage="teach", started=1.0))
    job.note("at work")
    print("working", flush=True)
    sys.stdin.read()
    run.save(RunState(state="done"))
"""


@pytest.fixture
def place(tmp_path):
    return Run(tmp_path / "runs" / "first")


@pytest.fixture
def worker(place, recipe, tmp_path):
    """Start a process that works on the run until its input ends."""
    from da_kd.recipe import dump_recipe

    (tmp_path / "r.yaml").write_text(dump_recipe(recipe()))
    started = []

    def start(manner="obedient"):
        command = [sys.executable, "-c", WORKER, str(place.folder), str(tmp_path / "r.yaml"), manner]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "working\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_that_is_not_there_is_new_and_writes_nothing(place):
    assert place.state() == RunState()
    assert not place.exists
    assert place.pid() is None
    assert not place.stop()
    with pytest.raises(InputError, match="there is none"):
        place.recipe()
    assert not place.folder.exists()
    assert (place.name, place.workspace.name) == ("first", "runs")


def test_a_recipe_that_cannot_be_written_leaves_the_one_before(place, recipe, monkeypatch):
    def full(path, text, encoding):
        path.touch()
        raise OSError(28, "No space left on device")

    place.keep(recipe())
    before = (place.folder / "recipe.yaml").read_text()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_text", full)
        place.keep(recipe("name=other"))
    assert (place.folder / "recipe.yaml").read_text() == before
    assert list(place.folder.glob(".*.tmp")) == []


@pytest.mark.parametrize(
    ("text", "ap"),
    [('{"models": {"student": {"AP": 0.25}}}', 0.25), ('{"models": {"student": {"AP": null}}}', None), ("{", None)],
)
def test_the_students_ap_is_that_of_the_report(place, text, ap):
    assert place.student_ap() is None
    (place.folder / "report").mkdir(parents=True)
    (place.folder / "report" / "metrics.json").write_text(text)
    assert place.student_ap() == ap


def test_an_output_is_found_by_its_fingerprint_once_it_is_finished(place):
    folder = place.workspace / "store" / "fuse" / "abc"
    folder.mkdir(parents=True)
    assert place.output("abc") is None
    (folder / "output.json").touch()
    assert place.output("abc") == folder
    assert place.made("fuse") is None  # the run has recorded no such step


def test_what_is_saved_is_read_back(place, recipe):
    steps = {"fuse": {"stage": "fuse", "fingerprint": "ab", "parts": {"fuse.iou": 0.5}}}
    state = RunState("paused", "review", "look", 1.5, None, "cd", steps)
    place.keep(recipe())
    with place.taken(Job()) as job:
        job.note("hello")
        place.save(state)
        assert place.pid() == os.getpid()
        with pytest.raises(Busy, match="the run 'first' is in use"), place.taken(Job()):
            pytest.fail("it is taken")
    assert place.state() == state
    assert place.recipe() == recipe()
    assert place.pid() is None
    events = [json.loads(line) for line in (place.folder / "events.jsonl").read_text().splitlines()]
    assert [event["text"] for event in events] == ["hello"]


DAMAGED = ["{", "", "[1]", '{"colour": 1}', "null"]
DAMAGED += ['{"steps": null}', '{"steps": {"fuse": null}}', '{"steps": {"fuse": {"stage": "fuse"}}}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_named_with_the_way_out(place, content):
    place.folder.mkdir(parents=True)
    (place.folder / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"record of the run 'first' cannot be read .*; remove .*/first/run\.json"):
        place.state()


def test_a_killed_run_is_told_from_a_running_one(place, worker):
    process = worker()
    assert place.state() == RunState("running", "teach", started=1.0)
    assert place.pid() == process.pid
    process.kill()
    process.wait()
    assert place.state().state == "killed"
    assert place.state().stage == "teach"
    assert json.loads((place.folder / "run.json").read_text())["state"] == "running"  # it had no time to say more
    again = worker()
    assert place.state().state == "running"
    again.communicate()
    assert place.state().state == "done"


def test_a_run_is_stopped_by_asking(place, worker):
    process = worker()
    assert place.stop()
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert place.pid() is None
    assert not place.stop()


def test_a_run_that_does_not_listen_is_killed(place, worker):
    process = worker("stubborn")
    assert place.stop(patience=0)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert place.state().state == "killed"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"host": "elsewhere"}, "on the machine 'elsewhere'"),
        ({"space": "pid:[1]"}, "in another container"),
        ({"started": "1"}, "since no process here is the one of that number"),
    ],
)
def test_a_process_that_only_has_the_number_of_the_runs_is_left_alone(place, worker, change, told):
    process = worker()
    lock = place.folder / "lock"
    lock.write_text(json.dumps(json.loads(lock.read_text()) | change))
    with pytest.raises(Busy, match=rf"Run 'first' is worked on by process {process.pid} .*{told}.*; stop it where it"):
        place.stop(patience=0)
    assert process.poll() is None
    process.communicate()
    assert process.returncode == 0


def test_a_run_of_an_older_version_whose_lock_holds_a_number_alone_is_stopped(place, worker):
    process = worker()
    (place.folder / "lock").write_text(json.dumps({"pid": process.pid, "since": 1.0}))
    assert place.stop()
    assert process.wait(timeout=60) == -signal.SIGTERM


def test_a_folder_that_is_a_link_to_itself_holds_no_run(tmp_path):
    (tmp_path / "round").symlink_to("round")
    assert not Run(tmp_path / "round").exists


@pytest.mark.parametrize("name", ["store", "journal", "mongo", "locks"])
def test_a_run_does_not_move_into_the_workspaces_own_folders(tmp_path, recipe, name):
    with pytest.raises(InputError, match=f"cannot be called '{name}'"), Run(tmp_path / name).taken(Job()):
        pytest.fail("it is no place for a run")
    assert not (tmp_path / name).exists()


def test_runs_are_listed_the_latest_first(tmp_path):
    assert list_runs(tmp_path / "nowhere") == []
    for index, name in enumerate(("a", "c", "b")):
        (tmp_path / name).mkdir()
        Run(tmp_path / name).save(RunState())
        os.utime(tmp_path / name / "run.json", (index, index))
    (tmp_path / "store").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["b", "c", "a"]


def test_a_run_did_nothing_when_everything_was_there(tmp_path):
    there = StepOutcome("fuse", "fuse", True, "", tmp_path)
    made = StepOutcome("review", "review", False, "", tmp_path)
    assert RunResult(tmp_path, None, None, (there, there), None, {}).did_nothing
    assert not RunResult(tmp_path, None, None, (there, made), None, {}).did_nothing


def test_test_images_that_are_trained_on_are_told(recipe, world, tmp_path):
    store, told = Store(tmp_path / "runs"), []
    assert load_inputs(recipe(), store, Job(told.append)).notes == ()
    data = world / "data"
    for name, index in (("target", 2), ("labelled", 0), ("labelled", 1)):
        content = (data / name / "images" / f"{index}.png").read_bytes()
        (data / "test" / "images" / f"{3 - index}.png").write_bytes(content)
    inputs = load_inputs(recipe(), store, Job(told.append))
    assert [note.split(";")[0] for note in inputs.notes] == [
        "1 images of data.test are also in data.target (same content), e.g. 'images/1.png'",
        "2 images of data.test are also in data.target_labelled (same content), e.g. 'images/2.png'",
    ]
    assert [event.text for event in told if getattr(event, "level", "") == "warning"] == list(inputs.notes)


def test_a_set_that_the_recipe_leaves_out_is_named():
    with pytest.raises(DataError, match=r"no 'data\.source', which is needed here; add it"):
        Inputs({}).get("source")


def test_the_target_has_no_labels_and_the_others_do(recipe, tmp_path):
    sets = load_inputs(recipe(), Store(tmp_path / "runs"), Job()).sets
    assert {name: len(images.table.xyxy) for name, images in sets.items()} == {
        "source": 4,
        "target": 0,
        "target_labelled": 4,
        "test": 4,
    }
    assert not sets["target"].table.searched.any()


def test_the_last_lines_are_read_from_the_end(tmp_path):
    run = Run(tmp_path / "runs" / "first")
    assert run.last_lines(100) == []
    run.folder.mkdir(parents=True)
    (run.folder / "events.jsonl").write_text("".join(f"line {index}\n" for index in range(100)))
    assert run.last_lines(16) == ["line 98", "line 99"]
