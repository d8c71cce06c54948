"""Edge matching: how boxes lie to the edges in the picture, at home and on the target, class by class.

A detector that is asked about other pictures ends its boxes elsewhere than the labels it learned from do: a little
wider, or cut short. Both show against the edges in the picture, with no label of the target. What does not show is how
those who label the target draw; a handful of its labels tells. Whether edges say anything about a class's boxes is
tried at home: an edge that is one is found in the same place when a label is made larger or smaller; where what is
found moves along, the class's boxes stay as they are. How much single boxes follow their own edges is what makes them
overlap the source's labels best. What is measured here is applied by ``teachers.edges``. Knows pictures, boxes and
labels; must not know how the detector was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from da_kd.boxes import Floats, IntArray, clip, iou
from da_kd.data import ImageSet, read_image, spread
from da_kd.detections import DetectionTable, Vocabulary
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.store import write_json
from da_kd.teachers import Teacher
from da_kd.teachers.batches import predict_images
from da_kd.teachers.edges import Habit, edge_ends, moved, whole_ends

IMAGES = 128  # of each set; where a median lies needs no more
SURE = 0.3  # score from which a box counts
FEWEST = 10  # boxes of a class that a median is read from
FEWEST_DRAWN = 3  # labels of the target likewise: their sides differ less than a detector's, and few are what there is
STEADY = 0.75  # how firmly edges must lie where they are: 1 is as in a drawing, in mere noise it is about 0.3
_OTHER = (0.08, -0.08)  # how much larger or smaller, at every side, labels are made to see whether edges stay
PULLS = (0.0, 0.25, 0.5)
_SAME = 0.5  # IoU from which a box is of a labelled object
_BATCH = 8

Index = Callable[[Vocabulary], Sequence[int]]
Pixels = npt.NDArray[np.uint8]


class _Match(NamedTuple):
    """A box of the teacher at home, and the label it fits.

    Attributes:
        said: (4,) the box, in pixels.
        truth: (4,) the label.
        ends: (4,) where the edges at the box's sides end.
        size: width and height of the image, in pixels.
    """

    said: Floats
    truth: Floats
    ends: Floats
    size: tuple[int, int]


@dataclass
class _Class:
    """What is seen of one class, picture by picture.

    Attributes:
        labels: (N, 4) where the edges at the source's labels end.
        drawn: (N, 4) likewise at labels of the target.
        firm: (N, 4) by how much they stay when a label is made larger or smaller: 1 entirely, 0 not at all.
        away: (N, 4) where they end at the teacher's boxes on the target.
        matched: its boxes at home.
    """

    labels: list[Floats] = field(default_factory=list)
    drawn: list[Floats] = field(default_factory=list)
    firm: list[Floats] = field(default_factory=list)
    away: list[Floats] = field(default_factory=list)
    matched: list[_Match] = field(default_factory=list)


def match_edges(
    at_home: Teacher,
    adapted: Teacher,
    home: ImageSet,
    target: ImageSet,
    index: Index,
    device: str,
    out: Path,
    job: Job,
    drawn: ImageSet | None = None,
) -> None:
    """Write ``edges.json`` into ``out``: by the teacher's own class names, what ``teachers.edges`` needs, and why.

    Args:
        at_home: the teacher as it was trained.
        adapted: the teacher as it answers on the target.
        home: labelled images of the source, best such as it did not learn from; 128 are looked at.
        target: target images; labels are not looked at. Likewise.
        index: says, for the teacher's classes, which of ``home``'s each is; -1 for none.
        device: where it runs.
        out: the output folder.
        job: where progress goes.
        drawn: labelled target images, in ``home``'s classes; boxes of classes that are among them end as these do, and
            not as the source's.

    Raises:
        DataError: an image cannot be read any more.
    """
    home, target = spread(home, IMAGES), spread(target, IMAGES)
    with at_home.open(device, SURE, _BATCH) as predictor:
        said_home = predict_images(predictor, home, "", _BATCH, job, "edges at home")
    with adapted.open(device, SURE, _BATCH) as predictor:
        said_away = predict_images(predictor, target, "", _BATCH, job, "edges on the target")
    names = said_away.vocabulary
    place = np.array(index(names), np.int64)
    seen = [_Class() for _ in names]
    for row, pixels in _pictures(home, job):
        _look_home(pixels, home.table, said_home, row, place, seen)
    for row, pixels in _pictures(target, job):
        _look_away(pixels, said_away, row, seen)
    if drawn is not None:
        drawn = spread(drawn, IMAGES)
        for row, pixels in _pictures(drawn, job):
            _look_drawn(pixels, drawn.table, row, place, seen)
    found = {name: figures for name, each in zip(names, seen, strict=True) if (figures := _judged(each)) is not None}
    for name in names:
        job.note(_sentence(name, found.get(name)))
    write_json(out / "edges.json", found)


def _pictures(images: ImageSet, job: Job) -> Iterator[tuple[int, Pixels]]:
    for row in range(len(images)):
        job.check()
        try:
            yield row, read_image(images.path(row))
        except DataError:
            continue  # *predict* counts and lists it


def _look_home(
    pixels: Pixels, labels: DetectionTable, said: DetectionTable, row: int, place: IntArray, seen: list[_Class]
) -> None:
    """Add what a labelled picture shows."""
    high, wide = pixels.shape[:2]
    truth, boxes = labels.at(row), said.at(row)
    known, found = truth.xyxy.astype(np.float64), boxes.xyxy.astype(np.float64)
    whole, ends = whole_ends(pixels, known)
    others = (
        edge_ends(pixels, moved(known[whole], np.full_like(ends, by), wide, high)) * (1 + 2 * by) for by in _OTHER
    )
    firm = [(ends - other) / by for other, by in zip(others, _OTHER, strict=True)]
    for own, name in enumerate(place):
        mine = truth.label[whole] == name
        seen[own].labels.append(ends[mine])
        seen[own].firm += [each[mine] for each in firm]
    overlap = iou(found, known) * (place[boxes.label][:, None] == truth.label[None, :])
    pairs = [
        (box, partner)
        for box, partner in enumerate(overlap.argmax(axis=1) if len(truth) else ())
        if overlap[box, partner] >= _SAME and overlap[:, partner].argmax() == box
    ]
    ends = edge_ends(pixels, found[[box for box, _ in pairs]])
    for (box, partner), end in zip(pairs, ends, strict=True):
        seen[boxes.label[box]].matched.append(_Match(found[box], known[partner], end, (wide, high)))


def _look_away(pixels: Pixels, said: DetectionTable, row: int, seen: list[_Class]) -> None:
    """Add what a picture of the target shows."""
    found = said.at(row)
    whole, ends = whole_ends(pixels, found.xyxy)
    for own, each in enumerate(seen):
        each.away.append(ends[found.label[whole] == own])


def _look_drawn(pixels: Pixels, labels: DetectionTable, row: int, place: IntArray, seen: list[_Class]) -> None:
    """Add what a labelled picture of the target shows."""
    truth = labels.at(row)
    whole, ends = whole_ends(pixels, truth.xyxy)
    for own, name in enumerate(place):
        seen[own].drawn.append(ends[truth.label[whole] == name])


def _judged(seen: _Class) -> dict[str, float] | None:
    """Return what was measured of a class and how far its boxes follow edges; None where too few were seen."""
    labels, firms, away = (_seen(each) for each in (seen.labels, seen.firm, seen.away))
    matched = [match for match in seen.matched if np.isfinite(match.ends).all()]
    if min(len(labels), len(firms), len(away), len(matched)) < FEWEST:
        return None
    home = np.stack([match.ends for match in matched])
    usual = Habit(float(np.median(labels)), float(np.median(home)), 0.0)
    fits = [_fit(matched, Habit(usual.home, usual.away, pull).shift(home)) for pull in PULLS]
    best, firm, drawn = int(np.argmax(fits)), float(np.median(firms)), _seen(seen.drawn)
    return {
        "home": float(np.median(drawn)) if len(drawn) >= FEWEST_DRAWN else usual.home,
        "at_home": usual.away,
        "away": float(np.median(away)),
        "pull": PULLS[best],
        "firm": firm,
        "follows": firm >= STEADY,
        "labels": len(labels),
        "labels_of_target": len(drawn) if len(drawn) >= FEWEST_DRAWN else 0,
        "boxes": len(away),
        "iou": _fit(matched, np.zeros_like(home)),
        "iou_moved": fits[best],
    }


def _seen(parts: Sequence[Floats]) -> Floats:
    """Return (N, 4) what was seen of all pictures, without boxes that are too small to see anything."""
    found: Floats = np.concatenate([np.zeros((0, 4)), *parts])
    return found[np.isfinite(found).all(axis=1)]


def _fit(matched: Sequence[_Match], shift: Floats) -> float:
    """Return the mean overlap of boxes, moved so, with the labels they belong to."""
    total = 0.0
    for match, by in zip(matched, shift, strict=True):
        box = clip(moved(match.said[None], by[None], *match.size), *match.size)
        total += float(iou(box, match.truth[None])[0, 0])
    return total / len(matched)


def _sentence(name: str, figures: dict[str, float] | None) -> str:
    if figures is None:
        return f"Too few boxes of '{name}' were found to compare with edges in the pictures; they stay as they are."
    if not figures["follows"]:
        return f"Edges in the pictures do not tell where boxes of '{name}' end; they stay as they are."
    habit = Habit(figures["home"], figures["away"], 0.0)
    change = 2 * float(habit.shift(np.array([habit.away]))[0])
    how = "wider and higher" if change > 0 else "less wide and high"
    count = figures["labels_of_target"]
    whose = f"{count:.0f} labels of the target" if count else "labels of the source"
    return f"Boxes of '{name}' become {abs(change):.1%} {how}, to end by the edges as {whose} do."
