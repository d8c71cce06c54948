"""Keeps foreign libraries off the network, quiet, and out of the user's home. Called before they are imported."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
from pathlib import Path

_READ_ON_IMPORT = {"ULTRALYTICS_SAFE_LOAD": "SAFE_LOAD", "YOLO_AUTOINSTALL": "AUTOINSTALL"}
_YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads a switch


def settle_ultralytics() -> None:
    """Set what ultralytics reads from the environment, then silence its log; a value the user set stays.

    Checkpoints are read with the library's own allow-list of classes (``ULTRALYTICS_SAFE_LOAD``), since a pickle can
    run code when it is loaded. That, and staying off the network, holds as well where the library was imported before,
    by whoever calls us.
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
    from ultralytics.utils import LOGGER, env_bool

    LOGGER.setLevel(logging.ERROR)
    read = {constant: env_bool(variable) for variable, constant in _READ_ON_IMPORT.items()}
    if env_bool("YOLO_OFFLINE"):
        read["ONLINE"] = False
        if telemetry := sys.modules.get("ultralytics.utils.events"):
            telemetry.events.enabled = False
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "ultralytics"]:
        for constant in read.keys() & vars(module).keys():  # modules take it over from one another by value
            setattr(module, constant, read[constant])


def settle_transformers() -> None:
    """Keep transformers off the network, what a model's settings name elsewhere included; a value the user set stays.

    That holds as well where the library that would ask was imported before, by whoever calls us.
    """
    offline = os.environ.setdefault("HF_HUB_OFFLINE", "1").upper() in _YES
    if offline and (constants := sys.modules.get("huggingface_hub.constants")):
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def settle_ray() -> None:
    """Set what ray reads from the environment; a value the user set stays.

    It reports nothing. A cluster that is started here listens on the loopback alone, which ray does on other systems
    only (its node takes the address of the network card even where it is told 127.0.0.1); its token, without which
    nobody may use it, is not written into the user's home; and its processes are as urgent as this one.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")  # what goes wrong is told in our words,
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # and not amid the progress of a run
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    if "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_worker_niceness", "0")
