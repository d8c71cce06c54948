"""Which kinds of teacher are installed: names of entry points, nothing of which is imported."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from da_kd.errors import InputError


def find_kind(kind: str) -> EntryPoint:
    """Return the entry point of a teacher adapter.

    Raises:
        InputError: no adapter of that name.
    """
    known = {point.name: point for point in entry_points(group="da_kd.teachers")}
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"installed: {', '.join(sorted(known))}"
        raise InputError(f"Expected the name of a teacher adapter; found '{kind}'; {hint}")
    return known[kind]
