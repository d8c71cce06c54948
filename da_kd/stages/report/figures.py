"""The report's charts for whoever shows them outside its page: as plotly objects, in colours for any ground."""

from __future__ import annotations

from typing import Any

from da_kd.stages.report.charts import Figure

# The page's variables in tones that are read on white and on nearly black alike.
_COLOURS = {
    "--source-only": "#8d969f",
    "--teacher-1": "#3d7fc4",
    "--teacher-2": "#7fb0de",
    "--teacher-3": "#2b5f96",
    "--teacher-4": "#a5c8e8",
    "--student": "#e06f10",
    "--finetuned": "#c0478c",
    "--oracle": "#6b7480",
    "--kept": "#27a87e",
    "--uncertain": "#e3a72f",
    "--dropped": "#a3abb4",
    "--line-1": "#3d7fc4",
    "--line-2": "#e06f10",
    "--line-3": "#27a87e",
    "--ink": "#7d8792",
    "--ink-soft": "#7d8792",
    "--rule": "rgba(128, 136, 146, 0.25)",
    "--raised": "#262b31",
    "--paper": "rgba(0, 0, 0, 0)",
}
_ON_RAISED = "#eceff2"
_LEGEND = 44  # pixels of a legend of up to two lines
_HEAD = 34  # pixels above a chart for whatever stands there in place of the page's heading


def as_plotly(figure: Figure | None) -> Any:
    """Return a chart of :mod:`~da_kd.stages.report.charts` as a plotly figure, None for None."""
    if figure is None:
        return None
    import plotly.graph_objects as go

    layout = _coloured(figure["layout"])
    head = _HEAD + (_LEGEND if "legend" in layout else 0)
    layout["margin"] = {**layout["margin"], "t": layout["margin"].get("t", 0) + head}
    if "height" in layout:
        layout["height"] += head
    if "legend" in layout:
        layout["legend"] = {**layout["legend"], "x": 1, "xanchor": "right"}
    layout["hoverlabel"] = {"bgcolor": _COLOURS["--raised"], "font": {"color": _ON_RAISED}}
    return go.Figure(data=_coloured(figure["data"]), layout=layout, skip_invalid=True)


def colour_of(name: str) -> str:
    """Return the colour that a variable of the page stands for."""
    return _COLOURS.get(name, _COLOURS["--ink"])


def _coloured(value: Any) -> Any:
    if isinstance(value, str):
        return colour_of(value) if value.startswith("--") else value
    if isinstance(value, list | tuple):
        return [_coloured(item) for item in value]
    return {key: _coloured(item) for key, item in value.items()} if isinstance(value, dict) else value
