"""The table as a picture: curves over ``x`` where rows have one, else a mark a row; bars are 95 % intervals.

A measurement that is no grid's is drawn as panels of lines.

The one room for matplotlib. Knows the tree of figures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from da_kd.bench.claims import Tree
from da_kd.bench.table import name_and_marks

_INK, _SOFT = "#2b3138", "#8d969f"
_LINES = ("#e06f10", "#3d7fc4", "#27a87e", "#c0478c", "#6b7480", "#e3a72f")
_FORMATS = ("png", "svg")
_WIDTH, _ROW, _HEIGHT, _PANEL = 8.0, 0.34, 4.6, 2.8  # inches
_DOTS = 130  # per inch
_APART = 0.045  # of the axis, at least, from one name beside it to the next
_WIDE = 8  # times the smallest x that the largest must be for a logarithmic axis


def draw(tree: Tree, stem: Path) -> list[Path]:
    """Write the plot as ``<stem>.png`` and ``<stem>.svg``; return the files."""
    curves = any(row["line"] for row in tree["rows"])
    height = _HEIGHT if curves else 1.4 + _ROW * len(tree["rows"])
    with _figure(tree, 1, height) as (figure, axes):
        (_curves if curves else _marks)(axes[0], tree)
        axes[0].set_title(f"{tree['title']} ({tree['scored_on']} images)", loc="left", fontsize=10)
        return _saved(figure, stem)


def draw_panels(tree: Tree, stem: Path) -> list[Path]:
    """Write ``tree["panels"]`` likewise, each a ``title``, ``x`` and ``lines`` by name; ``x``, ``y`` name the axes."""
    panels = tree["panels"]
    with _figure(tree, len(panels), _PANEL) as (figure, axes):
        for place, panel in zip(axes, panels, strict=True):
            for number, (name, values) in enumerate(panel["lines"].items()):
                place.plot(panel["x"], values, "o-", color=_LINES[number % len(_LINES)], markersize=4, label=name)
            place.set_title(panel["title"], loc="left", fontsize=10)
            place.set_xticks(panel["x"])
            place.set_ylim(bottom=0)
            place.grid(color=_SOFT, alpha=0.25)
        figure.supxlabel(tree["x"], fontsize=9)
        axes[0].set_ylabel(tree["y"])
        axes[0].legend(frameon=False, fontsize=8)
        return _saved(figure, stem)


@contextmanager
def _figure(tree: Tree, panels: int, height: float) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Yield a figure and its panels, side by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # A fixed salt, so that the same figures give the same file.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": tree["name"], "axes.edgecolor": _SOFT, "text.color": _INK}):
        figure, axes = plt.subplots(
            1, panels, figsize=(_WIDTH, height), layout="constrained", sharey=True, squeeze=False
        )
        for place in axes[0]:
            for side in ("top", "right"):
                place.spines[side].set_visible(False)
        yield figure, axes[0]
        plt.close(figure)


def _saved(figure: Any, stem: Path) -> list[Path]:
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in _FORMATS]
    for path in files:
        figure.savefig(path, dpi=_DOTS, metadata={"Date": None} if path.suffix == ".svg" else None)
    return files


def _marks(axes: Any, tree: Tree) -> None:
    """Draw a row of the table in a row of the plot: its interval, its mean, its seeds."""
    rows = [row for row in tree["rows"] if row["interval"]["value"] is not None]
    for place, row in enumerate(rows):
        colour = _LINES[0] if row["name"] == tree["defaults"] else _LINES[1]
        _bar(axes, row["interval"], place, colour)
        axes.plot(row["AP"], [place] * len(row["AP"]), "|", color=_INK, markersize=7)
        axes.plot([row["interval"]["value"]], [place], "o", color=colour, markersize=6)
        axes.text(1.01, place, f"{row['interval']['value']:.3f}", va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [name_and_marks(row, tree) for row in rows])
    axes.invert_yaxis()
    own = ", da_kd's defaults in orange" if tree["defaults"] else ""
    axes.set_xlabel(f"AP: mean (dot, figure), seeds (ticks), 95 % interval over images (bar){own}")
    axes.grid(axis="x", color=_SOFT, alpha=0.25)


def _bar(axes: Any, one: Tree, place: float, colour: str) -> None:
    if one["low"] is not None:
        axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=3, alpha=0.4)


def _curves(axes: Any, tree: Tree) -> None:
    """Draw the lines over x; rows without an x are level."""
    level = [row for row in tree["rows"] if row["line"] is None and row["interval"]["value"] is not None]
    for row in level:
        axes.axhline(row["interval"]["value"], color=_SOFT, linestyle="--", linewidth=1)
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
    places = sorted({row["x"] for row in tree["rows"] if row["x"] is not None})
    if places[0] > 0 and places[-1] >= _WIDE * places[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xlabel(tree["x"])
    axes.set_ylabel("AP: mean, seeds (ticks), 95 % interval over images")
    axes.legend(frameon=False, loc="best")
    axes.grid(color=_SOFT, alpha=0.25)
    _name(axes, [(row["interval"]["value"], row["name"]) for row in level])


def _name(axes: Any, level: Sequence[tuple[float, str]]) -> None:
    """Write the names of level lines beside the axis, led to their lines where they would stand on each other."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)  # the names follow the axis as it is by now
    level = sorted(level)
    for (value, name), place in zip(level, apart([value for value, _ in level], _APART * (high - low)), strict=True):
        axes.annotate(
            name,
            xy=(1, value),
            xytext=(1.02, place),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _SOFT,
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Return rising values moved as little as may be, so that each is at least ``gap`` above the one before it."""
    groups: list[list[float]] = []  # of values less their rank's gaps; a group shares one place
    for rank, value in enumerate(values):
        groups.append([value - rank * gap])
        while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = [fmean(group) for group in groups for _ in group]
    return [place + rank * gap for rank, place in enumerate(places)]
