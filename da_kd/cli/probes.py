"""What ``da-kd doctor`` finds out: one function a thing, each returning how it is and what to do about it.

Libraries that may be broken are tried in a process of their own, so that they cannot take this one down.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from da_kd.errors import DaKdError

_PATIENCE = 180  # seconds for one library to load
_OLDEST = (3, 11)
_FEW, _TOO_FEW = 5e9, 5e8  # bytes of free disk
_APP_PORT = 5151

_TORCH = """
import json, torch
gpu = torch.cuda.is_available()
name = torch.cuda.get_device_name(0) if gpu else "no GPU"
print(json.dumps([torch.__version__, name, torch.get_num_threads()]))
"""
_TORCHVISION = """
import json, torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.ones(1), 0.5)
print(json.dumps([torchvision.__version__]))
"""
_CV2 = """
import json, cv2, numpy
cv2.resize(numpy.zeros((4, 4, 3), numpy.uint8), (2, 2))
print(json.dumps([cv2.__version__]))
"""
_ULTRALYTICS = """
import json
from da_kd.offline import settle_ultralytics
settle_ultralytics()
import ultralytics
from ultralytics import YOLO
print(json.dumps([ultralytics.__version__]))
"""
_PYCOCOTOOLS = """
import json
from importlib.metadata import version
from pycocotools.cocoeval import COCOeval
print(json.dumps([version("pycocotools")]))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        status: whether it is as it should be; ``warn`` is something that can be done without.
        found: what was found.
        remedy: what to do, '' where nothing is to be done.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def all_checks(workspace: Path) -> list[Check]:
    """Return every check, in the order they are shown."""
    from concurrent.futures import ThreadPoolExecutor

    probes = [
        lambda: _library("torchvision", _TORCHVISION, "Install the torchvision release that belongs to this torch."),
        lambda: _library("ultralytics", _ULTRALYTICS, "pip install 'ultralytics>=8.4.100,<8.5'"),
        lambda: _library("cv2", _CV2, "pip install --force-reinstall --no-deps opencv-python-headless"),
        lambda: _library("pycocotools", _PYCOCOTOOLS, "pip install pycocotools"),
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        torch = pool.submit(_torch)
        libraries = [pool.submit(probe) for probe in probes]
        light = [_fiftyone(), _mongod(), _port(), _gradio(), _disk(workspace)]
        return [_python(), _da_kd(), torch.result(), *(item.result() for item in libraries), *light]


def _python() -> Check:
    found = platform.python_version()
    if sys.version_info[:2] < _OLDEST:
        return Check("Python", "fail", found, "Use Python 3.11 or newer.")
    return Check("Python", "ok", found)


def _da_kd() -> Check:
    from da_kd import __version__

    try:
        points = version("da-kd")
    except PackageNotFoundError:
        return Check(
            "da_kd", "fail", f"{__version__}, not installed", "pip install -e . (adapters are found through it)"
        )
    return Check("da_kd", "ok", f"{points}, in {Path(__file__).parents[1]}")


def _torch() -> Check:
    told, trouble = _ask(_TORCH)
    if told is None:
        return Check("torch", "fail", trouble, "pip install 'torch>=2.6,!=2.13.0'")
    number, gpu, threads = told
    found = f"{number}, {gpu}" + (f", {threads} CPU threads" if gpu == "no GPU" else "")
    return Check("torch", "ok", found)


def _library(name: str, code: str, remedy: str) -> Check:
    told, trouble = _ask(code)
    return Check(name, "fail", trouble, remedy) if told is None else Check(name, "ok", str(told[0]))


def _ask(code: str) -> tuple[list[object] | None, str]:
    """Run code in another process; return the list it prints, or None and why it printed none."""
    environment = {**os.environ, "YOLO_OFFLINE": "true", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"did not load ({type(error).__name__})"
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            return list(json.loads(lines[-1])), ""
        except ValueError:
            return None, lines[-1][:200]
    said = done.stderr.strip().splitlines()
    return None, (said[-1] if said else f"ended with code {done.returncode}")[:200]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _fiftyone() -> Check:
    found = _installed("fiftyone")
    if found is None:
        return Check(
            "fiftyone", "warn", "not installed", "pip install 'da-kd[review]' (needed for review.mode auto, human)"
        )
    return Check("fiftyone", "ok", found)


def _mongod() -> Check:
    from da_kd.stages.review import program

    if os.environ.get("FIFTYONE_DATABASE_URI"):
        return Check("mongod", "ok", "a server of yours (FIFTYONE_DATABASE_URI)")
    path = program.find_mongod()
    if path is None:
        return Check("mongod", "warn", "not found (needed for review.mode auto, human)", program.REMEDY)
    try:
        number = program.mongod_version(path)
    except DaKdError as error:
        return Check("mongod", "warn", str(error), program.REMEDY)
    found = f"{'.'.join(map(str, number))}, {path}"
    if number[:2] < program.MINIMUM:
        return Check("mongod", "warn", found, program.REMEDY)
    return Check("mongod", "ok", found)


def _port() -> Check:
    from da_kd.stages.review import ports

    if ports.port_is_free(_APP_PORT):
        return Check("review port", "ok", f"{_APP_PORT} is free")
    return Check("review port", "warn", f"{_APP_PORT} is taken", "da-kd review RUN --port with another port")


def _gradio() -> Check:
    found = _installed("gradio")
    if found is None:
        return Check("gradio", "warn", "not installed", "pip install 'da-kd[app]' (needed for the browser app)")
    return Check("gradio", "ok", found)


def _disk(workspace: Path) -> Check:
    place = workspace.resolve()
    while not place.exists():
        place = place.parent
    from da_kd.cli.words import size

    free = shutil.disk_usage(place).free
    found = f"{size(free)} free in {place}"
    remedy = "Free some space; 'da-kd gc' lists what no run needs."
    if free < _TOO_FEW:
        return Check("disk", "fail", found, remedy)
    if not os.access(place, os.W_OK):
        return Check("disk", "fail", f"{place} cannot be written", "Check its rights, or work in another folder.")
    return Check("disk", "warn", found, remedy) if free < _FEW else Check("disk", "ok", found)
