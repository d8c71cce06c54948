"""Keeps foreign libraries off the network, quiet, and out of the user's home. Called before they are imported."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path


def settle_ultralytics() -> None:
    """Set what ultralytics reads from the environment, then silence its log; a value the user set stays.

    Checkpoints are read with the library's own allow-list of classes (``ULTRALYTICS_SAFE_LOAD``), since a pickle can
    run code when it is loaded.
    """
    settings = Path(tempfile.gettempdir()) / f"da_kd-ultralytics-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    defaults = {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(settings),
        "ULTRALYTICS_SAFE_LOAD": "true",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
    from ultralytics.utils import LOGGER

    LOGGER.setLevel(logging.ERROR)
