"""A reviewer who knows the truth: what a review of so many boxes would be worth, in one order or another.

Goes through the images with held-back labels at hand and decides as a person would, who sometimes errs. The decisions
are entries as the journal has them, but they never go into a journal, since nobody made them. Pure functions of
tables; must not know a disk, nor FiftyOne.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray, iou
from da_kd.detections import Detections, DetectionTable, State
from da_kd.errors import DataError
from da_kd.merging.matching import inside
from da_kd.recipe import Simulate
from da_kd.stages.review.journal import Action, Box, Entry, image_id

DATASET = "simulated"
SAME_OBJECT = 0.5  # IoU from which a box shows an object
ANEW = 0.05  # the share of images by which more must be done before the order is made anew
FITS = 0.75  # IoU from which a reviewer leaves a box where it is


@dataclass(frozen=True)
class Simulated:
    """What a simulated reviewer did.

    Attributes:
        entries: the decisions, image by image in the order of work.
        boxes: how many boxes were looked at or added: what was spent of the budget.
        images: how many images were finished.
        unknown: how many images were passed over, since no truth is known of them.
    """

    entries: tuple[Entry, ...]
    boxes: int
    images: int
    unknown: int


Order = Callable[[Sequence[int], Sequence[Entry]], npt.ArrayLike]


def simulate(
    table: DetectionTable, truth: DetectionTable, order: npt.ArrayLike | Order, config: Simulate, seed: int
) -> Simulated:
    """Return what a reviewer decides who goes through the images in this order until the budget is spent.

    Every box that is kept or uncertain is looked at and accepted, moved, relabelled or rejected; then objects without a
    box are added. Each of these costs one unit. A reviewer who errs accepts what is wrong, rejects what is right, or
    overlooks what is missing (at no cost); what they do to an image does not depend on the order.

    Args:
        table: pseudo labels.
        truth: labels of at least some of the images, which are matched by content; classes that it was not searched for
            are left alone.
        order: image positions in ``table``; or what makes them of the positions that are done and of the entries so
            far, and is asked anew after every image at first, then as often as a twentieth more are done.
        config: budget and rate of errors.
        seed: of the errors.

    Raises:
        DataError: the vocabularies differ, or there is truth for none of the images.
    """
    if table.vocabulary != truth.vocabulary:
        raise DataError(f"Expected truth in the classes {list(table.vocabulary)}; found {list(truth.vocabulary)}.")
    rows = {
        sha: row for row, sha in enumerate(truth.sha) if sha and not truth.reason[row] and truth.searched[row].any()
    }
    known = {at for at, sha in enumerate(table.sha) if sha in rows and not table.reason[at]}
    if table.ok.any() and not known:
        raise DataError(
            "Expected truth for some of the target images, for the simulated reviewer to go by; found none. "
            "'data.target_labelled' must hold the same files as 'data.target'."
        )
    entries: list[Entry] = []
    done: list[int] = []
    left = config.budget
    for at in _in_turn(order, known, done, entries):
        if left <= 0:
            break
        decided = _review(table, truth, at, rows[table.sha[at]], config.error, seed)
        entries += decided[:left]
        if len(decided) <= left:
            done.append(at)
            asked = tuple(np.array(truth.vocabulary)[truth.searched[rows[table.sha[at]]]].tolist())
            entries.append(Entry(table.sha[at], "complete", image_id(table.sha[at]), DATASET, classes=asked))
        left -= min(len(decided), left)
    return Simulated(tuple(entries), config.budget - left, len(done), int(table.ok.sum()) - len(known))


def _in_turn(
    order: npt.ArrayLike | Order, known: set[int], done: Sequence[int], entries: Sequence[Entry]
) -> Iterator[int]:
    """Yield the images with truth in the order that holds when each of them is begun."""
    open_, asked = set(known), -1
    while open_:
        if asked < 0 or len(done) > asked * (1 + ANEW):
            places = np.asarray(order(done, entries) if callable(order) else order, np.int64).tolist()
            waiting, asked = iter([at for at in places if at in open_]), len(done)
        at = next(waiting, None)
        if at is None:
            return
        open_.remove(at)
        yield at


def random_order(table: DetectionTable, seed: int) -> IntArray:
    """Return all image positions in an order that the seed and their contents decide."""
    number = [zlib.crc32(f"order\n{seed}\n{sha}".encode()) for sha in table.sha]
    order: IntArray = np.argsort(number, kind="stable").astype(np.int64)
    return order


def _review(table: DetectionTable, truth: DetectionTable, at: int, row: int, error: float, seed: int) -> list[Entry]:
    """Return one decision for each box of an image, and for each object that is added, as far as the reviewer sees."""
    rng = np.random.default_rng([seed, zlib.crc32(table.sha[at].encode())])
    objects = truth.at(row)
    rows = np.arange(table.offsets[at], table.offsets[at + 1])
    state, label = table.state[rows], table.label[rows]
    rows = rows[np.isin(state, (State.KEPT, State.UNCERTAIN)) & ~table.protected[rows] & truth.searched[row][label]]
    boxes = Detections(table.vocabulary, table.xyxy[rows], table.score[rows], table.label[rows])
    meant = _objects_meant(boxes, objects)
    doubt = inside(truth.at(row, (State.IGNORED, State.UNCERTAIN)), boxes) & (meant < 0)
    entries = []
    for box in np.flatnonzero(~doubt).tolist():
        before = Box(table.vocabulary[boxes.label[box]], _sides(boxes.xyxy[box]), float(boxes.score[box]))
        entry = _decide(before, None if meant[box] < 0 else objects.pick(np.array([meant[box]])))
        entry = _err(entry) if rng.random() < error else entry
        entries.append(replace(entry, sha=table.sha[at], label_id=f"{table.sha[at]}:{rows[box]}"))
    for missing in sorted(set(range(len(objects))) - set(meant.tolist())):
        if rng.random() >= error and truth.searched[row][objects.label[missing]]:
            after = Box(table.vocabulary[objects.label[missing]], _sides(objects.xyxy[missing]))
            entries.append(Entry(table.sha[at], "added", f"{table.sha[at]}:+{missing}", DATASET, None, after))
    return entries


def _objects_meant(boxes: Detections, objects: Detections) -> IntArray:
    """Return (N,) which object each box shows, -1 for none: its own class first, then any; the best score chooses."""
    meant: IntArray = np.full(len(boxes), -1, np.int64)
    overlap = iou(boxes.xyxy, objects.xyxy)
    same = boxes.label[:, None] == objects.label[None, :]
    for fits in (np.where(same, overlap, 0.0), overlap.copy()):
        fits[:, meant[meant >= 0]] = 0.0
        for box in np.argsort(-boxes.score, kind="stable") if len(objects) else ():
            best = int(fits[box].argmax())
            if meant[box] < 0 and fits[box, best] >= SAME_OBJECT:
                meant[box] = best
                fits[:, best] = 0.0
    return meant


def _decide(before: Box, meant: Detections | None) -> Entry:
    """Return what a reviewer who knows does to a box that shows this object."""
    if meant is None:
        return Entry("", "rejected", "", DATASET, before, None)
    name, place = meant.vocabulary[meant.label[0]], _sides(meant.xyxy[0])
    if float(iou(np.array([before.xyxy]), np.array([place]))[0, 0]) >= FITS:
        place = before.xyxy
    action: Action = "relabelled" if name != before.name else "accepted" if place == before.xyxy else "moved"
    return Entry("", action, "", DATASET, before, Box(name, place))


def _err(entry: Entry) -> Entry:
    """Return what a reviewer does who gets this wrong: rejects a right box, accepts any other as it stands."""
    if entry.action == "accepted":
        return replace(entry, action="rejected", after=None)
    return replace(entry, action="accepted", after=entry.before)


def _sides(xyxy: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in xyxy)
    return x1, y1, x2, y2
