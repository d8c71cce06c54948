"""A machine's part in the trainings of a run that another machine leads: ``python -m da_kd.training.follow WORKSPACE``.

Waits for a training to begin in the workspace, which both must see under the same path, starts torch's launcher for
it, and waits for the next. Torch's own variables say who is who (see :mod:`da_kd.training.ddp`). Must not know runs,
nor what is trained.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from da_kd.errors import SetupError
from da_kd.training.ddp import TASK, end, hosts, launch

_PAUSE = 0.5  # seconds between two looks
_NEEDED = ("PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")

Begun = tuple[Path, int]  # a training's folder, and when its processes were asked for


def follow(workspace: Path) -> NoReturn:
    """Take part in one training after another, until stopped.

    Raises:
        SetupError: torch's variables are missing, or say that this machine leads.
    """
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing or hosts() < 2 or os.environ["PET_NODE_RANK"] == "0":  # noqa: PLR2004
        raise SetupError(
            f"Expected {', '.join(_NEEDED)} of a machine that follows: 2 machines or more, and a rank above 0; found "
            f"{', '.join(f'{name}={os.environ.get(name)}' for name in _NEEDED)}."
        )
    seen: set[Begun] = set()
    while True:
        for begun in _begun(workspace) - seen:
            seen.add(begun)
            _take_part(begun, workspace)
        time.sleep(_PAUSE)


def _begun(workspace: Path) -> set[Begun]:
    """Return the trainings that ask for processes."""
    found = set()
    for path in (workspace / "store").glob(f"*/*.partial/**/{TASK}"):
        try:
            found.add((path.parent, path.stat().st_mtime_ns))
        except OSError:
            continue  # it has just ended
    return found


def _take_part(begun: Begun, workspace: Path) -> None:
    """Run this machine's processes, for as long as the training asks for them."""
    folder, _ = begun
    try:
        task, _, _ = pickle.loads((folder / TASK).read_bytes())  # noqa: S301 - the machine that leads wrote it
    except (OSError, EOFError, pickle.UnpicklingError):
        return  # it has just ended
    process = subprocess.Popen(launch(folder, len(task.setting.ranks) or 1), start_new_session=True)
    try:
        while process.poll() is None and begun in _begun(workspace):
            time.sleep(_PAUSE)
    finally:
        end(process)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as after Ctrl-C, so that no process is left behind."""
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int | str:
    """Read the command line; return the exit status, or a sentence."""
    if len(arguments) != 1:
        return "Expected the workspace: python -m da_kd.training.follow WORKSPACE"
    signal.signal(signal.SIGTERM, _stop)
    try:
        follow(Path(arguments[0]))
    except SetupError as error:
        return str(error)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
