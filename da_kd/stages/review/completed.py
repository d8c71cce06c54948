"""Images that a person completed without leaving a trace in the labels: nothing is there, or not every class was asked.

Knows the journal's entries; must not know where a journal stands, nor how labels are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from da_kd.detections import Vocabulary
from da_kd.stages.review.journal import Entry, in_force


def completed(entries: Iterable[Entry], shas: Iterable[str], classes: Vocabulary) -> Mapping[str, tuple[str, ...]]:
    """Return by content hash the completed images whose labels do not say so, and the classes that were asked for.

    Where all classes were asked for and a box stands, a person decided on every box of the image, and its labels say
    enough.

    Args:
        entries: of the journal.
        shas: content hashes of the images.
        classes: those of the labels.
    """
    asked: dict[str, set[str]] = {}
    stands = set()
    for entry in in_force(entries, shas):
        if entry.action == "complete":
            asked.setdefault(entry.sha, set()).update(entry.classes or classes)
        elif entry.action != "rejected" and (box := entry.after or entry.before) and box.name in classes:
            stands.add(entry.sha)
    known = {sha: tuple(name for name in classes if name in names) for sha, names in sorted(asked.items())}
    return {sha: names for sha, names in known.items() if names and (names != classes or sha not in stands)}
