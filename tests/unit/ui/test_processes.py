"""Processes that outlive whoever started them: started, found again, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from da_kd.errors import Busy, SetupError
from da_kd.pids import started
from da_kd.store import write_json
from da_kd.ui import processes
from da_kd.ui.processes import Launch


def stand_in(folder, code, name="launch", stdout=None):
    """Start a process that is recorded as the app's."""
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=stdout)
    while not (ticks := started(child.pid)):
        time.sleep(0.01)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"pid": child.pid, "ticks": ticks, "arguments": ["run", "x"], "began": time.time()}
    write_json(folder / f"{name}.json", record)
    return child


def test_a_command_line_is_what_one_would_type():
    assert processes.command_line(["run", "a b.yaml", "--set", "x={y: 1}"]) == "da-kd run 'a b.yaml' --set 'x={y: 1}'"


def test_a_process_is_started_in_a_session_of_its_own_and_its_words_are_kept(tmp_path):
    made = processes.start(tmp_path / "run", ["--version"], tmp_path)
    end = time.monotonic() + 60
    while made.alive and time.monotonic() < end:
        time.sleep(0.05)
    assert processes.log_of(tmp_path / "run").startswith("da_kd ")
    assert processes.launched(tmp_path / "run") == made


def test_a_process_that_works_is_not_started_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_LINGERS", 0.0)
    child = stand_in(tmp_path, "import time; time.sleep(60)")
    try:
        with pytest.raises(Busy, match=f"process {child.pid}"):
            processes.start(tmp_path, ["--version"], tmp_path)
    finally:
        child.kill()
        child.wait()


def test_of_two_that_start_the_same_at_once_one_is_told_that_it_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_LINGERS", 0.0)
    told, both = [], threading.Barrier(2)

    def press():
        both.wait()
        try:
            told.append(processes.start(tmp_path / "run", ["--version"], tmp_path))
        except Busy as error:
            told.append(error)

    presses = [threading.Thread(target=press) for _ in range(2)]
    for one in presses:
        one.start()
    for one in presses:
        one.join()
    (made,) = [one for one in told if isinstance(one, Launch)]
    assert processes.launched(tmp_path / "run") == made
    assert len(told) == 2
    processes.end(made)


def test_one_that_ignores_the_question_is_killed(tmp_path):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = stand_in(tmp_path, deaf, stdout=subprocess.PIPE)
    launch = processes.launched(tmp_path)
    assert launch is not None and launch.alive
    with child.stdout as told:
        assert told.readline() == b"1\n"  # it is deaf from here on
    processes.end(launch, 0.2)
    assert not launch.alive  # at once: whoever is told that it has ended may start another
    assert child.wait(timeout=10) == -signal.SIGKILL


def test_whoever_stops_a_run_never_waits_longer_than_five_seconds(run, monkeypatch):
    asked, clock = [], [0.0]
    with monkeypatch.context() as patch:  # two processes that nothing ends, and a clock that only waiting moves
        patch.setattr(time, "monotonic", lambda: sum(clock))
        patch.setattr(time, "sleep", clock.append)
        patch.setattr(os, "kill", lambda pid, number: asked.append(number))
        patch.setattr(os, "killpg", lambda pid, number: asked.append(number))
        patch.setattr(type(run), "pid", lambda run: 1)
        patch.setattr(processes, "launched", lambda folder: Launch(2, "", (), 0.0))
        patch.setattr(Launch, "alive", True)
        assert processes.stop(run)
    assert asked == [signal.SIGTERM, signal.SIGKILL] * 2
    assert processes.PATIENCE < sum(clock) < 5


def test_a_number_that_another_process_has_by_now_is_not_taken_for_ours(tmp_path):
    assert not Launch(os.getpid(), "1", (), 0.0).alive
    assert not Launch(2**22 + 1, "", (), 0.0).alive  # ended before anybody could ask when it began


def test_a_process_is_known_on_a_machine_without_proc_too(tmp_path, monkeypatch):
    monkeypatch.setattr("da_kd.pids._PROC", tmp_path)
    child = stand_in(tmp_path / "run", "import time; time.sleep(60)")
    launch = processes.launched(tmp_path / "run")
    assert launch.alive
    assert not Launch(child.pid, "Thu Jan  1 00:00:00 1970", (), 0.0).alive
    child.kill()
    end = time.monotonic() + 30
    while launch.alive and time.monotonic() < end:
        time.sleep(0.01)
    assert not launch.alive  # though nobody has waited for it yet
    child.wait()


def test_a_run_that_only_begins_can_be_stopped(run):
    child = stand_in(run.folder, "import time; time.sleep(60)")
    assert processes.working(run) == child.pid
    assert processes.stop(run, 1.0)
    child.wait(timeout=10)
    assert processes.working(run) is None
    assert not processes.stop(run)


def test_a_run_whose_process_is_deaf_is_free_as_soon_as_it_is_said_to_be_stopped(run):
    deaf = "import fcntl, json, os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += f"file = open({str(run.folder / 'lock')!r}, 'a+'); fcntl.flock(file, fcntl.LOCK_EX); "
    deaf += "file.write(json.dumps({'pid': os.getpid()})); file.flush(); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", deaf])  # in a terminal: the app has no record of it
    end = time.monotonic() + 30
    while run.pid() != child.pid and time.monotonic() < end:
        time.sleep(0.02)
    assert processes.stop(run, 0.1)
    assert run.pid() is None
    assert child.wait(timeout=10) < 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="could not be started"):
        processes.start(tmp_path / "file" / "run", ["--version"], tmp_path)


@pytest.mark.parametrize(
    ("log", "told"),
    [("", ""), ("all fine\n", ""), ("a\nError: no such file\n", "no such file"), ("Error: x\n  - y\n", "x\n  - y")],
)
def test_the_last_error_of_a_log(log, told):
    assert processes.last_error(log) == told


def test_memory_of_this_process_is_known():
    found = processes.memory(os.getpid())
    assert found is not None and found > 1 << 20
    assert processes.memory(2**22 + 1) is None


def test_a_full_disk_is_told_where_the_button_is_and_nothing_is_left_running(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    before = psutil.Process().children()
    try:
        with (place / "rest").open("wb") as file, pytest.raises(OSError, match="No space"):
            file.write(b"x" * (1 << 16))
            file.flush()
        (place / "run").mkdir()
        with pytest.raises(SetupError, match=r"could not be started \(No space left on device.*Free some space"):
            processes.start(place / "run", ["--version"], tmp_path)
        assert processes.launched(place / "run") is None
        assert sorted(path.name for path in (place / "run").iterdir()) == ["launch.lock", "launch.log"]
        assert psutil.Process().children() == before
    finally:
        subprocess.run(["umount", "-l", place], check=True)
