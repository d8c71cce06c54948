"""What the page tells of a review that measures: the audit's figures, and what a review is worth by budget.

Knows the audit's JSON object and the points of a comparison; must not know how either came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from da_kd.stages.report import words
from da_kd.stages.report.charts import LEGEND_ABOVE, Figure, axis_title, chart_layout
from da_kd.stages.report.facts import ReportFacts

_ORDERS = {"queue": ("order of the queue", "--student"), "random": ("random order", "--source-only")}
_FIGURES = ("AP", "AP50", "F1", "class_F1")


def audit(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the audit as a table with its intervals, and what it says of the reviewer; empty where there was none."""
    if not found:
        return {}
    named = {**found["classes"], **({"all": found["all"]} if found["all"] else {})}
    lines = [
        {
            "name": name,
            "cells": [
                words.count(one["objects"]),
                *(_interval(one["as_kept"][side]) for side in ("precision", "recall")),
                _interval(one["best_threshold"]),
            ],
        }
        for name, one in named.items()
    ]
    head = {"images": found["images_audited"], "population": found["images"]}
    return {**head, "lines": lines, "reviewer": _reviewer(found.get("reviewer") or {})}


def _interval(one: Mapping[str, float | None]) -> str:
    if one["value"] is None:
        return words.UNDEFINED
    return f"{words.amount(one['value'])} ({words.amount(one['low'])} to {words.amount(one['high'])})"


def _reviewer(told: Mapping[str, Any]) -> str:
    error = told.get("error") or {}
    if error.get("value") is None:
        return ""
    rate, low, high = (f"{100 * error[name]:.1f}\N{NO-BREAK SPACE}%" for name in ("value", "low", "high"))
    return (
        f"The reviewer errs, too: in {rate} of decisions ({low} to {high}), by "
        f"{words.counted(told['images'], 'image')} labelled twice. The truth of the audit is no better than that."
    )


def value(facts: ReportFacts, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Add charts of AP and of F1 by budget to ``figures``; return the same as lines of a table."""
    points: Sequence[Mapping[str, Any]] = facts.metrics.get("review_value") or ()
    if not points:
        return []
    if any(point["AP"] is not None for point in points):
        figures["value-ap"] = _chart(points, {"AP": "solid", "AP50": "dash"}, "AP, 0 to 1")
    figures["value-f1"] = _chart(points, {"class_F1": "solid"}, "F1, 0 to 1")
    return [
        {
            "order": _ORDERS[point["order"]][0] if point["budget"] else "nothing spent",
            "cells": [words.count(point["budget"]), *(words.fraction(point[name]) for name in _FIGURES)],
        }
        for point in points
    ]


def _chart(points: Sequence[Mapping[str, Any]], shown: Mapping[str, str], title: str) -> Figure:
    """Return a line for every order and figure; where nothing is spent, both orders begin."""
    data = []
    for order, (name, colour) in _ORDERS.items():
        mine = [point for point in points if point["order"] == order or not point["budget"]]
        for figure, dash in shown.items():
            line: Figure = {"x": [point["budget"] for point in mine], "y": [point[figure] for point in mine]}
            line |= {"type": "scatter", "mode": "lines+markers", "name": name, "legendgroup": order}
            line |= {"showlegend": dash == "solid", "line": {"color": colour, "width": 2, "dash": dash}}
            label = "F1" if figure == "class_F1" else figure
            data.append(line | {"marker": {"color": colour}, "hovertemplate": f"%{{x}} boxes: {label} %{{y:.3f}}"})
    layout = chart_layout(260)
    layout["xaxis"] |= {"title": axis_title("boxes looked at"), "rangemode": "tozero", "showgrid": False}
    layout["yaxis"] |= {"title": axis_title(title), "nticks": 5}
    return {"data": data, "layout": layout | {"legend": LEGEND_ABOVE}}
