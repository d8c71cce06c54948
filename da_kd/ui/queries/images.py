"""What is known of a run's image sets: counts, sizes, classes, samples with boxes, and what was skipped and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, State
from da_kd.pipeline import Inputs
from da_kd.stages.report.charts import Figure, axis_title
from da_kd.ui.queries import drawing

NAMES = {
    "source": "Source",
    "source_val": "Source, held out",
    "target": "Target",
    "target_labelled": "Target, labelled",
    "target_dev": "Target, development",
    "test": "Test",
}
_COLOURS = ("--source-only", "--teacher-4", "--teacher-1", "--student", "--finetuned", "--oracle")
_MOST_SKIPPED = 200


@dataclass(frozen=True)
class SetFacts:
    """One image set in figures.

    Attributes:
        name: its key under ``data``.
        images: how many there are.
        unusable: how many of them cannot be read.
        boxes: labelled objects; 0 where labels are not opened.
        width: pixels, the median.
        height: pixels, the median.
        side: pixels, the median of the square root of a box's area; None without boxes.
        by_class: boxes by class; empty where labels are not opened.
    """

    name: str
    images: int
    unusable: int
    boxes: int
    width: int
    height: int
    side: float | None
    by_class: dict[str, int]


def set_facts(inputs: Inputs) -> list[SetFacts]:
    """Return the figures of every set."""
    return [_facts(name, images.table) for name, images in inputs.sets.items()]


def _facts(name: str, table: DetectionTable) -> SetFacts:
    good = table.size[table.ok]
    width, height = (int(value) for value in np.median(good, axis=0)) if len(good) else (0, 0)
    kept = table.state == State.KEPT
    corners = table.xyxy[kept]
    sides = np.sqrt((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]))
    counts = np.bincount(table.label[kept], minlength=len(table.vocabulary)).tolist()
    labelled = bool(table.searched.any())
    return SetFacts(
        name=name,
        images=len(table),
        unusable=int((~table.ok).sum()),
        boxes=int(kept.sum()),
        width=width,
        height=height,
        side=float(np.median(sides)) if len(sides) else None,
        by_class=dict(zip(table.vocabulary, counts, strict=True)) if labelled else {},
    )


def balance(facts: Sequence[SetFacts]) -> Figure | None:
    """Return the share of each class among a set's boxes as a chart, a bar per labelled set."""
    data = []
    for position, item in enumerate(facts):
        total = sum(item.by_class.values())
        if not total:
            continue
        shares = [count / total for count in item.by_class.values()]
        data.append(
            {
                "type": "bar",
                "name": NAMES[item.name],
                "x": [name[:28] for name in item.by_class],
                "y": [round(share, 4) for share in shares],
                "customdata": list(item.by_class.values()),
                "hovertemplate": "%{x}: %{customdata} boxes, %{y:.1%}",
                "marker": {"color": _COLOURS[position % len(_COLOURS)]},
            }
        )
    axis = {"gridcolor": "--rule", "color": "--ink-soft", "zeroline": False, "fixedrange": True}
    layout = {
        "height": 300,
        "barmode": "group",
        "bargap": 0.28,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "--ink-soft"},
        "margin": {"l": 54, "r": 12, "t": 12, "b": 36},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**axis, "showgrid": False},
        "yaxis": {**axis, "tickformat": ".0%", "title": axis_title("share of boxes")},
    }
    return {"data": data, "layout": layout} if data else None


def skipped(inputs: Inputs) -> list[tuple[str, str, str]]:
    """Return set, image and reason of every image that cannot be used, the first of many."""
    found = [
        (NAMES[name], key, reason)
        for name, images in inputs.sets.items()
        for key, reason in zip(images.table.key, images.table.reason, strict=True)
        if reason
    ]
    return found[:_MOST_SKIPPED]


def samples(images: ImageSet, first: int, count: int, classes: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return small pictures of some images, spread over the set, with the labels there are."""
    good = np.flatnonzero(images.table.ok)
    if not len(good):
        return []
    spread = good[np.linspace(0, len(good) - 1, len(good)).astype(int)]
    step = max(1, len(spread) // max(1, count))
    order = np.concatenate([spread[offset::step] for offset in range(step)])
    chosen = order[(first * count) % len(order) :][:count]
    made = []
    for index in chosen.tolist():
        known = bool(images.table.searched[index].any())
        boxes = images.table.at(index) if known else Detections.empty(images.vocabulary)
        source, alt, caption = drawing.small(images.path(index), boxes, classes, images.table.key[index], scores=False)
        name = images.table.key[index]
        made.append((source, alt, caption) if known else (source, f"{name}, without labels", name))
    return made
