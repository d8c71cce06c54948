"""The class names of a set or of a teacher become the recipe's.

A name is never matched by likeness; likeness only makes suggestions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from da_kd.data.aliases import nearest
from da_kd.data.problems import SHOWN
from da_kd.detections import Vocabulary
from da_kd.errors import DataError

REST = "*"  # in a mapping: every class that has no entry and no equal
Target = str | tuple[str, ...] | None  # a class, one of several that cannot be told apart, or none


def map_classes(own: Vocabulary, mapping: Mapping[str, Target], classes: Vocabulary, where: str) -> dict[str, Target]:
    """Return for each of a set's (or a teacher's) own classes the recipe's, or None where it is left out.

    Args:
        own: the class names it has.
        mapping: names that differ; None leaves a class out, and several names are a class that is one of these (a
            ``vehicle`` may be a ``car`` or a ``truck``). Equal names need no entry, and ``*`` stands for all that
            have neither an entry nor an equal.
        classes: the recipe's class names.
        where: its key in the recipe, for messages (``data.source``).

    Raises:
        DataError: a class has no place, or the mapping names a class that is not there.
    """
    problems = [
        f"{where}.classes maps '{name}', which is not one of its classes {_brief(own)}{_suggest(name, own)} remove it"
        for name in mapping
        if name not in own and name != REST
    ]
    problems += [
        f"{where}.classes maps '{name}' to '{to}', which is not one of the recipe's classes {_brief(classes)}"
        f"{_suggest(to, classes)} correct it"
        for name, target in mapping.items()
        for to in names_of(target)
        if to not in classes
    ]
    problems += [
        f"class '{name}' of {where} is not one of the recipe's classes {_brief(classes)}{_suggest(name, classes)} "
        f'map it under {where}.classes, to null to leave it out, or leave all others out with "*": null'
        for name in own
        if name not in mapping and name not in classes and REST not in mapping
    ]
    if problems:
        shown = problems[:SHOWN] + ([f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])
        raise DataError("\n".join(shown))
    rest = {name: name if name in classes else mapping.get(REST) for name in own}
    return {name: mapping[name] if name in mapping else rest[name] for name in own}


def names_of(target: Target) -> tuple[str, ...]:
    """Return the classes that a class goes to: none, one, or those it may be."""
    if target is None:
        return ()
    return (target,) if isinstance(target, str) else target


def _suggest(name: str, known: Sequence[str]) -> str:
    """Return "; did you mean ...?" where a known name means or reads like ``name``; else a bare semicolon."""
    close = nearest(name, known, 2)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"


def _brief(names: Sequence[str]) -> str:
    """Return names for a message, the first twelve of a long list."""
    most = 12
    return str(list(names)) if len(names) <= most else f"{[*names[:most], '...']}"
