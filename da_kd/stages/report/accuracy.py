"""How right the models are, beyond their AP: precision and recall, differences, errors and confusions.

Charts are plotly figures as in :mod:`~da_kd.stages.report.charts`, tables are texts for the template; must not know
HTML, nor compute a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from da_kd.stages.report import charts, words
from da_kd.stages.report.charts import Figure
from da_kd.stages.report.facts import ReportFacts, in_order, name_of

MOST_CLASSES = 8  # get a precision-recall chart of their own
MOST_CONFUSIONS = 10
_ERRORS = {
    "class": "wrong class",
    "localisation": "wrong place",
    "both": "both wrong",
    "duplicate": "duplicate",
    "background": "background",
    "missed": "missed",
}


def precision(facts: ReportFacts, name: str | None = None) -> Figure | None:
    """Return precision against recall at IoU 0.50 of every model, of one class or the mean of all; None without any."""
    lines = [(row, curve) for row in in_order(facts.precision) if (curve := _curve(facts.precision[row], name))]
    if not lines:
        return None
    layout = charts.chart_layout(280 if name else 400) | {"showlegend": name is None, "legend": charts.LEGEND_ABOVE}
    layout["xaxis"] |= {"range": [0, 1.01], "dtick": 0.2, "title": charts.axis_title("recall")}
    layout["yaxis"] |= {"range": [0, 1.02], "dtick": 0.2, "title": charts.axis_title("precision")}
    return {"data": [_line(facts, row, curve) for row, curve in lines], "layout": layout}


def classes_with_curves(facts: ReportFacts) -> list[str]:
    """Return the classes that get a chart of their own, the first of those that have a curve."""
    known = [name for name in facts.classes if any(name in curves for curves in facts.precision.values())]
    return known[:MOST_CLASSES] if len(known) > 1 else []  # of one class, the mean is its curve


def errors(facts: ReportFacts) -> Figure | None:
    """Return what each type of error costs every model in AP50, as bars; None where it is not known."""
    rows = _with_errors(facts)
    if not rows:
        return None
    places = list(range(len(_ERRORS)))
    data = [
        {
            "type": "bar",
            "name": charts.chart_text(name_of(row)),
            "x": places,
            "y": [facts.models[row]["errors"][kind]["AP50"] for kind in _ERRORS],
            "marker": {"color": charts.row_colour(facts, row)},
            "customdata": list(_ERRORS.values()),
            "hovertemplate": "%{customdata}: %{y:.3f} AP50",
        }
        for row in rows
    ]
    layout = charts.chart_layout(320) | {"bargap": 0.28, "legend": charts.LEGEND_ABOVE, "showlegend": True}
    layout["xaxis"] |= {"showgrid": False} | charts.named_axis(list(_ERRORS.values()), downwards=False)
    layout["yaxis"] |= {"rangemode": "tozero", "nticks": 6, "title": charts.axis_title("AP50 lost")}
    return {"data": data, "layout": layout}


def error_table(facts: ReportFacts) -> dict[str, Any]:
    """Return per model what the types of errors cost and how often they occur; empty where it is not known."""
    lines = {
        name_of(row): [
            {"cost": words.fraction(one["AP50"]), "count": words.count(int(one["count"]))}
            for one in (facts.models[row]["errors"][kind] for kind in _ERRORS)
        ]
        for row in _with_errors(facts)
    }
    return {"names": list(_ERRORS.values()), "lines": lines} if lines else {}


def confusions(facts: ReportFacts) -> dict[str, Any]:
    """Return which classes the last student takes for others most often; empty where that is not known.

    ``found`` is whether it finds any object, of the right class or not.
    """
    row = next((row for row in ("finetuned", "student") if "confusion" in facts.models.get(row, {})), None)
    if row is None or len(facts.classes) < 2:  # noqa: PLR2004
        return {}
    triples = facts.models[row]["confusion"]
    objects = dict.fromkeys((truth for truth, _, _ in triples if truth is not None), 0)
    for truth, _, count in triples:
        if truth is not None:
            objects[truth] += count
    wrong = sorted((one for one in triples if None not in one[:2] and one[0] != one[1]), key=lambda one: -one[2])
    lines = [
        {"truth": truth, "said": said, "count": words.count(count), "share": words.percent(count / objects[truth])}
        for truth, said, count in wrong[:MOST_CONFUSIONS]
    ]
    found = any(None not in one[:2] and one[2] for one in triples)
    return {"name": name_of(row), "lines": lines, "found": found}


def differences(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return a line per pair of models: what is less what, and by how much, with the interval in brackets."""
    found: Mapping[str, Mapping[str, Any]] = facts.metrics.get("differences") or {}
    return [
        {
            "name": f"{name_of(row)} {words.MINUS} {_inside(name_of(other))}",
            "cells": [_cell(found[row][other][figure]) for figure in ("AP", "AP50")],
        }
        for row in in_order(found)
        for other in in_order(found[row])
    ]


def _cell(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference in words; ``apart`` where its interval leaves out 0."""
    ends = one["interval"]
    apart = bool(ends) and (ends[0] > 0 or ends[1] < 0)
    return {"value": words.signed(one["difference"]), "ends": words.between(ends, words.signed), "apart": apart}


def _inside(name: str) -> str:
    """Return a row's name within a sentence."""
    return name[0].lower() + name[1:]


def _with_errors(facts: ReportFacts) -> list[str]:
    return [row for row in in_order(facts.models) if set(_ERRORS) <= set(facts.models[row].get("errors") or {})]


def _curve(curves: Mapping[str, Sequence[float]], name: str | None) -> list[float]:
    """Return precision at 101 recalls, of a class or the mean of all; empty where there is none."""
    if name is not None:
        return list(curves.get(name, ()))
    values: list[float] = np.mean(list(curves.values()), axis=0).round(4).tolist() if curves else []
    return values


def _line(facts: ReportFacts, row: str, curve: Sequence[float]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": charts.chart_text(name_of(row)),
        "x": np.linspace(0, 1, len(curve)).round(2).tolist(),
        "y": list(curve),
        "line": {"color": charts.row_colour(facts, row), "width": 2},
        "hovertemplate": "recall %{x:.2f}: precision %{y:.3f}",
    }
