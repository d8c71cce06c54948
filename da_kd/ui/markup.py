"""Small pieces of HTML that all pages are made of. Everything from outside is escaped here; knows no gradio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from da_kd.ui.processes import command_line

_BADGES = {
    "running": "busy",
    "starting": "busy",
    "done": "good",
    "failed": "bad",
    "killed": "bad",
    "unreadable": "bad",
    "paused": "wait",
    "cancelled": "wait",
}


def badge(state: str) -> str:
    """Return a state as a coloured word."""
    return f'<span class="badge {_BADGES.get(state, "")}">{escape(state)}</span>'


def error(text: str) -> str:
    """Return a message about what has to be mended; '' for no text."""
    if not text:
        return ""
    lines = text.strip().splitlines()
    rest = "".join(f"<li>{escape(line.strip().removeprefix('- '))}</li>" for line in lines[1:] if line.strip())
    items = f"<ul>{rest}</ul>" if rest else ""
    return f'<div class="message bad" role="alert"><p>{escape(lines[0])}</p>{items}</div>'


def fine(text: str) -> str:
    """Return a message that something is in order."""
    return f'<div class="message good" role="status"><p>{escape(text)}</p></div>'


def note(text: str) -> str:
    """Return a message that is neither."""
    return f'<div class="message" role="status"><p>{escape(text)}</p></div>' if text else ""


def notes(texts: Sequence[str]) -> str:
    """Return messages that are neither, one a line; '' for none."""
    items = "".join(f"<p>{escape(text)}</p>" for text in texts)
    return f'<div class="message" role="status">{items}</div>' if items else ""


def empty(what: str, todo: str) -> str:
    """Return what stands where there is nothing yet: what is missing, and what to do next."""
    return f'<div class="empty"><p>{escape(what)}</p><p class="todo">{escape(todo)}</p></div>'


def alone(message: str) -> str:
    """Return a message that stands on a page alone; the rest of the page is hidden then (see app.css)."""
    return f'<div class="nothing">{message}</div>'


def command(arguments: Sequence[str], button: str = "In a terminal") -> str:
    """Return the command line that a button stands for."""
    return typed(command_line(arguments), button)


def typed(text: str, button: str = "In a terminal") -> str:
    """Return something to type in a terminal."""
    return f'<p class="command"><span>{escape(button)}:</span> <code>{escape(text)}</code></p>'


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    caption: str = "",
    lists: Sequence[int] = (),
) -> str:
    """Return a table of texts that are HTML already; columns at ``numbers`` are flush right, ``lists`` never thin."""
    kinds = {**dict.fromkeys(lists, 'class="list"'), **dict.fromkeys(numbers, 'class="n"')}
    look = [kinds.get(index, "") for index in range(len(heads))]
    head = "".join(f'<th scope="col" {look[i]}>{escape(name)}</th>' for i, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td {look[i]}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Return large figures: what each is, its value, a remark."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b><span>{escape(remark)}</span></dd></div>"
        for name, value, remark in items
    )
    return f'<dl class="tiles">{cells}</dl>' if cells else ""


def legend(colours: Mapping[str, str]) -> str:
    """Return the classes with their colours."""
    items = "".join(
        f'<li><span class="swatch" style="background:{escape(colour)}"></span>{escape(name)}</li>'
        for name, colour in colours.items()
    )
    return f'<ul class="legend" aria-label="Colours of the classes">{items}</ul>'


def pictures(items: Iterable[tuple[str, str, str]]) -> str:
    """Return a grid of pictures: the source (a data URI), what it shows in words, and a caption."""
    cells = "".join(
        f'<figure><img src="{escape(source)}" alt="{escape(alt)}" loading="lazy"><figcaption>{escape(caption)}'
        "</figcaption></figure>"
        for source, alt, caption in items
    )
    return f'<div class="grid">{cells}</div>' if cells else ""


def save(name: str, index: int) -> str:
    """Return a button that saves the picture of its figure, or else that of the slider at ``index`` (see app.js)."""
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)
    data = f'data-name="{escape(stem)}" data-index="{index}"'
    return f'<button type="button" class="save" {data}>Save this picture</button>'


def log(text: str, title: str = "Log", opened: bool = False) -> str:
    """Return the end of a log that can be folded out; '' for none."""
    if not text.strip():
        return ""
    state = " open" if opened else ""
    shown = f'<pre tabindex="0">{escape(text.strip())}</pre>'
    return f'<details class="log"{state}><summary>{escape(title)}</summary>{shown}</details>'


def title(text: str, lead: str = "") -> str:
    """Return the head of a page."""
    below = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f'<div class="title"><h2>{escape(text)}</h2>{below}</div>'


def section(text: str, how: str = "") -> str:
    """Return the head of a part of a page."""
    below = f'<p class="how">{escape(how)}</p>' if how else ""
    return f'<div class="section"><h3>{escape(text)}</h3>{below}</div>'


def link(text: str, where: str, download: bool = False) -> str:
    """Return a link of the app's own."""
    return f'<a class="action" href="{escape(where)}"{" download" if download else ""}>{escape(text)}</a>'
