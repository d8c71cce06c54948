"""Writes docs/results.md, and its pictures, from the tables that ``da-kd bench`` left in workspaces.

    python tools/results_page.py [--workspace runs ...] [--page docs/results.md] [TABLE ...]

A table is a folder with ``bench.json``; without any, all of the workspaces'. Those of development images come last;
within that, tables stand in the order of the project's claims.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from da_kd.bench.files import read_tree_of
from da_kd.bench.page import key_of, page
from da_kd.errors import DaKdError

_ORDER = (
    *("labels_optional", "small_student", "unlabelled", "two_teachers", "same_classes", "few_labels", "label_curve"),
    *("corruptions", "parts"),
)


def main() -> int:
    """Write the page; return the exit code."""
    asked = _arguments()
    folders = asked.tables or [
        path.parent for place in asked.workspace for path in (place / "bench").glob("*/bench.json")
    ]
    if not folders:
        print(f"No table in {', '.join(map(str, asked.workspace))}; 'da-kd bench GRID' makes one.", file=sys.stderr)
        return 2
    try:
        trees = {folder: read_tree_of(folder) for folder in folders}
    except DaKdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    ordered = sorted(trees.items(), key=lambda item: _place(item[1]))
    links = _pictures(ordered, asked.page.parent / "images")
    temporary = asked.page.with_name(f".{asked.page.name}.tmp")
    command = shlex.join(["python", "tools/results_page.py", *sys.argv[1:]])
    temporary.write_text(page([tree for _, tree in ordered], links, command), encoding="utf-8")
    os.replace(temporary, asked.page)
    print(asked.page)
    return 0


def _place(tree: dict[str, Any]) -> tuple[bool, int, str]:
    """Return what tables are ordered by."""
    known = _ORDER.index(tree["name"]) if tree["name"] in _ORDER else len(_ORDER)
    return tree["scored_on"] == "development", known, tree["name"]


def _pictures(ordered: Sequence[tuple[Path, dict[str, Any]]], place: Path) -> dict[str, str]:
    """Copy the plots beside the page; return where each is as seen from it."""
    place.mkdir(parents=True, exist_ok=True)
    links = {}
    for folder, tree in ordered:
        if (folder / "plot.png").is_file():
            name = f"results-{key_of(tree)}.png"
            shutil.copyfile(folder / "plot.png", place / name)
            links[key_of(tree)] = f"{place.name}/{name}"
    return links


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path, metavar="TABLE")
    parser.add_argument("--workspace", type=Path, nargs="+", default=[Path("runs")])
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
