"""``docs/results.md`` from the files that finished tables left behind; nothing on it is typed by hand.

Knows the trees of figures alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from da_kd.bench.figures import Tree
from da_kd.bench.table import better_than_defaults, markdown
from da_kd.words import count, duration

_HEAD = """# Results

Made by `{command}` from the files that `da-kd bench` left behind; nothing here is typed by hand. Every table
can be made again with the command above it; `frozen` is the hash of the choices that were made before the test images
were opened.
"""


def page(trees: Sequence[Tree], pictures: Mapping[str, str], command: str) -> str:
    """Return the page as Markdown.

    Args:
        trees: the tables, in order.
        pictures: by name of a table and what it was scored on (``<name>-<test or development>``), its plot as seen from
            the page.
        command: what made the page.
    """
    return "\n".join([_HEAD.format(command=command), *(_section(tree, pictures) for tree in trees)])


def key_of(tree: Tree) -> str:
    """Return what a table is called among others: its name and what it was scored on."""
    return f"{tree['name']}-{tree['scored_on']}"


def _section(tree: Tree, pictures: Mapping[str, str]) -> str:
    parts = [f"## {tree['title']}", tree["about"].strip(), _made(tree), markdown(tree).strip()]
    if key_of(tree) in pictures:
        parts.append(f"![{_in_words(tree)}]({pictures[key_of(tree)]})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _made(tree: Tree) -> str:
    """Return with what, for how long and where a table was made."""
    versions = ", ".join(f"{name} {tree['versions'][name]}" for name in ("torch", "ultralytics", "da_kd"))
    frozen = f" Frozen: {tree['frozen']}." if tree["frozen"] else ""
    took = f"The outputs took {duration(tree['seconds'])} together; {versions}.{frozen}"
    return f"    {tree['command']}\n\n{took} {_machines(tree['sittings'])}".rstrip()


def _machines(sittings: Sequence[Mapping[str, Any]]) -> str:
    """Return the machines of all sittings, those alike once, with the loads."""
    known: dict[str, list[Mapping[str, Any]]] = {}
    for one in sittings:
        gpus = f", {count(one['gpus'], 'GPU')}" if one["gpus"] else ", no GPU"
        name = f"{one['processor'] or 'a processor'} ({count(one['cores'], 'core')}, {one['memory_gb']} GB{gpus})"
        known.setdefault(name, []).append(one)
    told = []
    for name, mine in known.items():
        worked, load = duration(sum(one["worked"] for one in mine)), max(one["load"][0] for one in mine)
        told.append(f"Made on {name} in {worked}, {mine[0]['jobs']} side by side, load at the start {load}.")
    return " ".join(told)


def _in_words(tree: Tree) -> str:
    """Return what the plot shows, for whoever cannot see it."""
    rows = [row for row in tree["rows"] if row["interval"]["value"] is not None]
    told = ", ".join(f"{row['name']} {row['interval']['value']:.3f}" for row in rows)
    above = len(better_than_defaults(tree))
    return f"AP by row: {told}; {count(above, 'row')} above the defaults" if tree["defaults"] else f"AP by row: {told}"
