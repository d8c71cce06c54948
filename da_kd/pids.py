"""Which process a number stands for: when it was started tells it from a later one. Standard library only."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc")  # macOS has none
_STARTED = 19  # field of /proc/<pid>/stat, counted behind the process's name: start time in clock ticks


def started(pid: int) -> str:
    """Return when a process started, in whatever words the system has for it; "" for none, or a dead one."""
    if (_PROC / "self" / "stat").exists():
        try:
            text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[_STARTED]
        except (OSError, IndexError):
            return ""
    # An option each: what follows the '=' of one, commas too, is a headline where ps is not Linux's.
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    status, _, when = asked.stdout.strip().partition(" ")
    return "" if status.startswith("Z") else when.strip()
