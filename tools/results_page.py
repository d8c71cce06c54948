"""Writes docs/results.md, and its pictures, from the tables that ``da-kd bench`` left in a workspace.

    python tools/results_page.py [--workspace runs] [--page docs/results.md] [TABLE ...]

A table is a folder with ``bench.json``; without any, all of the workspace's, those scored on test images first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from da_kd.bench.files import read_tree_of
from da_kd.bench.page import key_of, page
from da_kd.errors import DaKdError

_COMMAND = "python tools/results_page.py"


def main() -> int:
    """Write the page; return the exit code."""
    asked = _arguments()
    folders = asked.tables or sorted(path.parent for path in (asked.workspace / "bench").glob("*/bench.json"))
    if not folders:
        print(f"No table in {asked.workspace / 'bench'}; 'da-kd bench GRID' makes one.", file=sys.stderr)
        return 2
    try:
        trees = {folder: read_tree_of(folder) for folder in folders}
    except DaKdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    pictures = asked.page.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    ordered = sorted(trees.items(), key=lambda item: item[1]["scored_on"] != "test")
    links = {}
    for folder, tree in ordered:
        name = f"results-{key_of(tree)}.png"
        shutil.copyfile(folder / "plot.png", pictures / name)
        links[key_of(tree)] = f"pictures/{name}"
    temporary = asked.page.with_name(f".{asked.page.name}.tmp")
    temporary.write_text(page([tree for _, tree in ordered], links, _COMMAND), encoding="utf-8")
    os.replace(temporary, asked.page)
    print(asked.page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path, metavar="TABLE")
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
