"""The workspace's own server: shared, found again after a kill, stopped by the last."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from da_kd.errors import Cancelled, SetupError
from da_kd.events import Job
from da_kd.stages.review import mongod

USER = """
import sys, time
from pathlib import Path
from da_kd.events import Job
from da_kd.stages.review import mongod
with mongod.serve(Path(sys.argv[1]), Job()) as uri:
    print(uri, flush=True)
    sys.stdin.readline()
"""


def user(workspace: Path) -> tuple[subprocess.Popen, str]:
    """Start a process that uses the server until it is told to leave; return it and the URI it got."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(workspace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def leave(process: subprocess.Popen) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def ended(server: psutil.Process) -> bool:
    return not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def pid(workspace: Path) -> int:
    return json.loads((workspace / "mongo/server.json").read_text())["pid"]


def test_it_is_started_and_stopped_and_keeps_its_port(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_PRIVATE_DATABASE_PORT", "1")
    with mongod.serve(tmp_path, Job()) as uri:
        server = psutil.Process(pid(tmp_path))
        assert uri.endswith("&journal=true")
        assert "FIFTYONE_PRIVATE_DATABASE_PORT" not in server.environ()
        assert {c.laddr.ip for c in server.net_connections("tcp") if c.status == "LISTEN"} == {"127.0.0.1"}
        assert os.getsid(server.pid) != os.getsid(0)
    assert ended(server)
    assert sum(f.stat().st_size for f in (tmp_path / "mongo").rglob("*") if f.is_file()) < 40e6
    with mongod.serve(tmp_path, Job()) as again:
        assert again == uri


def test_users_share_it_and_the_last_one_stops_it(tmp_path):
    crowd = [user(tmp_path) for _ in range(3)]
    assert len({uri for _, uri in crowd}) == 1
    server = psutil.Process(pid(tmp_path))
    with mongod.serve(tmp_path, Job()) as uri, mongod.serve(tmp_path, Job()) as twice:
        assert uri == twice == crowd[0][1]
        for process, _ in crowd:
            leave(process)
            assert not ended(server)
    assert ended(server)


def test_processes_that_start_it_at_the_same_moment_get_one(tmp_path):
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert len({process.stdout.readline() for process in crowd}) == 1
    for process in crowd:
        leave(process)


def test_after_a_kill_of_the_program_the_server_is_found_and_used_again(tmp_path):
    process, uri = user(tmp_path)
    orphan = psutil.Process(pid(tmp_path))
    process.kill()
    process.communicate()
    assert not ended(orphan)
    with mongod.serve(tmp_path, Job()) as again:
        assert again == uri
        assert pid(tmp_path) == orphan.pid
    assert ended(orphan)


def test_ctrl_c_in_the_terminal_stops_it_after_the_program_has_left(tmp_path):
    process, _ = user(tmp_path)
    server = psutil.Process(pid(tmp_path))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert ended(server)


def test_after_a_kill_of_the_server_another_is_started(tmp_path):
    with mongod.serve(tmp_path, Job()) as uri:
        os.kill(pid(tmp_path), signal.SIGKILL)
    with mongod.serve(tmp_path, Job()) as again:
        assert again == uri


def test_a_taken_port_leads_to_another_one(tmp_path, monkeypatch):
    with mongod.serve(tmp_path / "a", Job()) as uri:
        port = int(uri.split(":")[2].split("/")[0])
        monkeypatch.setattr(mongod, "free_port", iter([port, mongod.free_port()]).__next__)
        with mongod.serve(tmp_path / "b", Job()) as other:
            assert other != uri


def test_a_data_folder_that_is_none_is_told_with_the_server_s_own_words(tmp_path):
    (tmp_path / "mongo").mkdir()
    (tmp_path / "mongo/data").write_text("a file")
    with pytest.raises(SetupError, match="cannot be made"), mongod.serve(tmp_path, Job()):
        pass
    (tmp_path / "mongo/data").unlink()
    (tmp_path / "mongo/data").mkdir()
    (tmp_path / "mongo/data/WiredTiger").write_text("rubbish")
    (tmp_path / "mongo/data/WiredTiger.turtle").write_text("rubbish")
    with (
        pytest.raises(SetupError, match=r"did not start \(exit code -?\d+\): .*turtle.*mongod.log"),
        mongod.serve(tmp_path, Job()),
    ):
        pass


def test_a_stopped_job_does_not_wait_for_the_lock(tmp_path):
    (tmp_path / "mongo").mkdir()
    begun = time.monotonic()
    with (
        mongod.exclusive(tmp_path / "mongo/start.lock", Job()),
        pytest.raises(Cancelled),
        mongod.serve(tmp_path, Job(cancelled=lambda: True)),
    ):
        pass
    assert time.monotonic() - begun < 5


FULL = """
import resource, sys
from pathlib import Path
from da_kd.events import Job
from da_kd.stages.review import mongod
with mongod.serve(Path(sys.argv[1]), Job()) as uri:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, -1))  # no file of this process grows any more, as on a full disk
print(uri)
"""


def test_it_is_stopped_and_found_again_where_the_disk_is_full(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert not psutil.pid_exists(pid(tmp_path))
    with mongod.serve(tmp_path, Job()) as again:
        assert again == done.stdout.strip()
