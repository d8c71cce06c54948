"""The report: one self-contained page and the figures beside it.

Knows the templates and puts facts, words, charts and pictures into them; must not know where a run lies, nor compute a
score. The page loads nothing, neither from another host nor from another file, and forbids itself to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.detections import State
from da_kd.events import Job
from da_kd.files import whole
from da_kd.palette import colours
from da_kd.stages.report import accuracy, charts, pictures, reviewed, words
from da_kd.stages.report.facts import ReportFacts, in_order, name_of
from da_kd.stages.report.label_quality import THRESHOLDS, check_labels

MOST_SKIPPED = 50  # how many skipped images are listed
MOST_CHARTS = 24  # how many classes get a chart of their pseudo labels' scores
_HERE = Path(__file__).parent
_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


def write_report(facts: ReportFacts, folder: Path, job: Job) -> Path:
    """Write ``index.html`` and ``metrics.json`` into ``folder`` and return the path of the page.

    Both are written under temporary names first; an earlier report stays whole until the new one takes its place.

    Args:
        facts: what to show; whatever is missing is said to be missing.
        folder: is made where it is absent.
        job: hears of progress, and may stop the work.

    Raises:
        Cancelled: a person stopped it; nothing was written.
        OSError: the folder cannot be written to.
    """
    page = render(facts, job)
    figures = json.dumps(_json_safe(facts.metrics), indent=2, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    _replace({index: page, folder / "metrics.json": figures})
    return index


def render(facts: ReportFacts, job: Job) -> str:
    """Return the page as a text; see :func:`write_report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    job.check()
    context = _context(facts, job)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"fraction": words.fraction, "count": words.count, "counted": words.counted}
    parts = {name: (_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")}
    plotly = get_plotlyjs() if context["charts"] else ""
    return environment.get_template("page.html").render(
        css=parts["page.css"], js=parts["page.js"], plotly=plotly, **context
    )


def _context(facts: ReportFacts, job: Job) -> dict[str, Any]:
    """Return everything the template places, in the order of the page."""
    figures: dict[str, Any] = {"ladder": charts.ladder(facts), "per-class": charts.per_class(facts)}
    figures |= {"precision": accuracy.precision(facts), "errors": accuracy.errors(facts)}
    own = _of_classes(facts, figures)
    curves = _curves(facts, figures)
    pseudo = _pseudo(facts, figures)
    return {
        "facts": facts,
        "headline": words.headline(facts),
        "tiles": words.tiles(facts),
        "ladder": _ladder(facts),
        "columns": _COLUMNS,
        "intervals": any(facts.interval(row, "AP") for row in facts.models),
        "differences": accuracy.differences(facts),
        "class_curves": own,
        "error_table": accuracy.error_table(facts),
        "confusions": accuracy.confusions(facts),
        "absent": {name_of(row): reason for row, reason in facts.absent.items()},
        "per_class": _per_class(facts),
        "curves": curves,
        "any_validated": any("val_AP" in step for epochs in facts.curves.values() for step in epochs),
        "pseudo": pseudo,
        "quality": _quality(facts),
        "guard": _guard(facts),
        "home": _home(facts),
        "classes": facts.classes,
        "most_charts": MOST_CHARTS,
        "swatches": colours(facts.classes),
        "restyled": pictures.draw_restyled(facts),
        "rows": pictures.draw_rows(facts, job),
        "why_no_pictures": pictures.why_no_pictures(facts),
        "contrast": "" if pictures.why_no_pictures(facts) else pictures.contrast_of(facts),
        "shown_score": f"{pictures.SHOWN_SCORE:.2f}",
        "audit": reviewed.audit(facts.audit),
        "value": reviewed.value(facts, figures),
        "skipped": list(facts.skipped[:MOST_SKIPPED]),
        "seconds": _seconds(facts),
        "versions": dict(facts.metrics.get("versions") or {}),
        "seed": facts.metrics.get("seed"),
        "charts": {name: _json_safe(figure) for name, figure in figures.items() if figure},
    }


def _ladder(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return a table row per scored model: its name, figures, and AP above source only."""
    low = facts.figure("source_only", "AP")
    rows = []
    for row in in_order(facts.models):
        own = facts.figure(row, "AP")
        gain = None if low is None or own is None or row == "source_only" else own - low
        figures = [
            {
                "value": words.fraction(facts.figure(row, column)),
                "ends": words.between(facts.interval(row, column), words.fraction),
            }
            for column in _COLUMNS
        ]
        rows.append({"row": row, "name": name_of(row), "figures": figures, "gain": words.signed(gain)})
    return rows


def _per_class(facts: ReportFacts) -> dict[str, Any]:
    """Return AP by class as a table: the models' names, and per class its figures."""
    rows = [row for row in in_order(facts.models) if facts.models[row].get("per_class")]
    lines = {
        name: [words.fraction(facts.models[row]["per_class"].get(name)) for row in rows]
        for name in (facts.classes if rows else ())
    }
    return {"names": [name_of(row) for row in rows], "lines": lines}


def _of_classes(facts: ReportFacts, figures: dict[str, Any]) -> list[dict[str, str]]:
    """Add a precision-recall chart per class to ``figures``; return what stands over each."""
    names = accuracy.classes_with_curves(facts)
    figures |= {f"precision-{number}": accuracy.precision(facts, name) for number, name in enumerate(names)}
    return [{"id": f"precision-{number}", "name": name} for number, name in enumerate(names)]


def _curves(facts: ReportFacts, figures: dict[str, Any]) -> list[dict[str, str]]:
    """Add a chart per training to ``figures``; return what stands over each."""
    shown = []
    for position, row in enumerate(in_order(facts.curves)):
        epochs = list(facts.curves[row])
        chart = charts.curve(epochs)
        if chart:
            figures[f"curve-{position}"] = chart
            remark = words.counted(len(epochs), "epoch")
            shown.append({"id": f"curve-{position}", "name": name_of(row), "remark": remark})
    return shown


def _quality(facts: ReportFacts) -> dict[str, Any]:
    """Return precision and recall of the pseudo labels as a table, empty where there is no truth for them."""
    if facts.pseudo is None or facts.label_truth is None:
        return {}
    checked = check_labels(facts.pseudo, facts.label_truth)
    lines = {
        name: [f"{words.fraction(one.precision)} / {words.fraction(one.recall)}" for one in qualities]
        for name, qualities in checked.by_class.items()
    }
    return {"images": checked.images, "thresholds": [f"{t:.2f}" for t in THRESHOLDS], "lines": lines} if lines else {}


def _home(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return a line per teacher: its AP at home, and that of every class."""
    return [
        {
            "name": name,
            "cells": [words.fraction(one["AP"]), *(words.fraction(one["per_class"].get(c)) for c in facts.classes)],
        }
        for name, one in facts.home.items()
    ]


def _guard(facts: ReportFacts) -> dict[str, Any]:
    """Return the guard's verdict in words and as a table, empty where it was off."""
    found = facts.guard
    if not found:
        return {}
    lines = [
        {
            "name": item["name"],
            "verdict": item["verdict"] + (", not searched for" if item["name"] in found["demoted"] else ""),
            "reason": item["reason"],
            "cells": [words.amount(item["labelled"]), *_both(item["rate"], words.amount)]
            + [text for key in ("score", "sure", "agreement") for text in _both(item[key], words.percent)],
        }
        for item in found["classes"]
    ]
    return {"home": found["compared_with"], "reasons": found["reasons"], "lines": lines}


def _both(pair: Mapping[str, float | None], say: Callable[[float | None], str]) -> list[str]:
    """Return a figure at home and on the target in words."""
    return [say(pair["source"]), say(pair["target"])]


def _pseudo(facts: ReportFacts, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a chart per class of the pseudo labels to ``figures``; return names, counts and thresholds."""
    table = facts.pseudo
    if table is None:
        return []
    shown = []
    boxes = np.bincount(table.label, minlength=len(table.vocabulary))
    drawn = set(np.argsort(-boxes, kind="stable")[:MOST_CHARTS].tolist())
    for label, name in enumerate(table.vocabulary):
        mine = table.state[table.label == label]
        counts = {state.name.lower(): int(np.sum(mine == state)) for state in State}
        chart = charts.scores(facts, label) if label in drawn else None
        if chart:
            figures[f"scores-{label}"] = chart
        limits = {
            side: "" if limit is None else f"{limit:.2f}"
            for side, given in (("keep", facts.keep), ("drop", facts.drop))
            for limit in [given.get(name, given.get("default"))]
        }
        title: dict[str, Any] = {"id": f"scores-{label}" if chart else "", "name": name}
        shown.append(title | counts | limits)
    return shown


def _seconds(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return per stage its time in words and its share of the longest, in percent."""
    seconds = {stage: float(value or 0) for stage, value in (facts.metrics.get("seconds") or {}).items()}
    longest = max(seconds.values(), default=0) or 1
    lines = [
        {"stage": stage, "time": words.duration(value), "share": f"{100 * value / longest:.1f}"}
        for stage, value in seconds.items()
    ]
    if len(lines) > 1:
        lines.append({"stage": "all", "time": words.duration(sum(seconds.values())), "share": ""})
    return lines


def _json_safe(value: Any) -> Any:
    """Return a value that JSON can carry: NaN and infinities become None, numpy's numbers become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(texts: Mapping[Path, str]) -> None:
    """Write all texts under temporary names, then give them their own, the last one first."""
    with ExitStack() as stack:
        for path, text in texts.items():
            # A file name that is not valid Unicode must not spoil the page.
            stack.enter_context(whole(path)).write_bytes(text.encode("utf-8", "replace"))
