"""Several processes share a training: starts them, passes on what they tell, and stops them.

Torch's own launcher starts ``python -m da_kd.training.rank FOLDER`` once a device; what the processes need to know lies
in the folder. Several machines share it where the launcher's own variables say so: ``PET_NNODES``, ``PET_NODE_RANK``,
``PET_MASTER_ADDR`` and ``PET_MASTER_PORT``; the others' launchers are started by ``follow``. Must not import torch, nor
know what is trained.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from da_kd.errors import DaKdError, RecipeError, SetupError
from da_kd.events import Job

if TYPE_CHECKING:
    from da_kd.training.task import Setting, TrainingTask

TASK, EVENTS, ERROR, LOG = "ranks.task", "ranks.events", "ranks.error", "ranks.log"
_PAUSE = 0.2  # seconds between two looks at what was told
_PATIENCE = 20.0  # seconds that processes have to end by themselves


def run_ranks(task: TrainingTask, arguments: dict[str, Any], folder: Path, job: Job) -> None:
    """Train in one process on each of the task's devices, on as many machines as share it.

    A batch is divided among them: each takes its part of the images, and gradients are averaged.

    Args:
        task: what is to be trained.
        arguments: the library's.
        folder: the training's; holds what the processes exchange while they run.
        job: hears what the first process tells; when it is asked to stop, all are stopped.

    Raises:
        RecipeError: the batch cannot be divided.
        Cancelled: a person stopped it.
        MemoryError: a batch does not fit into the memory of a device.
        DaKdError: a process failed; if it failed with an error of ours, that very error.
    """
    count, batch = processes(task.setting), arguments["batch"]
    if batch % count:
        raise RecipeError(
            [f"the schedule of '{task.name}': expected a 'batch' that {count} devices can divide; found {batch}"]
        )
    if hosts() > 1 and os.environ.get("PET_NODE_RANK", "0") != "0":
        raise SetupError(
            f"Expected the run on the machine with PET_NODE_RANK=0; found {os.environ['PET_NODE_RANK']}. On the others "
            "start: python -m da_kd.training.follow WORKSPACE"
        )
    for name in (EVENTS, ERROR, LOG):
        (folder / name).unlink(missing_ok=True)
    (folder / TASK).write_bytes(pickle.dumps((task, arguments, os.getpid())))
    (folder / EVENTS).touch()
    launcher = launch(folder, len(task.setting.ranks) or 1)
    with (folder / LOG).open("wb") as log, (folder / EVENTS).open("rb") as events:
        process = subprocess.Popen(launcher, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None:
                _pass_on(events, job)
                job.check()
                time.sleep(_PAUSE)
            _pass_on(events, job)
        finally:
            (folder / TASK).unlink(missing_ok=True)  # whoever follows ends its part
            end(process)
    if process.returncode:
        raise _failure(task.name, folder)
    forget_ranks(folder)


def hosts() -> int:
    """Return how many machines share a training, by the launcher's own variable.

    Raises:
        SetupError: it is no number; machines that come and go are not supported.
    """
    given = os.environ.get("PET_NNODES", "1")
    if not given.isdecimal() or given == "0":
        raise SetupError(f"Expected a number of machines in PET_NNODES; found '{given}'; set it to, say, 2.")
    return int(given)


def processes(setting: Setting) -> int:
    """Return how many processes share every training."""
    return hosts() * max(1, len(setting.ranks))


def launch(folder: Path, here: int) -> list[str]:
    """Return the command that starts this machine's processes for a training; torch's variables may say more.

    Args:
        folder: the training's.
        here: processes on this machine.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(here)]
    if hosts() == 1:
        command += ["--master_addr", "127.0.0.1", "--master_port", str(_free_port())]
    return [*command, "-m", "da_kd.training.rank", str(folder)]


def forget_ranks(folder: Path) -> None:
    """Remove what processes exchanged."""
    for name in (TASK, EVENTS, ERROR, LOG):
        (folder / name).unlink(missing_ok=True)


def _pass_on(events: BinaryIO, job: Job) -> None:
    """Tell the job what was told since the last time."""
    for event in _whole(events):
        job.emit(event)


def _whole(events: BinaryIO) -> Iterator[Any]:
    """Yield what was written whole, each a pickle of our own making; go back before what is not."""
    while True:
        place = events.tell()
        try:
            yield pickle.load(events)  # noqa: S301 - our own processes wrote it
        except (EOFError, pickle.UnpicklingError):
            events.seek(place)
            return


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the launcher, and with it the processes it started, where they still run."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(name: str, folder: Path) -> Exception:
    """Return the error that a process left behind, else one with the last words of the log."""
    path = folder / ERROR
    if path.is_file():
        error: Exception = pickle.loads(path.read_bytes())  # noqa: S301 - our own process wrote it
        return error
    lines = [line for line in (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    causes = [line.strip() for line in lines if "Error" in line and "ChildFailedError" not in line]
    cause = causes[-1] if causes else "no reason was given"
    return DaKdError(f"A process of training '{name}' failed ({cause}); {folder / LOG} has all it said.")


def _free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
