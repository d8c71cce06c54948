"""Locks between real processes: who holds them, who waits, and what a kill leaves."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from da_kd.errors import Busy, Cancelled
from da_kd.events import Event, Job
from da_kd.pids import started
from da_kd.store import hold, holder, holding
from da_kd.store.locks import Holder

HOLDER = """
import sys
from pathlib import Path
from da_kd.events import Job
from da_kd.store import hold
with hold(Path(sys.argv[1]), Job(), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "deep" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_held_lock_names_its_holder(tmp_path, other):
    path = tmp_path / "deep" / "lock"
    assert holder(path) == other.pid
    told = f"the run 'x' is in use by process {other.pid}; wait for it"
    with pytest.raises(Busy, match=told), hold(path, Job(), "the run 'x'"):
        pytest.fail("two processes hold one lock")
    other.communicate()
    assert holder(path) is None
    with hold(path, Job(), "it"):
        assert holder(path) == os.getpid()
    assert holder(path) is None


def test_a_killed_holder_lets_go(tmp_path, other):
    path = tmp_path / "deep" / "lock"
    other.kill()
    other.wait()
    assert str(other.pid) in path.read_text()  # it had no time to clean up
    assert holder(path) is None
    with hold(path, Job(), "it"):
        assert holder(path) == os.getpid()


def test_waiting_tells_once_and_ends_with_the_holder(tmp_path, other):
    told: list[Event] = []
    asked: list[int] = []

    def asked_to_stop() -> bool:
        asked.append(1)
        if len(asked) == 2:
            other.kill()
            other.wait()
        return False

    with hold(tmp_path / "deep" / "lock", Job(told.append, asked_to_stop), "the device", wait=True):
        assert other.poll() is not None
    assert [event.text for event in told] == [f"Waiting for process {other.pid}, which uses the device."]


def test_waiting_can_be_stopped(tmp_path, other):
    with pytest.raises(Cancelled), hold(tmp_path / "deep" / "lock", Job(cancelled=lambda: True), "it", wait=True):
        pytest.fail("it is held")
    assert holder(tmp_path / "deep" / "lock") == other.pid


def test_a_lock_that_is_only_looked_at_is_not_busy(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as somebody does for a moment who asks whether its holder lives

        def look_away() -> bool:
            fcntl.flock(file, fcntl.LOCK_UN)
            return False

        with hold(path, Job(cancelled=look_away), "it"):
            assert holder(path) == os.getpid()


def test_an_error_lets_go(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path / "lock", Job(), "it"):
        raise KeyError
    assert holder(tmp_path / "lock") is None


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"pid": "x"}', "[]"])
def test_a_lock_file_with_strange_content_is_no_lock(tmp_path, content):
    path = tmp_path / "lock"
    assert holder(path) is None
    path.write_text(content)
    assert holder(path) is None
    with hold(path, Job(), "it"):
        assert holder(path) == os.getpid()


def test_a_lock_says_which_process_of_which_machine_holds_it(tmp_path):
    with hold(tmp_path / "lock", Job(), "it"):
        known = holding(tmp_path / "lock")
        assert known == Holder(os.getpid(), socket.gethostname(), known.space, started(os.getpid()))
        assert known.space == (str(Path("/proc/self/ns/pid").readlink()) if Path("/proc/self/ns/pid").exists() else "")
        assert known.elsewhere() == ""
    assert Holder(os.getpid()).elsewhere() == ""  # as an older version wrote it
    assert Holder(os.getpid(), "another").elsewhere() == "on the machine 'another'"
    assert Holder(os.getpid(), space="pid:[1]").elsewhere() == "in another container of this machine"
    assert Holder(2**22 + 1, started="1").elsewhere()


def test_who_holds_a_lock_is_found_without_the_right_to_write_it(tmp_path, other):
    path = tmp_path / "deep" / "lock"
    code = "import sys; from pathlib import Path; from da_kd.store import holder; print(holder(Path(sys.argv[1])))"
    ask = [sys.executable, "-c", code, str(path)]
    if os.getuid() == 0:  # who may write everything where it is not mounted otherwise
        ask = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"']
        ask += [str(tmp_path), sys.executable, "-c", code, str(path)]
        if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount a folder read-only")
    else:
        path.chmod(0o444)
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == f"{other.pid}\n"
    other.kill()
    other.wait()
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "None\n"
