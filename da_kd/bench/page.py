"""``docs/results.md`` from the files that finished tables left behind; nothing on it is typed by hand.

Knows the trees of figures alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from da_kd.bench.claims import Tree
from da_kd.bench.table import (
    above_on_other_terms,
    better_than_defaults,
    comparisons,
    markdown,
    measured_markdown,
    piped,
)
from da_kd.words import count, duration, figure

_HEAD = """# Results

    {command}

makes this page from the files that finished tables left behind (`docs/results/`); nothing here is typed by hand. Every
table can be made again with the command above it (what is there already is only read). *Frozen* is the hash of the
choices that the test images were scored with; where they had been opened before, the table's text says so. *da_kd's AP*
is that of the row marked (d), its method as the table asks about it. Rows above it are named: in bold where they are so
by more than the 95 % interval, and with what they have more where they do not compare.

{summary}
{claims}"""
_CLAIMS = """
## What holds, and what does not

Each grid says what it is to prove; whether it does is worked out from its figures. A claim *holds* where all
comparisons that it stands on do, beyond their 95 % intervals and in every seed, if nothing else is said; it holds *in
part* where some do. Intervals are over images; other trainings would differ, as the seeds do.

{lines}
"""
_CHANGED = "**Choices of this grid have been changed since**: the command makes another table now."
_ANCHOR = re.compile(r"[^\w\- ]")


def page(trees: Sequence[Tree], pictures: Mapping[str, str], command: str, changed: Collection[str] = ()) -> str:
    """Return the page as Markdown.

    Args:
        trees: the tables, in order.
        pictures: by name of a table and what it was scored on (``<name>-<test or development>``), its plot as seen from
            the page.
        command: what made the page.
        changed: the tables whose grids have other choices by now, named likewise.
    """
    head = _HEAD.format(command=command, summary=_summary(trees), claims=_claims(trees))
    return "\n".join([head, *(_section(tree, pictures, changed) for tree in trees)])


def _claims(trees: Sequence[Tree]) -> str:
    """Return a line for each claim of all tables; development images prove nothing about others, and say so."""
    lines = [
        [one["says"], f"**{one['verdict']}**", comparisons(one) or "-", _link(tree)]
        for tree in trees
        for one in tree.get("claims", [])
    ]
    table = [["claim", "verdict", "figures", "table"], ["---"] * 4, *lines]
    return _CLAIMS.format(lines=piped(table).strip()) if lines else ""


def key_of(tree: Tree) -> str:
    """Return what a table is called among others: its name and what it was scored on."""
    return f"{tree['name']}-{tree['scored_on']}"


def _summary(trees: Sequence[Tree]) -> str:
    """Return a line a table: what it shows, on how many images, and which rows beat da_kd's defaults."""
    lines = [["table", "scored on", "da_kd's AP", "rows above it, by how much"], ["---"] * 4]
    for tree in trees:
        own = next((row for row in _rows(tree) if row["name"] == tree["defaults"]), None)
        value = own["interval"]["value"] if own is not None else None
        lines.append([_link(tree), _scored(tree), "-" if value is None else figure(value), _better(tree)])
    return piped(lines).strip()


def _link(tree: Tree) -> str:
    return f"[{_title(tree)}](#{_ANCHOR.sub('', _title(tree).lower()).replace(' ', '-')})"


def _rows(tree: Tree) -> Sequence[Tree]:
    """Return the rows of a grid; a measurement that is no grid's has lines of its own kind."""
    return () if "lines" in tree else tree["rows"]


def _title(tree: Tree) -> str:
    """Return a section's heading; a table of development images says so, since there may be one of test images."""
    return f"{tree['title']}{' (development images)' if tree['scored_on'] == 'development' else ''}"


def _scored(tree: Tree) -> str:
    images = f"{tree['images']} " if "images" in tree else ""
    return f"{images}{tree['scored_on']} images" + (" a seed" if tree.get("images_by_seed") else "")


def _better(tree: Tree) -> str:
    """Return which rows are above the defaults; those that are beyond the interval in bold."""
    if not tree.get("defaults"):
        return "-"
    told = []
    for row in better_than_defaults(tree):
        beside = row["beside_defaults"]
        text = f"{row['name']} {beside['value']:+.3f}"
        told.append(f"**{text}**" if (beside["low"] or 0) > 0 else text)
    told += [f"{row['name']} {row['beside_defaults']['value']:+.3f} ({why})" for row, why in above_on_other_terms(tree)]
    return ", ".join(told) or "none"


def _section(tree: Tree, pictures: Mapping[str, str], changed: Collection[str]) -> str:
    table = measured_markdown(tree) if "lines" in tree else markdown(tree)
    since = _CHANGED if key_of(tree) in changed else ""
    parts = [f"## {_title(tree)}", tree["about"].strip(), _made(tree), since, table.strip()]
    if key_of(tree) in pictures:
        parts.append(f"![{_in_words(tree)}]({pictures[key_of(tree)]})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _made(tree: Tree) -> str:
    """Return with what, for how long and where a table was made."""
    names = {"da_kd": "da_kd", "python": "Python", "torch": "torch", "ultralytics": "ultralytics"}
    versions = ", ".join(f"{told} {tree['versions'][name]}" for name, told in names.items() if name in tree["versions"])
    frozen = f" Frozen: {tree['frozen']}." if tree.get("frozen") else ""
    took = f"The outputs took {duration(tree['seconds'])} together; {versions}.{frozen}"
    return f"    {tree['command']}\n\n{took} {_machines(tree['sittings'])}".rstrip()


def _machines(sittings: Sequence[Mapping[str, Any]]) -> str:
    """Return the machines of all sittings, those alike once, with the highest load."""
    known: dict[str, list[Mapping[str, Any]]] = {}
    for one in sittings:
        gpus = f", {count(one['gpus'], 'GPU')}" if one["gpus"] else ", no GPU"
        name = f"{one['processor'] or 'a processor'} ({count(one['cores'], 'core')}, {one['memory_gb']} GB{gpus})"
        known.setdefault(name, []).append(one)
    told = []
    for name, mine in known.items():
        jobs, load = sorted({one["jobs"] for one in mine}), max(one["load"][0] for one in mine)
        told.append(f"Made on {name}, {' or '.join(map(str, jobs))} side by side, load at the start up to {load}.")
    return " ".join(told)


def _in_words(tree: Tree) -> str:
    """Return what the plot shows, for whoever cannot see it."""
    if "panels" in tree:
        return f"{tree['y']} over {tree['x']}, a panel each for {', '.join(one['title'] for one in tree['panels'])}"
    rows = [row for row in tree["rows"] if row["interval"]["value"] is not None]
    told = ", ".join(f"{row['name']} {row['interval']['value']:.3f}" for row in rows)
    above = len(better_than_defaults(tree))
    return f"AP by row: {told}; {count(above, 'row')} above the defaults" if tree["defaults"] else f"AP by row: {told}"
