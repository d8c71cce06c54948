"""Ctrl-C, SIGTERM and a terminal that is gone: the first asks the work to stop at the next safe place.

The second ends it at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from da_kd.cli.terminal import interject


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield the question whether a person wants the work to stop; signals answer it while the block runs."""
    asked = False
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup has it ignored
        numbers.append(signal.SIGHUP)
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if number in (signal.SIGINT, signal.SIGTERM):
            interject("Stopping... (once more ends it at once)")
        else:
            _let_go(terminals)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _let_go(terminals: list[int]) -> None:
    """Write no more to terminals that are gone, which would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)
