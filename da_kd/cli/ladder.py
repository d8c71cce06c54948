"""The end of a run: the ladder of models as a table, what the student won, and which rows are absent and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from da_kd.cli.terminal import new_table, say, show
from da_kd.cli.words import figure

if TYPE_CHECKING:
    from da_kd.pipeline import RunMetrics

_FIGURES = ("AP", "AP50", "AP75")
_MOST_CLASSES = 8  # that have a column of their own; more would make every column too narrow to read
_CALLED = {"student": "The student", "finetuned": "The fine-tuned student"}


def show_ladder(metrics: RunMetrics) -> None:
    """Print the table and the sentences below it."""
    if metrics.models:
        classes = metrics.classes if len(metrics.classes) <= _MOST_CLASSES else ()
        columns = (*_FIGURES, *classes)
        table = new_table("model", *columns, right=columns)
        for row, found in metrics.models.items():
            figures = [getattr(found, name) for name in _FIGURES] + [found.per_class.get(name) for name in classes]
            table.add_row(row, *map(figure, figures), style="bold" if row in _CALLED else None)
        say()
        show(table)
        say()
        if not classes:
            say(f"The report and its metrics.json have the AP of each of the {len(metrics.classes)} classes.")
    for sentence in (*gap_sentences(metrics), *absent_sentences(metrics)):
        say(sentence)


def gap_sentences(metrics: RunMetrics) -> list[str]:
    """Return how much of the gap between source-only and oracle the student recovered."""
    low, high = metrics.models.get("source_only"), metrics.models.get("oracle")
    if low is None or high is None or low.AP is None or high.AP is None:
        return []
    if high.AP <= low.AP:
        return [
            f"There is no gap to recover: the oracle (AP {high.AP:.3f}) is not above source-only (AP {low.AP:.3f})."
        ]
    between = f"between source-only (AP {low.AP:.3f}) and the oracle (AP {high.AP:.3f})"
    told = [(name, share) for name, share in metrics.gap_recovered.items() if share is not None]
    return [f"{_CALLED.get(name, name)} recovers {share:.0%} of the gap {between}." for name, share in told]


def absent_sentences(metrics: RunMetrics) -> list[str]:
    """Return which rows are absent, and why; rows with one reason share a sentence."""
    by_reason: dict[str, list[str]] = {}
    for row, reason in metrics.absent.items():
        by_reason.setdefault(reason, []).append(row)
    return [f"Absent: {', '.join(rows)} ({reason})." for reason, rows in by_reason.items()]
