"""Ctrl-C and SIGTERM: the first asks the work to stop at the next safe place, the second ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from da_kd.cli.terminal import interject


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield the question whether a person wants the work to stop; signals answer it while the block runs."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        interject("Stopping... (once more ends it at once)")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
