"""The review journal: what people decided, append-only, one JSON object a line, keyed by image content.

It stands in ``<workspace>/journal/journal.jsonl`` and outlives every run, database and round of labels: an entry
names the image by its hash, the class by its name and the box by its pixels. Appending is idempotent and durable; a
line that a kill cut short is told and passed over. Applied to a table, every decision becomes a protected box. Knows
tables and boxes; must not know FiftyOne, nor who draws.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from da_kd.boxes import iou
from da_kd.detections import DetectionTable, State
from da_kd.errors import DataError
from da_kd.events import Job

Action = Literal["accepted", "rejected", "relabelled", "moved", "added", "withdrawn"]
ACTIONS: tuple[Action, ...] = get_args(Action)
SAME = 0.5  # overlap from which a box of the journal and a box of a table are one object
SIDES = 4


@dataclass(frozen=True)
class Box:
    """A class by name, a place ``x1, y1, x2, y2`` in pixels, and a score in [0, 1]."""

    name: str
    xyxy: tuple[float, float, float, float]
    score: float = 1.0


@dataclass(frozen=True)
class Entry:
    """One decision on one label.

    Attributes:
        sha: content hash of the image.
        action: what was done; ``withdrawn`` takes an earlier entry for the same label back.
        label_id: the label's id in ``dataset``; the latest entry for the two of them counts.
        dataset: name of the review data set.
        before: what was there; None for an added box.
        after: what is there now; None for a rejected one.
        when: ISO 8601 time.
        who: the person's name on the machine.
    """

    sha: str
    action: Action
    label_id: str
    dataset: str
    before: Box | None = None
    after: Box | None = None
    when: str = ""
    who: str = ""

    @property
    def label(self) -> tuple[str, str]:
        """What the entry is about: the data set and the label in it."""
        return self.dataset, self.label_id

    @property
    def says(self) -> tuple[Action, str, tuple[float, ...]]:
        """What the entry decides, without who, when and how sure a teacher was."""
        return self.action, self.after.name if self.after else "", self.after.xyxy if self.after else ()

    def as_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        before = self.before and {"class": self.before.name, "xyxy": self.before.xyxy, "score": self.before.score}
        after = self.after and {"class": self.after.name, "xyxy": self.after.xyxy}
        head = {"sha": self.sha, "action": self.action, "label_id": self.label_id, "dataset": self.dataset}
        return {**head, "before": before, "after": after, "when": self.when, "who": self.who}


def _entry(line: str) -> Entry:
    """Read one line; ValueError, KeyError or TypeError where it is none."""
    raw = json.loads(line)
    if raw["action"] not in ACTIONS:
        raise ValueError(raw["action"])
    return Entry(
        *(str(raw["sha"]), raw["action"], str(raw["label_id"]), str(raw["dataset"])),
        *(_box(raw["before"]), _box(raw["after"])),
        *(str(raw.get("when", "")), str(raw.get("who", ""))),
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

    An entry equal to the latest of its label (data set, label, action and what came of it) is passed over. When the
    function returns, the entries are on the disk.

    Raises:
        DataError: the journal cannot be written.
    """
    path = path_of(workspace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            latest = {entry.label: entry.says for entry in read(workspace)}
            new = []
            for entry in entries:
                if latest.get(entry.label) != entry.says:
                    latest[entry.label] = entry.says
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
    """Return the entries that count for the images of these hashes: the latest of each label, in order."""
    wanted = set(shas) - {""}
    latest: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.sha in wanted:
            latest.pop(entry.label, None)
            latest[entry.label] = entry
    return [entry for entry in latest.values() if entry.action != "withdrawn"]


def digest(workspace: Path, shas: Iterable[str]) -> str:
    """Return a hash of what people decided on these images, "" when that is nothing; who and when do not count."""
    entries = in_force(read(workspace), shas)
    if not entries:
        return ""
    told = [(e.sha, *e.label, *e.says, e.before and (e.before.name, e.before.xyxy)) for e in entries]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def apply(table: DetectionTable, entries: Sequence[Entry], job: Job | None = None) -> DetectionTable:
    """Return the table with what people decided on its images in it, each decision protected.

    An entry finds its box by class and place: the best overlap of at least 0.5 with what was ``before``, else with what
    came ``after``, one box for one entry. Then

    * accepted: the box is kept, with its score;
    * rejected: the box is dropped;
    * relabelled, moved, added: the box is replaced by the person's, kept, with score 1.

    What finds no box is added, but for a rejection, which has nothing to do. Entries of classes the table does not know
    are left out and counted in a warning.
    """
    known = set(table.vocabulary)
    strange: Counter[str] = Counter()
    by_sha: dict[str, list[Entry]] = {}
    for entry in in_force(entries, table.sha):
        name = (entry.after or entry.before or Box("", (0, 0, 0, 0))).name
        if name in known:
            by_sha.setdefault(entry.sha, []).append(entry)
        else:
            strange[name] += 1
    work = _Work(table, sum(len(by_sha.get(sha, ())) for sha in table.sha))
    for image, sha in enumerate(table.sha):
        # What one data set holds was one picture in front of the person: its entries never compete for a box.
        for _, group in groupby(by_sha.get(sha, ()), key=lambda entry: entry.dataset):
            work.decide(image, list(group))
    if strange and job is not None:
        named = ", ".join(f"'{name}' ({count})" for name, count in sorted(strange.items()))
        job.warn(
            f"{sum(strange.values())} decision(s) of the review journal are about classes that this recipe does not "
            f"have: {named}. They stay in the journal and are left out here."
        )
    return work.table()


class _Work:
    """A table's boxes while decisions are laid over them; boxes added go behind the others until the end."""

    def __init__(self, table: DetectionTable, room: int) -> None:
        """Take a table, and how many boxes may be added at most."""
        self._table = table
        self._count = len(table.xyxy)
        self._columns: dict[str, npt.NDArray[Any]] = {}
        for name in ("xyxy", "score", "label", "state", "agreement", "protected", "teacher_score"):
            column = getattr(table, name)
            more = np.zeros((room, *column.shape[1:]), column.dtype)
            self._columns[name] = np.concatenate([column, more])
        self._image = np.concatenate([table.image_index, np.zeros(room, np.int64)])
        self._rows: dict[int, list[int]] = {}

    def decide(self, image: int, entries: Sequence[Entry]) -> None:
        """Lay the entries of one data set over the boxes of one image."""
        rows = self._rows.setdefault(image, list(range(*self._table.offsets[image : image + 2])))
        pairs = self._pairs(rows, entries)
        for index, entry in enumerate(entries):
            row = pairs.get(index)
            if row is None and entry.action != "rejected":
                row = self._new_row(image, entry)
            if row is not None:
                self._put(row, entry)

    def _pairs(self, rows: Sequence[int], entries: Sequence[Entry]) -> dict[int, int]:
        """Return the row each entry is about, best overlap first, and ``before`` before ``after``."""
        found: dict[int, int] = {}
        for side in ("before", "after"):
            boxes = {i: box for i, e in enumerate(entries) if i not in found and (box := getattr(e, side)) is not None}
            taken = set(found.values())
            free = [row for row in rows if row not in taken]
            if not boxes or not free:
                continue
            overlap = iou(
                np.array([box.xyxy for box in boxes.values()]), self._columns["xyxy"][free].astype(np.float64)
            )
            names = np.array([self._table.vocabulary[label] for label in self._columns["label"][free]])
            overlap[np.array([box.name for box in boxes.values()])[:, None] != names[None, :]] = 0
            for flat in np.argsort(-overlap, axis=None, kind="stable"):
                at, column = divmod(int(flat), len(free))
                if overlap[at, column] < SAME:
                    break
                index = list(boxes)[at]
                if index not in found and free[column] not in found.values():
                    found[index] = free[column]
        return found

    def _new_row(self, image: int, entry: Entry) -> int:
        """Add an empty box to an image and return its row; :meth:`_put` fills it."""
        row = self._count
        self._count += 1
        self._image[row] = image
        self._columns["agreement"][row] = 1.0
        self._columns["teacher_score"][row] = np.nan
        self._columns["score"][row] = entry.before.score if entry.action == "accepted" and entry.before else 1.0
        self._rows[image].append(row)
        if entry.action == "accepted":
            self._place(row, entry.before or entry.after)
        return row

    def _put(self, row: int, entry: Entry) -> None:
        """Write a decision into a row."""
        self._columns["state"][row] = State.DROPPED if entry.action == "rejected" else State.KEPT
        self._columns["protected"][row] = True
        if entry.action in ("relabelled", "moved", "added"):
            self._place(row, entry.after)
            self._columns["score"][row] = 1.0

    def _place(self, row: int, box: Box | None) -> None:
        assert box is not None  # noqa: S101
        self._columns["xyxy"][row] = box.xyxy
        self._columns["label"][row] = self._table.vocabulary.index(box.name)

    def table(self) -> DetectionTable:
        """Return the result, boxes in the order of images."""
        image = self._image[: self._count]
        order = np.argsort(image, kind="stable")
        counts = np.bincount(image, minlength=len(self._table))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns: dict[str, Any] = {name: column[order] for name, column in self._columns.items()}
        return dataclasses.replace(self._table, offsets=offsets, **columns)
