"""Two machines share a training, played by two launchers of this one that know each other by variables alone."""

import dataclasses
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from da_kd.errors import RecipeError, SetupError
from da_kd.events import Event, Figures, Job
from da_kd.training import train
from da_kd.training.ddp import TASK


@pytest.fixture
def two(monkeypatch):
    """The variables of the machine that leads; return those of the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = {"PET_NNODES": "2", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": port}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return {**os.environ, "PET_NODE_RANK": "1"}


def test_two_hosts_train_one_student_after_the_other(task, two, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "da_kd.training.follow", str(tmp_path)]
    other, worlds = psutil.Popen(command, env=two), []
    try:
        for name in ("first", "second"):
            folder = tmp_path / "store" / "distill" / f"{name}.partial"
            folder.mkdir(parents=True)
            events: list[Event] = []

            def look(event: Event, events: list[Event] = events) -> None:
                events.append(event)
                worlds.append(len([child for child in other.children(recursive=True) if ranks(child)]))

            wanted = dataclasses.replace(task(batch=4, epochs=2), name=name)
            result = train(wanted, folder, Job(look))
            assert (result.epochs, result.steps) == (2, 6)
            assert [event.step for event in events if isinstance(event, Figures)] == [1, 2]
            assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.pt"]
        assert other.poll() is None
        assert max(worlds) == 1  # a process of the other host took part
    finally:
        other.terminate()
        assert other.wait(60) == 0
    with pytest.raises(RecipeError, match="a 'batch' that 2 devices can divide; found 5"):
        train(task(batch=5), tmp_path, Job())


def ranks(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:  # it ended between the list and this question
        return False
    return "da_kd.training.rank" in words and "torch.distributed.run" not in words


def test_a_host_that_follows_does_not_lead(task, two, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PET_NODE_RANK", "1")
    with pytest.raises(SetupError, match=r"PET_NODE_RANK=0; found 1\. On the others start: python -m da_kd"):
        train(task(batch=4), tmp_path, Job())
    monkeypatch.setenv("PET_NNODES", "1:4")
    with pytest.raises(SetupError, match="a number of machines in PET_NNODES; found '1:4'"):
        train(task(batch=4), tmp_path, Job())


def test_a_host_that_follows_ends_its_part_with_the_training(task, two, tmp_path: Path) -> None:
    """The one that leads never comes; what it asked for is withdrawn."""
    folder = tmp_path / "store" / "distill" / "alone.partial"
    folder.mkdir(parents=True)
    (folder / TASK).write_bytes(pickle.dumps((task(batch=4), {}, os.getpid())))
    other = psutil.Popen([sys.executable, "-m", "da_kd.training.follow", str(tmp_path)], env=two)
    try:
        while not (launchers := other.children()):
            assert other.poll() is None
            psutil.wait_procs([other], timeout=0.2)
        (folder / TASK).unlink()
        assert not psutil.wait_procs(launchers, timeout=60)[1]
        assert other.poll() is None
    finally:
        other.terminate()
        assert other.wait(60) == 0


@pytest.mark.parametrize("arguments", [[], ["runs"]])
def test_it_says_what_it_expects(arguments, monkeypatch) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PET_")}
    command = [sys.executable, "-m", "da_kd.training.follow", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("Expected PET_NNODES, " if arguments else "Expected the workspace: python -m")
