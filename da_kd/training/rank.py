"""One of the processes that share a training; started by torch's launcher, ``python -m da_kd.training.rank FOLDER``.

The launcher's environment (``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``) says which one it is, so that it
does not matter who launches, nor on how many machines, as long as all see the folder. The first one alone tells of
progress and writes.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

from da_kd.errors import DaKdError
from da_kd.events import Event, Job
from da_kd.offline import settle_ultralytics
from da_kd.teachers.batches import out_of_memory
from da_kd.training.ddp import ERROR, EVENTS, TASK


def main(folder: Path) -> int:
    """Take part in the training of a folder; return the exit status."""
    task, arguments, parent = pickle.loads((folder / TASK).read_bytes())  # noqa: S301 - our own process wrote it
    settle_ultralytics()
    from torch import distributed

    from da_kd.training.ranked import RankedTrainer
    from da_kd.training.train import sit

    try:
        sit(RankedTrainer, task, arguments, folder, _job(folder, parent))
    except DaKdError as error:
        _leave(error, folder)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _leave(MemoryError(str(error)), folder)  # whoever started this tries again with fewer images at a time
        return 1
    distributed.destroy_process_group()
    return 0


def _job(folder: Path, parent: int) -> Job:
    """Return the first process' line to whoever started all; the others have nobody to talk to."""
    if os.environ["RANK"] != "0":
        return Job()
    events = (folder / EVENTS).open("ab", buffering=0)

    def tell(event: Event) -> None:
        events.write(pickle.dumps(event))

    return Job(tell, lambda: not _lives(parent))


def _lives(process: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _leave(error: Exception, folder: Path) -> None:
    """Leave an error for whoever started this; the first one that fails is the one that counts."""
    temporary = folder / f"{ERROR}.{os.getpid()}"
    temporary.write_bytes(pickle.dumps(error))
    try:
        os.link(temporary, folder / ERROR)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def run(arguments: list[str]) -> Any:
    """Read the command line."""
    if len(arguments) != 1 or "RANK" not in os.environ:
        return "Expected one folder, and a launcher such as torchrun: torchrun -m da_kd.training.rank FOLDER"
    return main(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
