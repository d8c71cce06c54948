"""Where models run: turns a recipe's ``device`` into one that exists."""

from __future__ import annotations

import re

from da_kd.errors import InputError, SetupError

_GPUS = re.compile(r"cuda(:\d{1,9}(,\d{1,9})*)?")


def resolve_device(wanted: str) -> str:
    """Return ``cpu``, ``cuda:N`` or ``mps``: of several GPUs (``cuda:0,1``) the first; see :func:`resolve_devices`."""
    return resolve_devices(wanted)[0]


def resolve_devices(wanted: str) -> tuple[str, ...]:
    """Return the devices asked for, one unless several GPUs are; ``auto`` is the first GPU, without one the CPU.

    Raises:
        InputError: there is no device of such a name.
        SetupError: a device asked for is not there, or is named twice.
    """
    if wanted == "cpu":
        return ("cpu",)
    if wanted not in ("auto", "mps") and not _GPUS.fullmatch(wanted):
        raise InputError(
            f"Expected a device: auto, cpu, mps, cuda, or cuda:0 (cuda:0,1 for several); found '{wanted:.60}'; "
            "correct it."
        )
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return ("cuda:0" if gpus else "cpu",)
    if wanted == "mps":
        if torch.backends.mps.is_available():
            return ("mps",)
        raise SetupError("Expected a device of this machine; found 'mps', which it does not have; use 'auto' or 'cpu'.")
    found = tuple(int(index) for index in (wanted.partition(":")[2] or "0").split(","))
    if len(set(found)) < len(found):
        raise SetupError(f"Expected different GPUs; found one twice in '{wanted}'; name each once.")
    if max(found) >= gpus:
        raise SetupError(
            f"Expected a device of this machine; found '{wanted}', and {gpus} GPUs in it; use 'auto' or 'cpu'."
        )
    return tuple(f"cuda:{index}" for index in found)
