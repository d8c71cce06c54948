"""Numbers in words: how long, how large, how old, how fast. Standard library only."""

from __future__ import annotations

import time

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KILO = 1000
_SHORT = 10  # seconds below which tenths matter


def duration(seconds: float) -> str:
    """Return a time span: '4.2 s', '38 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < _SHORT:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole, _HOUR)
    return f"{hours} h {rest // _MINUTE} min"


def age(moment: float | None, now: float | None = None) -> str:
    """Return how long ago a moment was: 'just now', '5 min ago', '3 days ago'; '' for None."""
    if moment is None:
        return ""
    seconds = max(0.0, (now if now is not None else time.time()) - moment)
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h ago"
    days = int(seconds // _DAY)
    return f"{days} day{'s' if days != 1 else ''} ago"


def size(count: float) -> str:
    """Return a number of bytes: '12 MB', '3.4 GB'."""
    for unit in ("B", "kB", "MB"):
        if count < _KILO:
            return f"{count:.0f} {unit}"
        count /= _KILO
    return f"{count:.1f} GB"


def rate(per_second: float, unit: str) -> str:
    """Return a rate in whatever span gives a number that can be read: '12.0 images/s', '3.1 epochs/min'."""
    if per_second >= 1:
        return f"{per_second:.1f} {unit}/s" if per_second < 100 else f"{per_second:.0f} {unit}/s"  # noqa: PLR2004
    return f"{per_second * _MINUTE:.1f} {unit}/min"


def count(number: int, thing: str) -> str:
    """Return '1 image', '3 images'."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def figure(value: float | None) -> str:
    """Return an AP with three digits, '-' where it is undefined."""
    return "-" if value is None else f"{value:.3f}"
