"""The command line ``da-kd``: the only place that knows the terminal.

entry.py      all commands, and ``main``            failures.py   errors become sentences and exit codes
terminal.py   the two consoles                      progress.py   events become a live display or plain lines
stopping.py   Ctrl-C and SIGTERM                    words.py      times, sizes, ages, places
ladder.py     the table at the end of a run         predicting.py what *label* and *apply* share
run.py check.py deep.py plan.py init.py runs.py gc.py label.py evaluate.py export.py review.py
doctor.py probes.py browser.py audit.py bench.py
              one command or a small family of them each

Importing this package, and every command's ``--help``, loads no library that is slow to load.
"""

from __future__ import annotations

from da_kd.cli.entry import app, main

__all__ = ["app", "main"]
