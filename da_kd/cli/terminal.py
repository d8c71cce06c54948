"""The two consoles that all output goes through. Knows no command and no event.

Text is never read as markup, so that class names and paths in brackets come out as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 200  # columns for tables that nobody's terminal limits

out = Console(markup=False, highlight=False, emoji=False)
err = Console(markup=False, highlight=False, emoji=False, stderr=True)


def say(text: str = "", style: str = "") -> None:
    """Print a line on stdout; a long one is left to the terminal to wrap, so that a path in it can be copied."""
    out.print(text, style=style or None, soft_wrap=True)


def complain(text: str, style: str = "") -> None:
    """Print a line on stderr."""
    err.print(text, style=style or None, soft_wrap=True)


def interject(text: str) -> None:
    """Print a line in the middle of the work: above a live display where there may be one, else on stderr."""
    (out if out.is_terminal else err).print(text)


def show(table: Table) -> None:
    """Print a table on stdout; its width is limited by a terminal alone."""
    console = (
        out if out.is_terminal else Console(file=out.file, width=_WIDE, markup=False, highlight=False, emoji=False)
    )
    console.print(table)


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in ``right`` are flush right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    return table
