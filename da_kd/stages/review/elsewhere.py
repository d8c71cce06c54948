"""Labels that were reviewed in another program: out as a COCO file, and from one back into the journal.

What comes back is taken for complete: every image the file names was looked at, and its boxes are all there are of the
classes that the file has. Knows COCO files, tables and the journal; must not know FiftyOne.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da_kd.boxes import iou
from da_kd.data.coco import open_coco
from da_kd.data.export import write_coco, write_yolo
from da_kd.detections import Detections, DetectionTable, ImageRecord, State
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.stages.review import journal, overlay, snapshots
from da_kd.stages.review.compare import Label, Reviewed, compare
from da_kd.stages.review.copies import each_once
from da_kd.stages.review.decisions import user
from da_kd.stages.review.journal import Box, Entry
from da_kd.stages.review.overlay import SAME
from da_kd.stages.review.stage import ReviewInput, most_doubtful

SHOWN = (State.KEPT, State.UNCERTAIN)
MOVED = 1.0  # pixels; other programs round


def write_labels(given: ReviewInput, workspace: Path, place: Path, job: Job, most: int | None = None) -> int:
    """Write the labels, with what people decided so far, for another program; return how many boxes there are.

    A name that ends in ``.json`` becomes a COCO file with the boxes that are kept or uncertain, any other a YOLO data
    set with those that are kept. Of copies of an image the first is written.

    Args:
        given: the fused labels.
        workspace: holds the journal.
        place: what to write.
        job: where progress goes.
        most: how many images to write, those that are most worth a look and not done yet; None for all.

    Raises:
        DataError: the place cannot be written, or holds something.
    """
    if place.exists():
        raise DataError(f"Expected a new place to write labels to; {place} is there already. Name another one.")
    entries = journal.read(workspace, job)
    table = overlay.apply(each_once(given.table), entries, job)
    if most is not None:
        done = journal.complete(entries, table.sha)
        open_ = table.take([row for row, sha in enumerate(table.sha) if sha not in done])
        table = open_.take(most_doubtful(open_, most, given.fuse_iou))
    shown = table.pick_boxes(np.isin(table.state, SHOWN))
    if place.suffix == ".json":
        write_coco(shown, place)
    else:
        write_yolo(shown, given.root, place)
    return len(shown.xyxy)


def take_coco(given: ReviewInput, path: Path, workspace: Path, job: Job) -> int:
    """Write what was decided in another program into the journal; return how many entries are new.

    Boxes find the labels they came from by place: of the same class first, with an overlap of at least 0.5. A box that
    moved by no more than a pixel did not move. The labels are those that go out now, with what was decided in the App.
    Taking the same file again adds nothing, and another version of it what is different; what other files said of other
    classes stands. Of copies of an image the first counts.

    Raises:
        DataError: no such file, a mistake in it, or not one of its images is an image of this run.
    """
    source = open_coco(path, given.root)
    places = {(given.root / key).resolve(): row for row, key in enumerate(given.table.key)}
    rows = {key: places[at] for key in source.keys if (at := (source.root / key).resolve()) in places}
    if not rows or source.truth is None:
        raise DataError(f"Expected labels of this run's images in {path}; none of its images is one of {given.root}.")
    if len(rows) < len(source.keys):
        job.warn(f"{len(source.keys) - len(rows)} image(s) of {path.name} do not belong to this run and are left out.")
    asked = tuple(name for name in given.table.vocabulary if name in source.vocabulary)
    if not asked:
        raise DataError(
            f"Expected categories named like the classes {list(given.table.vocabulary)} in {path}; found "
            f"{list(source.vocabulary)}. Rename them."
        )
    first: dict[str, str] = {}
    for key, row in rows.items():
        first.setdefault(given.table.sha[row], key)
    rows = {key: rows[key] for key in first.values()}
    sizes = given.table.size
    records = [
        ImageRecord(key, given.table.sha[row], int(sizes[row, 0]), int(sizes[row, 1])) for key, row in rows.items()
    ]
    truth = source.truth(records)
    for text in truth.warnings:
        job.warn(text)
    name, when = f"{given.run}{journal.ELSEWHERE}", datetime.now(UTC).isoformat(timespec="seconds")
    found = truth.found()
    written = journal.in_force(journal.read(workspace, job), {given.table.sha[rows[key]] for key in found})
    mine = [entry for entry in written if entry.dataset == name]
    # Without what files said before, so that the same file says the same again.
    table = overlay.apply(given.table, [entry for entry in written if entry.dataset != name])
    images = [
        _reviewed(table, rows[key], boxes.pick(np.isin(states, SHOWN)), asked) for key, (boxes, states) in found.items()
    ]
    entries = _asked_before(compare(images, name, when, user()), mine)
    said = {entry.label for entry in entries}
    for old in mine:
        box = old.after or old.before
        if box is not None and box.name in asked and old.label not in said:
            entries.append(Entry(old.sha, "withdrawn", old.label_id, name, when=when, who=user()))
    count = journal.append(workspace, entries)
    snapshots.keep(given, workspace, job)
    return count


def _asked_before(entries: Sequence[Entry], mine: Sequence[Entry]) -> list[Entry]:
    """Return the entries, what they call complete also for the classes that earlier files did."""
    before = {entry.label: entry.classes for entry in mine if entry.action == "complete"}
    return [
        replace(entry, classes=tuple(dict.fromkeys([*before[entry.label], *entry.classes])))
        if before.get(entry.label)
        else entry
        for entry in entries
    ]


def _reviewed(table: DetectionTable, row: int, boxes: Detections, asked: tuple[str, ...]) -> Reviewed:
    """Return an image as it was and as it came back; a box that came back has the name of the label it was.

    Of a class that the file does not have nothing is known, so its boxes stay out of it.
    """
    own = np.arange(*table.offsets[row : row + 2])
    known = np.isin(np.array(table.vocabulary), asked)
    own = own[np.isin(table.state[own], SHOWN) & known[table.label[own]]]
    before = [_label(table.key[row], _box(table.vocabulary, table.label, table.xyxy, int(at))) for at in own]
    names = np.array([table.vocabulary[table.label[at]] for at in own], dtype=object)
    came = np.array([boxes.vocabulary[label] for label in boxes.label], dtype=object)
    overlap = iou(table.xyxy[own].astype(np.float64), boxes.xyxy.astype(np.float64))
    pairs = _pairs(overlap + (names[:, None] == came[None, :]), overlap >= SAME)
    after = []
    for at in range(len(boxes)):
        box = _box(boxes.vocabulary, boxes.label, boxes.xyxy, at)
        old = before[pairs[at]] if at in pairs else None
        if old is not None and np.abs(np.subtract(box.xyxy, old.box.xyxy)).max() <= MOVED:
            box = Box(box.name, old.box.xyxy)
        after.append(Label(old.id, box) if old else _label(table.key[row], box))
    return Reviewed(table.sha[row], tuple(before), tuple(after), complete=True, classes=asked)


def _label(key: str, box: Box) -> Label:
    """Return a label named by what it is: labels that are made anew later may stand in another order."""
    return Label(f"{key}:{box.name}:{list(box.xyxy)}", box)


def _pairs(worth: npt.NDArray[np.float64], allowed: npt.NDArray[np.bool_]) -> dict[int, int]:
    """Return for columns the row each belongs to, the best pairs first, each row and column once."""
    found: dict[int, int] = {}
    for flat in np.argsort(-worth, axis=None, kind="stable"):
        row, column = divmod(int(flat), worth.shape[1])
        if allowed[row, column] and column not in found and row not in found.values():
            found[column] = row
    return found


def _box(vocabulary: tuple[str, ...], label: npt.NDArray[np.int32], xyxy: npt.NDArray[np.float32], at: int) -> Box:
    x1, y1, x2, y2 = (float(value) for value in xyxy[at])
    return Box(vocabulary[label[at]], (x1, y1, x2, y2))
