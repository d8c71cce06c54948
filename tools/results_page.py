"""Writes docs/results.md from the tables that ``da-kd bench`` left, which are kept in docs/results/.

    python tools/results_page.py                        the page anew
    python tools/results_page.py --take runs ...        tables of these workspaces are taken over first

What is taken over of a table is its ``bench.json``, as it is, and its plot. Tables of development images come last;
within that, they stand in the order of the project's claims.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from da_kd.bench.files import read_tree_of
from da_kd.bench.grid import load_grid
from da_kd.bench.page import key_of, page
from da_kd.errors import DaKdError

COMMAND = "python tools/results_page.py"
GRIDS = Path(__file__).parents[1] / "recipes" / "bench"
_ORDER = (
    *("labels_optional", "box_habits", "ten_images", "small_student"),
    *("unlabelled", "two_teachers", "same_classes", "few_labels", "few_labels_long", "label_curve"),
    *("corruptions", "parts"),
)


def main() -> int:
    """Write the page; return the exit code."""
    asked = _arguments()
    try:
        for workspace in asked.take:
            _take(workspace, asked.docs)
    except DaKdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not (text := page_of(asked.docs)):
        print(f"No table in {asked.docs / 'results'}; 'da-kd bench GRID' makes one, --take takes it.", file=sys.stderr)
        return 2
    _write(asked.docs / "results.md", text)
    print(asked.docs / "results.md")
    return 0


def page_of(docs: Path) -> str:
    """Return the page of the tables that are kept below a folder of documents, "" where there is none."""
    trees = [json.loads(path.read_text(encoding="utf-8")) for path in (docs / "results").glob("*.json")]
    names = {key_of(tree): f"images/results-{key_of(tree)}.png" for tree in trees}
    pictures = {key: name for key, name in names.items() if (docs / name).is_file()}
    changed = {key_of(tree) for tree in trees if _changed(tree)}
    return page(sorted(trees, key=_place), pictures, COMMAND, changed) if trees else ""


def _changed(tree: dict[str, Any]) -> bool:
    """Return whether the grid of a table, or a recipe under it, has other choices by now than when it was made."""
    path = GRIDS / f"{tree['name']}.yaml"
    if not tree.get("frozen") or not path.is_file():
        return False
    os.environ.setdefault("DA_KD_DATA", "data")  # where data lie is no choice, but a recipe asks for it
    return load_grid(path).choices() != tree["frozen"]


def _take(workspace: Path, docs: Path) -> None:
    """Take over the finished tables of a workspace, in place of earlier ones of the same name."""
    for folder in [path.parent for path in sorted((workspace / "bench").glob("*/bench.json"))]:
        key = key_of(read_tree_of(folder))
        for source, kept in (("bench.json", f"results/{key}.json"), ("plot.png", f"images/results-{key}.png")):
            if (folder / source).is_file():
                (docs / kept).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / source, docs / kept)


def _place(tree: dict[str, Any]) -> tuple[bool, int, str]:
    """Return what tables are ordered by."""
    known = _ORDER.index(tree["name"]) if tree["name"] in _ORDER else len(_ORDER)
    return tree["scored_on"] == "development", known, tree["name"]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--take", type=Path, nargs="+", default=[], metavar="WORKSPACE", help="take over its tables")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where page, tables and pictures lie")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
