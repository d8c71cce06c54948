"""Where models run: turns a recipe's ``device`` into one that exists."""

from __future__ import annotations

from da_kd.errors import SetupError


def resolve_device(wanted: str) -> str:
    """Return ``cpu``, ``cuda:N`` or ``mps``; ``auto`` is the first GPU where there is one, else the CPU.

    Raises:
        SetupError: the device asked for is not there.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda:0" if gpus else "cpu"
    if wanted == "mps":
        if torch.backends.mps.is_available():
            return "mps"
        raise SetupError("Expected a device of this machine; found 'mps', which it does not have; use 'auto' or 'cpu'.")
    index = int(wanted.partition(":")[2] or 0)
    if index >= gpus:
        raise SetupError(
            f"Expected a device of this machine; found '{wanted}', and {gpus} GPUs in it; use 'auto' or 'cpu'."
        )
    return f"cuda:{index}"
