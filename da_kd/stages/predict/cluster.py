"""Ray: a connection to its cluster, quiet and gone again afterwards, and what a worker asks of it.

Must not know what is done with it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from da_kd.errors import SetupError
from da_kd.offline import settle_ray

_REACH = 10.0  # seconds that a cluster has to answer


@contextmanager
def cluster() -> Iterator[Any]:
    """Connect to the cluster of ``RAY_ADDRESS``, else start one on this machine; one that is there already stays."""
    settle_ray()
    try:
        import ray
    except ImportError as error:
        raise SetupError(
            f"'predict.engine: ray' needs the package ray, which does not load ({error}); install it with: "
            "pip install 'da-kd[ray]', or take 'engine: local'."
        ) from error
    mine = not ray.is_initialized()
    if mine:
        with _signals_kept(), _terminal_kept():
            _connect(ray, os.environ.get("RAY_ADDRESS", ""))
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Keep off the terminal what Ray's core writes there as it starts, past Python, amid the progress of a run."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _connect(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not address:
        ray.init("local", include_dashboard=False, **quiet)
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _REACH).close()
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise SetupError(
            f"Expected a Ray cluster at {address} (RAY_ADDRESS); it cannot be reached ({error}). Start it, or unset "
            "RAY_ADDRESS to work on this machine alone."
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give SIGTERM back to whom it belonged; Ray takes it, and a person could not stop the run any more."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def share(there: Mapping[str, float], device: str, wanted: int | None) -> tuple[dict[str, Any], str, int]:
    """Return what a worker asks the cluster for, the device it runs on, and how many workers there are.

    Raises:
        SetupError: the cluster has no GPU and one is asked for, or fewer places than workers.
    """
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    if device not in ("auto", "cpu") and not gpus:
        raise SetupError(f"Expected GPUs in the Ray cluster for 'device: {device}'; it has none; use 'auto' or 'cpu'.")
    on_gpu = gpus > 0 and device != "cpu"
    most, kind = (gpus, "GPUs") if on_gpu else (cpus, "CPUs")
    if most < (wanted or 1):
        raise SetupError(
            f"Expected a Ray cluster with room for {wanted or 1} workers; it has {most} {kind}; lower "
            "'predict.workers' or add machines."
        )
    wants = {"num_gpus": 1, "num_cpus": min(1, cpus)} if on_gpu else {"num_cpus": 1}
    return wants, "cuda:0" if on_gpu else "cpu", wanted or most
