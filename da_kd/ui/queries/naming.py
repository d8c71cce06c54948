"""Class names and splits for a new recipe, from the sets and the teacher it is to use. Nothing is decided here.

As everywhere, a name is never matched by likeness: what is alike is told, and a person says whether it is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from da_kd.data.aliases import nearest, same_meaning
from da_kd.data.naming import class_names, splits_of
from da_kd.detections import Vocabulary
from da_kd.errors import DaKdError, InputError
from da_kd.ui.access import readable_file, readable_place
from da_kd.ui.queries import own
from da_kd.ui.settings import Settings

_SHOWN = 12  # names in a message


@dataclass(frozen=True)
class Proposal:
    """Names to begin with.

    Attributes:
        classes: of the student.
        mapping: the trained teacher's classes whose names differ, to those of ours that mean the same.
        told: what was found and where, in sentences.
    """

    classes: Vocabulary
    mapping: Mapping[str, str]
    told: tuple[str, ...]


def propose(settings: Settings, given: Vocabulary, sets: Mapping[str, str], weights: str) -> Proposal:
    """Return the classes that labelled sets and a trained teacher suggest.

    Args:
        settings: say which folders may be read.
        given: the classes that a person has named already; they stay.
        sets: where labelled sets lie, by their key in the recipe; "" for none.
        weights: a trained teacher's file, "" for none.

    Raises:
        InputError: there is nothing to look into, or a place may not be read.
    """
    if not weights and not any(sets.values()):
        raise InputError("Name labelled images or a trained teacher first; their classes are found there.")
    told: list[str] = []
    found = {name: _of_set(settings, name, place, told) for name, place in sets.items() if place}
    teacher = _of_teacher(settings, weights, told) if weights else ()
    classes = given or next((names for names in found.values() if names), teacher)
    told += [line for name, names in found.items() for line in _differing(name, names, classes)]
    return Proposal(classes, _mapping(teacher, classes), tuple(told))


def splits(settings: Settings, sets: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return by set which of train, val, valid and test it has; none of what cannot be read, which the check tells."""
    found = {}
    for name, place in sets.items():
        with suppress(DaKdError):
            found[name] = splits_of(readable_place(settings, place)) if place else ()
    return found


def _of_set(settings: Settings, name: str, place: str, told: list[str]) -> Vocabulary:
    path = readable_place(settings, place)
    try:
        names = class_names(path)
    except DaKdError as error:
        told.append(f"data.{name}: {error}")
        return ()
    told.append(f"data.{name} has {_some(names)}." if names else f"data.{name} has images alone, no class names.")
    return names


def _of_teacher(settings: Settings, weights: str, told: list[str]) -> Vocabulary:
    model = own.model_at(readable_file(settings, weights, own.WEIGHTS))
    try:
        names = own.worker.names(model)
    except InputError as error:
        told.append(f"The trained teacher cannot be asked for its classes: {error}")
        return ()
    told.append(f"The trained teacher knows {_some(names)}.")
    return names


def _differing(name: str, names: Vocabulary, classes: Vocabulary) -> list[str]:
    """Return what has to be said in the recipe of the classes of a set that are not ours."""
    lines = []
    for other in names:
        if other in classes:
            continue
        close = nearest(other, classes, 1)
        meant = f"if it is '{close[0]}', add '{other}: {close[0]}'; else " if close else ""
        lines.append(
            f"data.{name} has '{other}', which is not a class: under its 'classes', {meant}add '{other}: null'."
        )
    return lines


def _mapping(teacher: Vocabulary, classes: Vocabulary) -> dict[str, str]:
    """Return the teacher's classes under another name than ours that mean the same; the others go nowhere anyway."""
    open_ = [name for name in classes if name not in teacher]
    alike = {name: same_meaning(name, open_) for name in teacher if name not in classes}
    return {name: found[0] for name, found in alike.items() if found}


def _some(names: Vocabulary) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
