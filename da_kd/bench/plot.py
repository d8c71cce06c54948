"""The table as a picture: curves over ``x`` where rows have one, else a mark a row; bars are 95 % intervals.

The one room for matplotlib. Knows the tree of figures alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from da_kd.bench.figures import Tree

_INK, _SOFT = "#2b3138", "#8d969f"
_LINES = ("#e06f10", "#3d7fc4", "#27a87e", "#c0478c", "#6b7480", "#e3a72f")
_FORMATS = ("png", "svg")
_WIDTH, _ROW, _HEIGHT = 8.0, 0.34, 4.6  # inches
_DOTS = 130  # per inch


def draw(tree: Tree, stem: Path) -> list[Path]:
    """Write the plot as ``<stem>.png`` and ``<stem>.svg``; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves = any(row["line"] for row in tree["rows"])
    height = _HEIGHT if curves else 1.4 + _ROW * len(tree["rows"])
    # A fixed salt, so that the same figures give the same file.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": tree["name"], "axes.edgecolor": _SOFT, "text.color": _INK}):
        figure, axes = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
        (_curves if curves else _marks)(axes, tree)
        axes.set_title(f"{tree['title']} ({tree['scored_on']} images)", loc="left", fontsize=10)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        files = [stem.with_name(f"{stem.name}.{kind}") for kind in _FORMATS]
        for path in files:
            figure.savefig(path, dpi=_DOTS, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return files


def _marks(axes: Any, tree: Tree) -> None:
    """Draw a row of the table in a row of the plot: its interval, its mean, its seeds."""
    rows = [row for row in tree["rows"] if row["interval"]["value"] is not None]
    for place, row in enumerate(rows):
        colour = _LINES[0] if row["name"] == tree["defaults"] else _LINES[1]
        _bar(axes, row["interval"], place, colour)
        axes.plot(row["AP"], [place] * len(row["AP"]), "|", color=_INK, markersize=7)
        axes.plot([row["interval"]["value"]], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("AP: mean (dot), seeds (ticks), 95 % interval over images (bar)")
    axes.grid(axis="x", color=_SOFT, alpha=0.25)


def _bar(axes: Any, one: Tree, place: float, colour: str) -> None:
    if one["low"] is not None:
        axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=3, alpha=0.4)


def _curves(axes: Any, tree: Tree) -> None:
    """Draw the lines over x; rows without an x are level."""
    for row in tree["rows"]:
        if row["line"] is None and row["interval"]["value"] is not None:
            axes.axhline(row["interval"]["value"], color=_SOFT, linestyle="--", linewidth=1)
            place = (0.005, row["interval"]["value"])
            axes.annotate(row["name"], place, xycoords=("axes fraction", "data"), va="bottom")
    for number, line in enumerate(dict.fromkeys(row["line"] for row in tree["rows"] if row["line"])):
        colour = _LINES[number % len(_LINES)]
        mine = [row for row in tree["rows"] if row["line"] == line and row["interval"]["value"] is not None]
        mine.sort(key=lambda row: row["x"])
        xs = [row["x"] for row in mine]
        axes.plot(xs, [row["interval"]["value"] for row in mine], "o-", color=colour, label=line)
        if all(row["interval"]["low"] is not None for row in mine):
            ends = [[row["interval"][end] for row in mine] for end in ("low", "high")]
            axes.fill_between(xs, *ends, color=colour, alpha=0.12, linewidth=0)
        for row in mine:
            axes.plot([row["x"]] * len(row["AP"]), row["AP"], "_", color=colour, markersize=6)
    axes.set_xticks(sorted({row["x"] for row in tree["rows"] if row["x"] is not None}))
    axes.set_xlabel(tree["x"])
    axes.set_ylabel("AP: mean, seeds (ticks), 95 % interval over images")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(color=_SOFT, alpha=0.25)
