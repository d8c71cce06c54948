"""What people decided, laid over a table of labels: every decision becomes a protected box. Pure; knows no disk.

A decision finds its box again by class and overlap, whatever the teachers say by now. Knows tables and the journal's
entries; must not know FiftyOne, nor where a journal stands.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray, iou
from da_kd.detections import DetectionTable, State
from da_kd.events import Job
from da_kd.stages.review.journal import Box, Entry, in_force

SAME = 0.5  # overlap from which a box of the journal and a box of a table are one object


def apply(table: DetectionTable, entries: Sequence[Entry], job: Job | None = None) -> DetectionTable:
    """Return the table with what people decided on its images in it, each decision protected.

    An entry finds its box by class and place: the best overlap of at least 0.5 with what was ``before``, else with what
    came ``after``, one box for one entry. Then

    * accepted: the box is kept, with its score;
    * rejected: the box is dropped;
    * relabelled, moved, added: the box is replaced by the person's, kept, with score 1;
    * complete: the classes that the person was asked for are searched for in this image, whatever became of them
      elsewhere, and every box of theirs that no decision is about is dropped: the person did not leave it standing.

    What finds no box is added, but for a rejection, which has nothing to do. Entries of classes the table does not know
    are left out and counted in a warning.
    """
    return _laid_over(table, entries, job).table()


def explained(table: DetectionTable, entries: Sequence[Entry]) -> tuple[DetectionTable, tuple[Entry | None, ...]]:
    """Return what :func:`apply` returns, and for each box the entry that decided on it; None where nobody did."""
    work = _laid_over(table, entries, None)
    return work.table(), work.origins()


def _laid_over(table: DetectionTable, entries: Sequence[Entry], job: Job | None) -> _Work:
    """Return the boxes of a table with the entries laid over them."""
    known = set(table.vocabulary)
    strange: Counter[str] = Counter()
    by_sha: dict[str, list[Entry]] = {}
    for entry in in_force(entries, table.sha):
        name = (entry.after or entry.before or Box("", (0, 0, 0, 0))).name
        if name in known or entry.action == "complete":
            by_sha.setdefault(entry.sha, []).append(entry)
        else:
            strange[name] += 1
    work = _Work(table, sum(len(by_sha.get(sha, ())) for sha in table.sha))
    for image, sha in enumerate(table.sha):
        # What one data set holds was one picture in front of the person: its entries never compete for a box.
        said = by_sha.get(sha, ())
        for _, group in groupby((e for e in said if e.action != "complete"), key=lambda entry: entry.dataset):
            work.decide(image, list(group))
        for entry in said:
            if entry.action == "complete":
                work.close(image, entry)
    if strange and job is not None:
        named = ", ".join(f"'{name}' ({count})" for name, count in sorted(strange.items()))
        job.warn(
            f"{sum(strange.values())} decision(s) of the review journal are about classes that this recipe does not "
            f"have: {named}. They stay in the journal and are left out here."
        )
    return work


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
        self._origin: dict[int, Entry] = {}
        self._searched = table.searched.copy()

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

    def close(self, image: int, entry: Entry) -> None:
        """Drop the boxes that nobody decided on, of the classes that were asked for; these were looked for."""
        asked = np.isin(np.array(self._table.vocabulary), list(entry.classes or self._table.vocabulary))
        self._searched[image] |= asked
        rows = np.array(self._rows.get(image, range(*self._table.offsets[image : image + 2])), np.int64)
        ignored = self._columns["state"][rows] == State.IGNORED
        rest = rows[~self._columns["protected"][rows] & ~ignored & asked[self._columns["label"][rows]]]
        self._columns["state"][rest] = State.DROPPED
        self._columns["protected"][rest] = True
        self._origin.update(dict.fromkeys(rest.tolist(), entry))

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
        self._origin[row] = entry
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
        image, order = self._image[: self._count], self._order()
        counts = np.bincount(image, minlength=len(self._table))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns: dict[str, Any] = {name: column[order] for name, column in self._columns.items()}
        return dataclasses.replace(self._table, offsets=offsets, searched=self._searched, **columns)

    def origins(self) -> tuple[Entry | None, ...]:
        """Return the entry that decided on each box of the result; of several, the last."""
        return tuple(self._origin.get(row) for row in self._order().tolist())

    def _order(self) -> IntArray:
        order: IntArray = np.argsort(self._image[: self._count], kind="stable")
        return order


def conflicts(table: DetectionTable) -> list[dict[str, Any]]:
    """Return where a teacher's box says another class of an object than a person did.

    That is every pair of a kept box that is protected and a kept or uncertain one that is not, of another class, that
    overlap by at least 0.5. Both stay in the table: two things can be in one place, and only a person can tell.

    Returns:
        for each pair, the image's key, the person's class and box, the teachers' class, box and score.
    """
    standing = np.isin(table.state, (State.KEPT, State.UNCERTAIN))
    persons = table.protected & (table.state == State.KEPT)
    found = []
    for image in np.unique(table.image_index[persons]):
        rows = np.arange(*table.offsets[image : image + 2])
        mine, theirs = rows[persons[rows]], rows[standing[rows] & ~table.protected[rows]]
        overlap = iou(table.xyxy[mine].astype(np.float64), table.xyxy[theirs].astype(np.float64))
        other = table.label[mine][:, None] != table.label[theirs][None, :]
        for i, j in np.argwhere((overlap >= SAME) & other):
            found.append(
                {
                    "image": table.key[image],
                    "person": _said(table, int(mine[i])),
                    "teachers": {**_said(table, int(theirs[j])), "score": float(table.score[theirs[j]])},
                }
            )
    return found


def _said(table: DetectionTable, row: int) -> dict[str, Any]:
    return {"class": table.vocabulary[table.label[row]], "xyxy": [float(value) for value in table.xyxy[row]]}
