"""Page 8, Report: the run's report as it is, and as one file to keep."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from da_kd.ui import markup
from da_kd.ui.access import existing_run
from da_kd.ui.frame import Frame

KEY, TITLE = "report", "Report"


def build(frame: Frame, tab: gr.Tab) -> None:
    """Lay the page out and wire it."""
    gr.HTML(markup.title("Report", "Everything about the run on one page that needs no network and no other file."))
    problem, links, page = gr.HTML(), gr.HTML(elem_id="report-links"), gr.HTML(elem_id="report")

    def fill(name: Any) -> dict[Any, Any]:
        run = frame.chosen(name)
        file = run.folder / "report" / "index.html"
        if not file.is_file():
            todo = "It is written when the run's last stage is done; 'Go on' on page 5 takes a stopped run up again."
            return {links: "", page: markup.empty("This run has no report yet.", todo)}
        where = f"run/{run.name}/report"
        items = [
            markup.link("Download the report (HTML)", f"{where}?download=1", True),
            markup.link("Open it alone", where),
            markup.link("Download the recipe (YAML)", f"run/{run.name}/recipe", True),
        ]
        again = markup.command(["resume", frame.settings.called(run.name), "--until", "report"])
        source = f"{where}?at={int(file.stat().st_mtime)}"
        shown = f'<iframe class="frame" title="Report of {escape(run.name)}" src="{source}"></iframe>'
        return {links: f'<p class="actions">{"".join(items)}</p>{again}', page: shown}

    def version(name: Any) -> str:
        file = existing_run(frame.settings, name).folder / "report" / "index.html"
        return str(file.stat().st_mtime_ns) if file.is_file() else "none"

    frame.fills(tab, KEY, problem, fill, [links, page], version)
