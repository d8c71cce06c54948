"""How a run stands, as HTML. Knows no gradio and reads nothing."""

from __future__ import annotations

from html import escape

from da_kd.ui import markup, processes
from da_kd.ui.queries.runs import Standing, Task
from da_kd.words import age, duration, rate, size


def standing_line(now: Standing) -> str:
    """Return one line: state, stage, how far, how fast, how long still."""
    parts = [markup.badge(now.state)]
    if now.stage and now.state in ("running", "failed", "cancelled", "killed", "paused"):
        parts.append(f"<b>{escape(now.stage)}</b>")
    if now.waiting:
        parts.append(f"<span>{escape(now.waiting)}</span>")
    elif now.task is not None:
        parts += [bar(now.task), f"<span>{escape(amount(now.task))}</span>"]
    elif now.state == "starting":
        parts.append("<span>The process loads its libraries; this takes some seconds.</span>")
    if now.pid and not now.waiting:
        parts.append(f"<span>{escape(machine(now))}</span>")
    if now.ended and now.began and now.state not in ("running", "starting"):
        parts.append(f"<span>{escape(f'{age(now.ended)}, took {duration(now.ended - now.began)}')}</span>")
    left = [stage for stage, mark in now.stages.items() if mark != "done"]
    if now.state == "done" and left:
        parts.append(f"<span>{escape(f'still to do: {_and(left)}; see page 5')}</span>")
    line = f'<div class="standing">{"".join(parts)}</div>'
    told = markup.error(now.message) if now.message and now.state in ("failed", "killed") else ""
    if now.state == "paused":
        told = markup.note("The pseudo labels wait for a person: see page 4, Review.")
    if now.refused:
        told += markup.error(f"The last start came to nothing: {now.refused}" if now.began else now.refused)
    return line + told


def _and(names: list[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def side_work(last: processes.Launch | None, log: str, busy: str, done: str, word: str) -> str:
    """Return how work beside the run stands, with its command line and log; '' where there was none.

    Args:
        last: its process.
        log: what that told.
        busy: what to say while it works.
        done: what to say once it has.
        word: what the line begins with that it tells when all is done; one that was stopped or killed never does.
    """
    if last is None:
        return ""
    told = markup.error(processes.last_error(log) or "It ended before it was done. Press the button again.")
    if any(line.startswith(word) for line in log.splitlines()):
        told = markup.fine(done)
    return (markup.note(busy) if last.alive else told) + markup.command(last.arguments) + markup.log(log)


def bar(task: Task) -> str:
    """Return a bar that shows how much of a task is done."""
    share = task.share
    if share is None:
        return ""
    percent = f"{100 * min(1.0, share):.0f}"
    return (
        f'<span class="bar" role="progressbar" aria-label="{escape(task.task)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><span style="width:{percent}%"></span></span>'
    )


def amount(task: Task) -> str:
    """Return how far a task is in words."""
    of = f"/{task.total}" if task.total is not None else ""
    parts = [f"{task.task} {task.done}{of} {task.unit}".strip()]
    if task.per_second:
        parts.append(rate(task.per_second, task.unit or "steps"))
    if task.note:
        parts.append(task.note)
    if task.left is not None:
        parts.append(f"{duration(task.left)} left")
    return ", ".join(parts)


def machine(now: Standing) -> str:
    """Return where a run works: process, device, memory."""
    parts = [f"process {now.pid}"]
    parts += [f"on {now.device}"] if now.device else []
    parts += [f"{size(now.memory)} of memory"] if now.memory else []
    return ", ".join(parts)


def stages(now: Standing) -> str:
    """Return the stages of a run as a row of marks."""
    signs = {"done": "✓ ", "running": "… ", "waiting": ""}
    items = "".join(
        f'<li class="{mark}"><span aria-hidden="true">{signs[mark]}</span>{escape(stage)}'
        f'<span class="sr-only"> {mark}</span></li>'
        for stage, mark in now.stages.items()
    )
    return f'<ul class="steps" aria-label="Stages of the run">{items}</ul>' if items else ""
