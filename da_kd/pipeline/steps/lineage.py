"""What a model stands on: the steps that decide it, found by the fingerprints that went into it. Nothing runs here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from da_kd.errors import InputError
from da_kd.pipeline.steps.builder import Step


def lineage(steps: Mapping[str, Step], name: str) -> dict[str, Step]:
    """Return a step and every step whose output went into it, however far back, in the order they run."""
    # Of steps that make the same output, the first one is there in time for whoever needs it.
    by_print = {step.output.fingerprint: other for other, step in reversed(list(steps.items()))}
    wanted, open_ = {name}, [name]
    while open_:
        decided = steps[open_.pop()].output.parts.values()
        fresh = {by_print[value] for value in decided if isinstance(value, str) and value in by_print} - wanted
        wanted |= fresh
        open_ += fresh
    return {other: step for other, step in steps.items() if other in wanted}


def for_rows(steps: Mapping[str, Step], rows: Iterable[str]) -> dict[str, Step]:
    """Return the steps that the figures of some rows of the ladder need.

    Raises:
        InputError: the recipe has no such row.
    """
    wanted: set[str] = set()
    for row in rows:
        if f"evaluate:{row}" not in steps:
            there = [name.removeprefix("evaluate:") for name in steps if name.startswith("evaluate:")]
            raise InputError(
                f"Expected one of the rows that the recipe scores ({', '.join(there) or 'none'}); found '{row}'."
            )
        wanted |= set(lineage(steps, f"evaluate:{row}"))
    return {name: step for name, step in steps.items() if name in wanted}
