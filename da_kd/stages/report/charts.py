"""The charts of the page as plotly figures (plain JSON objects); must not know HTML, files or colours of a theme.

Colours are names of CSS variables (``--student``): the page puts in those of the light or dark scheme. Texts are
escaped, since plotly reads a subset of HTML in them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from da_kd.detections import State
from da_kd.stages.report.facts import TEACHER, ReportFacts, in_order, name_of

Figure = dict[str, Any]

_FEW = 8  # epochs that each get a number
_BINS = 40
_MANY_CLASSES = 10  # from here on bars would be too thin
_TEACHER_SHADES = 4
_LOSSES = {"box_loss": ("box", "--line-1"), "cls_loss": ("class", "--line-2"), "dfl_loss": ("DFL", "--line-3")}
_STATES = {State.DROPPED: "dropped", State.UNCERTAIN: "uncertain", State.KEPT: "kept"}
_BAR = 0.36  # of the room of a row
_FLAG, _LINE = 0.25, 16  # room for a threshold's name: of the axis, and pixels above it
_TALL = 2.0  # bars that many times as high as what matters are cut


def ladder(facts: ReportFacts) -> Figure | None:
    """Return AP and AP50 of every scored row as bars with their intervals, None where nothing is scored."""
    rows = in_order(facts.models)
    if not rows:
        return None
    names = [chart_text(name_of(row)) for row in rows]
    colours = [row_colour(facts, row) for row in rows]
    data: list[Figure] = []
    for name, faded, shift in (("AP50", True, _BAR / 2), ("AP", False, -_BAR / 2)):
        values = [_finite(facts.figure(row, name)) for row in rows]
        places = [number + shift for number in range(len(rows))]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "y": places,
                "width": _BAR,
                "x": values,
                "customdata": names,
                "marker": {"color": colours, "opacity": 0.45 if faded else 1.0},
                "error_x": _whiskers([facts.interval(row, name) for row in rows], values),
                "hovertemplate": "%{customdata}: " + name + " %{x:.3f}<extra></extra>",
            }
        )
        data.append(_figures_behind(places, values, [facts.interval(row, name) for row in rows]))
    layout = chart_layout(90 + 58 * len(rows))
    layout["xaxis"] |= {"range": [0, 1.08], "dtick": 0.2, "title": axis_title("AP (strong) and AP50 (pale), 0 to 1")}
    layout["yaxis"] |= {"showgrid": False} | named_axis(names, downwards=True)
    return {"data": data, "layout": layout | {"showlegend": False}}


def per_class(facts: ReportFacts) -> Figure | None:
    """Return AP by class and row: grouped bars, or dots on a line per class where there are many."""
    rows = [row for row in in_order(facts.models) if facts.models[row].get("per_class")]
    classes = [name for name in facts.classes if any(name in facts.models[row]["per_class"] for row in rows)]
    if not classes:
        return None
    many = len(classes) > _MANY_CLASSES
    labels = [chart_text(name) for name in classes]
    figures, names = ("x", "y") if many else ("y", "x")
    data = []
    for row in rows:
        values = [_finite(facts.models[row]["per_class"].get(name)) for name in classes]
        trace: Figure = {"name": chart_text(name_of(row)), figures: values, names: list(range(len(classes)))}
        trace |= {"type": "scatter", "mode": "markers"} if many else {"type": "bar"}
        trace["marker"] = {"color": row_colour(facts, row)} | ({"size": 9} if many else {})
        data.append(trace | {"customdata": labels, "hovertemplate": f"%{{customdata}}: AP %{{{figures}:.3f}}"})
    layout = chart_layout(110 + 24 * len(classes) if many else 360)
    layout[f"{figures}axis"] |= {"range": [0, 1.02], "dtick": 0.2, "title": axis_title("AP, 0 to 1")}
    layout[f"{names}axis"] |= {"showgrid": many} | named_axis(labels, downwards=many)
    return {"data": data, "layout": layout | {"bargap": 0.28, "legend": LEGEND_ABOVE}}


def curve(epochs: Sequence[Mapping[str, float]]) -> Figure | None:
    """Return the losses of one training over its epochs, and, on the right axis, its AP where epochs were scored."""
    data = []
    for key, (name, colour) in _LOSSES.items():
        line = _line(epochs, key, name, colour)
        if line:
            data.append(line)
    if not data:
        return None
    layout = chart_layout(220) | {"showlegend": False}
    layout["xaxis"] |= {"title": axis_title("epoch"), "rangemode": "tozero", "showgrid": False}
    layout["xaxis"] |= {"dtick": 1} if len(epochs) <= _FEW else {}  # no half epochs
    layout["yaxis"] |= {"title": axis_title("loss"), "rangemode": "tozero", "nticks": 5}
    reached = _line(epochs, "val_AP", "validation AP", "--ink-soft")
    if reached:
        reached |= {"yaxis": "y2", "line": {"color": "--ink-soft", "width": 2, "dash": "dot"}}
        data.append(reached)
        layout["yaxis2"] = _axis() | {"overlaying": "y", "side": "right", "range": [0, 1], "showgrid": False}
    return {"data": data, "layout": layout}


def scores(facts: ReportFacts, label: int) -> Figure | None:
    """Return how the scores of one class's pseudo labels are spread, by state, with the thresholds as lines.

    ``label`` counts into the pseudo labels' vocabulary. The axis is cut where doubtful boxes would dwarf the rest.
    """
    table = facts.pseudo
    if table is None or not (table.label == label).any():
        return None
    name = table.vocabulary[label]
    edges = np.linspace(0, 1, _BINS + 1)
    middle = ((edges[:-1] + edges[1:]) / 2).round(4).tolist()
    heights, data = np.zeros(_BINS), []
    for state, word in _STATES.items():
        mine = table.score[(table.label == label) & (table.state == state)]
        high = np.histogram(mine.clip(0, 1), edges)[0]
        heights = heights + high
        bar = {"type": "bar", "name": word, "x": middle, "y": high.tolist(), "marker": {"color": f"--{word}"}}
        data.append(bar | {"width": 1 / _BINS, "hovertemplate": f"%{{y}} {word}, score %{{x:.2f}}<extra></extra>"})
    thresholds = {word: _of_class(side, name) for word, side in (("drop", facts.drop), ("keep", facts.keep))}
    layout = chart_layout(230) | {"barmode": "stack", "bargap": 0, "showlegend": False}
    layout["xaxis"] |= {"range": [0, 1], "dtick": 0.2, "title": axis_title("score"), "showgrid": False}
    top = _ceiling(heights, edges, thresholds["drop"])
    layout["yaxis"] |= {"title": axis_title("boxes"), "nticks": 5, "range": [0, top]}
    layout["margin"] |= {"t": 26}
    known = {word: at for word, at in thresholds.items() if at is not None}
    layout["shapes"] = [_upright(at) for at in known.values()]
    flags = [_flag(word, at, left=word == "drop") for word, at in known.items()]
    if len(flags) > len({flag["xanchor"] for flag in flags}) and known["keep"] - known["drop"] < _FLAG:
        flags[0]["yshift"] = _LINE  # both lean the same way, so one stands over the other
        layout["margin"]["t"] += _LINE
    layout["annotations"] = flags
    return {"data": data, "layout": layout}


def _whiskers(intervals: Sequence[tuple[float, float] | None], values: Sequence[float | None]) -> dict[str, Any]:
    """Return the intervals as plotly's error bars."""
    pairs = list(zip(intervals, values, strict=True))
    below = [own - both[0] if both and own is not None else 0.0 for both, own in pairs]
    above = [both[1] - own if both and own is not None else 0.0 for both, own in pairs]
    look = {"type": "data", "symmetric": False, "color": "--ink", "thickness": 1.2, "width": 3}
    return look | {"arrayminus": below, "array": above, "visible": any(intervals)}


def _figures_behind(
    places: Sequence[float], values: Sequence[float | None], intervals: Sequence[tuple[float, float] | None]
) -> Figure:
    """Return the figures as texts behind the bars and their intervals."""
    ends = [both[1] if both else own for both, own in zip(intervals, values, strict=True)]
    texts = ["" if own is None else f"\N{EN SPACE}{own:.3f}" for own in values]
    look = {"type": "scatter", "mode": "text", "textposition": "middle right", "hoverinfo": "skip", "cliponaxis": False}
    return look | {"x": ends, "y": list(places), "text": texts}


def _ceiling(heights: Any, edges: Any, drop: float | None) -> float:
    """Return the top of the axis: that of all bars, or of those from the drop threshold on where it is far lower."""
    top = float(heights.max())
    matters = heights[edges[1:] > (drop or 0.0)]
    high = float(matters.max()) if matters.size else 0.0
    return 1.1 * (high if high > 0 and top > _TALL * high else top)


def _of_class(thresholds: Mapping[str, float], name: str) -> float | None:
    return thresholds.get(name, thresholds.get("default"))


def _upright(at: float) -> dict[str, Any]:
    line = {"color": "--ink", "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _flag(word: str, at: float, left: bool) -> dict[str, Any]:
    """Return the text over a threshold's line; it leans away from the other one, but not over the edge."""
    text = f"{word} {at:.2f}"
    side = "right" if (left and at > 0.2) or at > 0.85 else "left"  # noqa: PLR2004
    place = {"x": at, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": side}
    return {"text": text, "showarrow": False, "font": {"color": "--ink", "size": 12}, **place}


def _line(epochs: Sequence[Mapping[str, float]], key: str, name: str, colour: str) -> Figure | None:
    points = [(step.get("epoch", i), _finite(step.get(key))) for i, step in enumerate(epochs, 1)]
    points = [(epoch, value) for epoch, value in points if value is not None]
    if not points:
        return None
    line = {"type": "scatter", "name": name, "x": [p[0] for p in points], "y": [p[1] for p in points]}
    look = {"mode": "lines" if len(points) > 1 else "markers", "line": {"color": colour, "width": 2}}
    return line | look | {"marker": {"color": colour}, "hovertemplate": "epoch %{x}: %{y:.3f}"}


def row_colour(facts: ReportFacts, row: str) -> str:
    """Return the variable of a row's colour."""
    if row.startswith(TEACHER):
        teachers = [name for name in in_order(facts.models) if name.startswith(TEACHER)]
        return f"--teacher-{teachers.index(row) % _TEACHER_SHADES + 1 if row in teachers else 1}"
    return f"--{row.replace('_', '-')}" if row in ("source_only", "student", "finetuned", "oracle") else "--ink-soft"


def chart_text(text: str, longest: int = 28) -> str:
    """Return outside text for a chart: shortened, escaped for plotly's own HTML, without its LaTeX."""
    text = " ".join(text.split())
    short = text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return html.escape(short, quote=False).replace("$", "&#36;")


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def named_axis(labels: Sequence[str], downwards: bool) -> dict[str, Any]:
    """Return an axis of the places 0, 1, ... with names; plotly's own would merge those that read the same."""
    ends = (-0.5, len(labels) - 0.5)
    ticks = {"tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": list(labels)}
    return ticks | {"range": list(reversed(ends)) if downwards else list(ends)}


def _axis() -> dict[str, Any]:
    look = {"zeroline": False, "gridcolor": "--rule", "color": "--ink-soft", "ticklabelstandoff": 6}
    return look | {"automargin": True, "fixedrange": True}


def axis_title(text: str) -> dict[str, Any]:
    """Return what stands along an axis."""
    return {"text": text, "font": {"size": 13}, "standoff": 10}


def chart_layout(height: int) -> dict[str, Any]:
    """Return the look that all charts share; ``height`` is in pixels."""
    return {
        "height": height,
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "--ink-soft"},
        "hoverlabel": {"bgcolor": "--raised", "bordercolor": "--rule", "font": {"color": "--ink"}},
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "dragmode": False,
        "xaxis": _axis(),
        "yaxis": _axis(),
    }


LEGEND_ABOVE = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
