"""A process that makes one cell: a line of JSON on standard input says which; it stops when the input ends.

So whatever becomes of who started it, be it killed, no run goes on without anybody to look after it. Started by
:mod:`da_kd.bench.running`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from da_kd import pipeline
from da_kd.errors import DaKdError
from da_kd.events import Job
from da_kd.recipe import recipe_from_text


def main() -> int:
    """Make the cell; return the exit code of its errors."""
    asked = json.loads(sys.stdin.readline())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches who started it as well, who then closes the input
    threading.Thread(target=_wait_for_the_end, args=(stop,), daemon=True).start()
    job = Job(cancelled=stop.is_set)
    folder = Path(asked["folder"])
    try:
        recipe = recipe_from_text(asked["recipe"], folder=folder)
        pipeline.run(recipe, folder, until="evaluate", rows=[asked["row"]], seat=asked["seat"], job=job)
    except DaKdError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _wait_for_the_end(stop: threading.Event) -> None:
    """Ask the run to stop once the input ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
