"""Precision over recall of every model of a run, for one class, from its stored predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import DetectionTable, State
from da_kd.merging.matching import inside, paired
from da_kd.pipeline import Run
from da_kd.stages.report.charts import Figure
from da_kd.stages.report.facts import in_order, name_of
from da_kd.ui.queries.sets import predictions, truth_of

_COLOURS = {"source_only": "--source-only", "student": "--student", "finetuned": "--finetuned", "oracle": "--oracle"}
_FEW = 200  # points of a curve that are drawn


def precision_recall(run: Run, name: str) -> Figure | None:
    """Return the curves of all models as a chart, None where there is nothing to draw."""
    tables, truth = predictions(run), truth_of(run)
    if truth is None or not tables:
        return None
    data: list[dict[str, Any]] = []
    for row in in_order(tables):
        points = curve(truth.table, tables[row], name)
        if points is None:
            continue
        keep = np.unique(np.linspace(0, len(points) - 1, min(_FEW, len(points))).astype(int))
        line = {"color": _COLOURS.get(row, "--teacher-1"), "width": 2}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name_of(row),
                "x": points[keep, 0].round(4).tolist(),
                "y": points[keep, 1].round(4).tolist(),
                "line": line,
            }
        )
    axis = {"range": [0, 1.02], "dtick": 0.2, "gridcolor": "--rule", "color": "--ink-soft", "zeroline": False}
    layout = {
        "height": 340,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "--ink-soft"},
        "margin": {"l": 50, "r": 12, "t": 12, "b": 44},
        "xaxis": {**axis, "title": {"text": "recall"}},
        "yaxis": {**axis, "title": {"text": "precision"}},
    }
    return {"data": data, "layout": layout} if data else None


def curve(truth: DetectionTable, said: DetectionTable, name: str) -> npt.NDArray[np.float64] | None:
    """Return (N, 2) recall and precision at IoU 0.5, from the highest score down; None where there is no object.

    As in average precision, boxes in ignored regions and in images where nobody looked for the class do not count.
    """
    if name not in truth.vocabulary or name not in said.vocabulary:
        return None
    label = truth.vocabulary.index(name)
    places = {key: index for index, key in enumerate(said.key)}
    scores: list[npt.NDArray[np.floating]] = [np.zeros(0)]
    right: list[npt.NDArray[np.bool_]] = [np.zeros(0, bool)]
    objects = 0
    for index, key in enumerate(truth.key):
        if not truth.searched[index, label]:
            continue
        wanted = truth.at(index)
        wanted = wanted.pick(wanted.label == label)
        objects += len(wanted)
        if key not in places:
            continue
        found = said.at(places[key])
        found = found.pick(found.label == said.vocabulary.index(name))
        hit = paired(wanted, found)
        counts = hit | ~inside(truth.at(index, (State.IGNORED, State.UNCERTAIN)), found)
        scores.append(found.score[counts])
        right.append(hit[counts])
    if not objects:
        return None
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.concatenate(right)[order])
    if not len(hits):
        return np.zeros((1, 2))
    return np.stack([hits / objects, hits / np.arange(1, len(hits) + 1)], axis=1)
