"""Which of ultralytics' loggers watch a training: those that the environment names in ``DA_KD_LOG``, else none.

The library would switch on whatever is installed (MLflow, Comet, ClearML, ...), and some of them call a server. What
watches a training decides nothing of it, so it is no part of a recipe.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from da_kd.errors import InputError, SetupError
from da_kd.offline import settle_ultralytics

VARIABLE = "DA_KD_LOG"
_PACKAGES = {  # what the library calls a logger: the module it needs
    "clearml": "clearml",
    "comet": "comet_ml",
    "dvc": "dvclive",
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
}


def wanted_loggers() -> tuple[str, ...]:
    """Return the loggers that the environment asks for.

    Raises:
        InputError: the library has no such logger.
        SetupError: its package is not installed.
    """
    names = tuple(name.strip() for name in os.environ.get(VARIABLE, "").lower().split(",") if name.strip())
    for name in names:
        if name not in _PACKAGES:
            raise InputError(
                f"{VARIABLE}: expected names of {', '.join(_PACKAGES)}, with commas between; found '{name}'."
            )
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise SetupError(
                f"{VARIABLE} asks for '{name}', whose package '{_PACKAGES[name]}' is not installed; install it, or take"
                f" '{name}' out."
            )
    return names


def switch_loggers() -> None:
    """Switch the library's loggers on and off for this process; its settings file stays as it is.

    Raises:
        InputError, SetupError: see :func:`wanted_loggers`.
    """
    names = wanted_loggers()
    settle_ultralytics()
    from ultralytics.utils import SETTINGS

    # The base class' update, since the library's own would write the file.
    dict.update(SETTINGS, {name: name in names for name in (*_PACKAGES, "raytune")})


def keep_logs(scratch: Path, folder: Path) -> None:
    """Move what TensorBoard reads out of the library's folder, which does not stay, into ``tensorboard``."""
    for path in scratch.glob("events.out.tfevents.*"):
        (folder / "tensorboard").mkdir(exist_ok=True)
        shutil.move(path, folder / "tensorboard" / path.name)
