"""What went wrong, in a sentence on stderr and an exit code; a traceback goes into a file, never onto the terminal.

0 done, 1 a mistake in da_kd, 2 wrong input or something missing, 3 paused for a person, 130 stopped.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from da_kd.errors import Cancelled, DaKdError, Paused

STOPPED = 130
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_folder: list[Path] = []  # where the log of an unforeseen error goes; the last one counts


def log_into(folder: Path) -> None:
    """Say which run is worked on, so that the log of an unforeseen error lies there."""
    _folder.append(folder)


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with its errors told to a person and turned into exit codes."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        import typer

        _folder.clear()
        try:
            command(*args, **kwargs)
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if os.environ.get("DA_KD_DEBUG") == "1":
                raise
            raise typer.Exit(_tell(error)) from None

    return wrapped


def _tell(error: BaseException) -> int:
    """Tell a person what happened; return the exit code."""
    from da_kd.cli.terminal import complain, say

    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return 1
    if isinstance(error, KeyboardInterrupt):
        complain("Stopped at once. What was finished stays; the same command goes on from there.")
        return STOPPED
    if isinstance(error, DaKdError):
        tell = say if isinstance(error, Paused) else complain if isinstance(error, Cancelled) else _error
        tell(str(error))
        return error.exit_code
    text = _of_the_system(error)
    _error(text or _unforeseen(error))
    return 2 if text else 1


def _of_the_system(error: BaseException) -> str:
    """Return the sentence for what the system refuses, '' for any other error."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            "The disk is full. Free some space ('da-kd gc' lists what no run needs), then run the same command again."
        )
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return f"Expected to be allowed to use {error.filename}; the system refuses ({error.strerror}). See its rights."
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return (
            f"Expected a place to use at {error.filename}; the system refuses ({error.strerror}). Name another place."
        )
    return ""


def _error(text: str) -> None:
    """Print an error; its first word is red where there are colours."""
    from rich.text import Text

    from da_kd.cli.terminal import err

    err.print(Text("Error: ", style="bold red") + Text(text), soft_wrap=True)


def _unforeseen(error: BaseException) -> str:
    """Write the traceback into a file; return the sentence that names it."""
    first = next(iter(str(error).strip().splitlines()), "")
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    folders = [*reversed(_folder[-1:]), Path(tempfile.gettempdir())]
    for folder in folders:
        path = folder / ("error.log" if folder in _folder else f"da-kd-error-{os.getpid()}.log")
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n")
                file.write("".join(traceback.format_exception(error)) + "\n")
        except OSError:
            continue
        return f"Something went wrong inside da_kd: {what}. The log is at {path}; please report it."
    return f"Something went wrong inside da_kd: {what}. DA_KD_DEBUG=1 shows where; please report it."


def _forget_stdout() -> None:
    """Let nothing more be written to a pipe that nobody reads."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return
