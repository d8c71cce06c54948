"""The review journal: what people decided, append-only, one JSON object a line, keyed by image content.

It stands in ``<workspace>/journal/journal.jsonl`` and outlives every run, database and round of labels: an entry
names the image by its hash, the class by its name and the box by its pixels. What was said of an image when it was
shown a second time stands under a name of its own (:func:`second_look`), so that it never becomes a label. Appending is
idempotent and durable; a line that a kill cut short is told and passed over. Knows boxes and the disk; must not know
FiftyOne, nor what becomes of a table of labels (that is :mod:`da_kd.stages.review.overlay`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from da_kd.errors import DataError
from da_kd.events import Job

Action = Literal["accepted", "rejected", "relabelled", "moved", "added", "complete", "withdrawn"]
ACTIONS: tuple[Action, ...] = get_args(Action)
ELSEWHERE = "@elsewhere"  # the end of a data set's name for what was decided in another program


@dataclass(frozen=True)
class Box:
    """A class by name, a place ``x1, y1, x2, y2`` in pixels, and a score in [0, 1]."""

    name: str
    xyxy: tuple[float, float, float, float]
    score: float = 1.0


@dataclass(frozen=True)
class Entry:
    """One decision on one label, or on one image.

    Attributes:
        sha: content hash of the image.
        action: what was done; ``withdrawn`` takes an earlier entry for the same label back. ``complete`` is about the
            whole image: what people decided on are all of its objects.
        label_id: the label's id in ``dataset``; the latest entry for the two of them counts. For ``complete``, see
            :func:`image_id`.
        dataset: name of the review data set.
        before: what was there; None for an added box.
        after: what is there now; None for a rejected one.
        when: ISO 8601 time.
        who: the person's name on the machine.
        probability: of ``complete`` only: with what probability the image came into the audit, in (0, 1]; None where
            it is not part of one.
        classes: of ``complete`` only: the classes that the person was asked for; () in journals of earlier versions,
            and then all.
        draw: of ``complete`` only: the image's place in the audit, in the order of drawing, 0 first; None where it is
            not part of one, and in journals of earlier versions.
    """

    sha: str
    action: Action
    label_id: str
    dataset: str
    before: Box | None = None
    after: Box | None = None
    when: str = ""
    who: str = ""
    probability: float | None = None
    classes: tuple[str, ...] = ()
    draw: int | None = None

    @property
    def label(self) -> tuple[str, str]:
        """What the entry is about: the data set and the label in it."""
        return self.dataset, self.label_id

    @property
    def says(self) -> tuple[Any, ...]:
        """What the entry decides, without who, when, how sure a teacher was, and in which order images were drawn."""
        drawn = () if self.probability is None else (self.probability,)
        asked = (self.classes,) if self.classes else ()
        return self.action, self.after.name if self.after else "", self.after.xyxy if self.after else (), *drawn, *asked

    def as_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        before = self.before and {"class": self.before.name, "xyxy": self.before.xyxy, "score": self.before.score}
        after = self.after and {"class": self.after.name, "xyxy": self.after.xyxy}
        head = {"sha": self.sha, "action": self.action, "label_id": self.label_id, "dataset": self.dataset}
        drawn = {} if self.probability is None else {"probability": self.probability}
        drawn |= {} if self.draw is None else {"draw": self.draw}
        asked = {"classes": list(self.classes)} if self.classes else {}
        return {**head, "before": before, "after": after, "when": self.when, "who": self.who, **drawn, **asked}


def image_id(sha: str) -> str:
    """Return what stands for the label's id in an entry about a whole image."""
    return f"image:{sha}"


def second_look(sha: str) -> str:
    """Return what stands for an image's hash in entries about it that were made when it was shown a second time."""
    return f"again:{sha}"


def _entry(line: str) -> Entry:
    """Read one line; ValueError, KeyError or TypeError where it is none."""
    raw = json.loads(line)
    if raw["action"] not in ACTIONS:
        raise ValueError(raw["action"])
    return Entry(
        *(str(raw["sha"]), raw["action"], str(raw["label_id"]), str(raw["dataset"])),
        *(_box(raw["before"]), _box(raw["after"])),
        *(str(raw.get("when", "")), str(raw.get("who", ""))),
        None if raw.get("probability") is None else float(raw["probability"]),
        tuple(str(name) for name in raw.get("classes", ())),
        None if raw.get("draw") is None else int(raw["draw"]),
    )


def _box(raw: dict[str, Any] | None) -> Box | None:
    if raw is None:
        return None
    x1, y1, x2, y2 = (float(value) for value in raw["xyxy"])
    return Box(str(raw["class"]), (x1, y1, x2, y2), float(raw.get("score", 1.0)))


def path_of(workspace: Path) -> Path:
    """Return where the journal of a workspace stands."""
    return workspace / "journal" / "journal.jsonl"


def read(workspace: Path, job: Job | None = None) -> list[Entry]:
    """Return all entries in the order they were made; lines that cannot be read are counted in a warning.

    Raises:
        DataError: the file is there but cannot be opened.
    """
    path = path_of(workspace)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"The review journal {path} cannot be read ({error}).") from error
    entries, broken = [], []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            try:
                entries.append(_entry(line.decode()))
            except (ValueError, KeyError, TypeError, AttributeError):
                broken.append(number)
    if broken and job is not None:
        job.warn(
            f"{len(broken)} line(s) of the review journal {path} cannot be read and were passed over (line "
            f"{broken[0]}): a kill while it was written cuts a line short. Nothing that was confirmed is lost."
        )
    return entries


def append(workspace: Path, entries: Iterable[Entry]) -> int:
    """Add the entries that say something new of their label, and return how many.

    An entry equal to the latest of its label (data set, label, action, what came of it and its place in the audit) is
    passed over. When the function returns, the entries are on the disk.

    Raises:
        DataError: the journal cannot be written.
    """
    path = path_of(workspace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            latest = {entry.label: (entry.says, entry.draw) for entry in read(workspace)}
            new = []
            for entry in entries:
                if latest.get(entry.label) != (entry.says, entry.draw):
                    latest[entry.label] = entry.says, entry.draw
                    new.append(json.dumps(entry.as_json(), ensure_ascii=False) + "\n")
            if new:
                file.write((_mend(file) + "".join(new)).encode())
                file.flush()
                os.fsync(file.fileno())
                _sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"The review journal {path} cannot be written ({error}); make room or mend its rights."
        ) from error
    return len(new)


def _mend(file: Any) -> str:
    """Return what ends the last line, if a kill left it open."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file's name is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def in_force(entries: Iterable[Entry], shas: Iterable[str]) -> list[Entry]:
    """Return the entries that count for the images of these hashes: the latest of each label, in order.

    One that decides the same as the last of its label keeps that one's place.
    """
    wanted = set(shas) - {""}
    latest: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.sha in wanted:
            if entry.label in latest and latest[entry.label].says != entry.says:
                del latest[entry.label]
            latest[entry.label] = entry
    return [entry for entry in latest.values() if entry.action != "withdrawn"]


def digest(entries: Iterable[Entry], shas: Iterable[str]) -> str:
    """Return a hash of what people decided on these images, "" when that is nothing; who and when do not count."""
    said = in_force(entries, shas)
    if not said:
        return ""
    told = [(e.sha, *e.label, *e.says, e.before and (e.before.name, e.before.xyxy)) for e in said]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def complete(entries: Iterable[Entry], shas: Iterable[str]) -> dict[str, float | None]:
    """Return the images that people labelled completely, and with what probability the audit drew each (None: not).

    Where one image was completed more than once, an audit's word goes before any other, and a later before an earlier.
    """
    found: dict[str, float | None] = {}
    for entry in in_force(entries, shas):
        if entry.action == "complete" and (entry.probability is not None or entry.sha not in found):
            found[entry.sha] = entry.probability
    return found
