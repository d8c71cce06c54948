"""``da-kd doctor``: whether this machine has what da_kd needs, and what to do where it has not."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from typing import Annotated

import typer

from da_kd.cli.words import WORKSPACE

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Check the installation.

    Libraries that load, a GPU, the review database, its port, disk. Exit code 2 where something has failed.
    """
    from da_kd.cli.probes import all_checks

    checks = all_checks(WORKSPACE)
    failed = any(check.status == "fail" for check in checks)
    if json:
        typer.echo(jsonlib.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    else:
        from rich.text import Text

        from da_kd.cli.terminal import new_table, say, show

        table = new_table("", "what", "found", "what to do")
        for check in checks:
            table.add_row(Text(check.status, _STYLES[check.status]), check.name, check.found, check.remedy)
        show(table)
        say("Something is missing; see 'what to do'." if failed else "da_kd can work here.")
    if failed:
        raise typer.Exit(2)
