"""Labels made anew of fixed ones and the student's: what moves, what no student may touch, what stops a collapse."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.events import Event, Job, Note
from da_kd.recipe import Fuse, Refresh, Teacher
from da_kd.stages import fuse
from da_kd.stages.distill import mark_coarse
from da_kd.stages.distill.relabel import Relabel
from da_kd.stages.fuse.thresholds import Cuts
from da_kd.stages.review import completed, overlay
from da_kd.stages.review.journal import Box, Entry, image_id
from da_kd.training import Extra, mixed

NAMES = ("a", "b")
CUTS = Cuts((0.5, 0.5), (0.1, 0.1), (False, False), {})
HERE, THERE, FAR = [10, 10, 30, 30], [50, 50, 80, 80], [70, 5, 95, 25]
KEPT, UNCERTAIN, IGNORED, DROPPED = State


def table(*images: list[tuple], **columns) -> DetectionTable:
    """Return a table of images with boxes (place, score, class); all kept and searched unless said otherwise."""
    records = [ImageRecord(f"{number}.png", str(number), 100, 100) for number in range(len(images))]
    found = {}
    for record, boxes in zip(records, images, strict=True):
        places, scores, labels = zip(*boxes, strict=True) if boxes else ((), (), ())
        found[record.key] = Detections(NAMES, np.array(places, np.float32), scores, labels)
    made = table_of(NAMES, records, found)
    return dataclasses.replace(made, **{name: np.array(value) for name, value in columns.items()})


def relabel(fixed: DetectionTable, said: DetectionTable, events: list[Event] | None = None, **config) -> DetectionTable:
    return Relabel(Refresh(**config), CUTS, 0.55)(fixed, said, Job((events if events is not None else []).append))


def boxes(labels: DetectionTable) -> list[tuple]:
    columns = zip(labels.image_index, labels.xyxy.tolist(), labels.score, labels.label, labels.state, strict=True)
    return sorted((int(i), xyxy, round(float(score), 3), int(k), State(s)) for i, xyxy, score, k, s in columns)


def test_a_score_is_the_mean_of_both_voices_and_silence_counts_as_none() -> None:
    fixed = table([(HERE, 0.6, 0), (THERE, 0.4, 1)], state=[KEPT, UNCERTAIN])
    said = table([(THERE, 0.9, 1), (FAR, 0.9, 0)])
    assert boxes(relabel(fixed, said)) == [
        (0, HERE, 0.3, 0, UNCERTAIN),
        (0, THERE, 0.65, 1, KEPT),
        (0, FAR, 0.45, 0, UNCERTAIN),
    ]
    assert boxes(relabel(fixed, said, share=0.75)) == [
        (0, HERE, 0.15, 0, UNCERTAIN),
        (0, THERE, 0.775, 1, KEPT),
        (0, FAR, 0.675, 0, KEPT),
    ]
    assert [score for _, _, score, *_ in boxes(relabel(fixed, said, share=0.01))] == pytest.approx(
        [0.594, 0.405, 0.009]
    )


def test_a_dropped_box_that_the_student_sees_comes_back_where_both_say() -> None:
    fixed = table([(HERE, 0.08, 0)], state=[DROPPED])
    (box,) = boxes(relabel(fixed, table([([14, 10, 34, 30], 0.96, 0)])))
    assert box[2:] == (0.52, 0, KEPT)
    assert 13 < box[1][0] < 14  # the louder voice says where


def test_what_a_person_decided_is_never_touched() -> None:
    fixed = table(
        [(HERE, 0.3, 0), (THERE, 0.9, 1), (FAR, 0.3, 0)],
        [(HERE, 0.9, 0)],
        protected=[True, True, False, True],
        state=[KEPT, DROPPED, UNCERTAIN, DROPPED],
    )
    said = table([(HERE, 0.99, 1), (HERE, 0.99, 0), (THERE, 0.99, 1), (THERE, 0.98, 0)], [(THERE, 0.99, 0)])
    made = relabel(fixed, said, share=0.9)
    assert [row for row in boxes(made) if row[2] in (0.3, 0.9)] == [
        (0, HERE, 0.3, 0, KEPT),
        (0, THERE, 0.9, 1, DROPPED),
        (1, HERE, 0.9, 0, DROPPED),
    ]
    rest = [row for row in boxes(made) if row[2] not in (0.3, 0.9)]
    assert rest == [  # over a kept box, nothing; over a rejected one, another class; in a whole image, nothing
        (0, THERE, 0.882, 0, KEPT),
        (0, FAR, 0.03, 0, DROPPED),
    ]
    assert made.protected.sum() == 3


def test_what_nobody_searched_for_and_what_truth_ignores_stays() -> None:
    fixed = table([(HERE, 0.9, 0), (THERE, 0.9, 1)], searched=[[False, True]], state=[UNCERTAIN, IGNORED])
    made = relabel(fixed, table([(HERE, 0.99, 0), (FAR, 0.99, 0)]), share=0.9)
    assert boxes(made) == boxes(fixed)
    assert (made.searched == fixed.searched).all()


def many(count: int, score: float) -> list[tuple]:
    return [
        ([8 * n, 8 * label * 5, 8 * n + 6, 8 * label * 5 + 6], score, label) for n in range(count) for label in (0, 1)
    ]


def test_a_class_that_runs_away_keeps_its_fixed_labels() -> None:
    fixed = table(many(12, 0.6))
    only_a = [box for box in many(12, 0.9) if box[2] == 0]
    events: list[Event] = []
    made = relabel(fixed, table(only_a), events)
    (told,) = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
    assert told == "Class 'b' keeps its fixed labels: the student would leave 0 boxes where they hold 12."
    assert [row for row in boxes(made) if row[3] == 1] == [row for row in boxes(fixed) if row[3] == 1]
    assert {row[2] for row in boxes(made) if row[3] == 0} == {0.75}

    few = table([(HERE, 0.6, 0)])
    flood = [([8 * n, 60, 8 * n + 6, 66], 0.95, 0) for n in range(12)] + [
        ([8 * n, 80, 8 * n + 6, 86], 0.95, 0) for n in range(12)
    ]
    assert boxes(relabel(few, table(flood), share=0.9, exploded=2)) == boxes(few)
    assert len(boxes(relabel(few, table(flood), share=0.9))) == 25


def test_an_image_the_student_could_not_read_keeps_its_scores() -> None:
    fixed = table([(HERE, 0.6, 0)], [(HERE, 0.6, 0)])
    said = dataclasses.replace(
        table([(HERE, 0.8, 0)], []), reason=("", "cannot be read"), searched=np.array([[True, True], [False, False]])
    )
    assert [row[2] for row in boxes(relabel(fixed, said))] == pytest.approx([0.7, 0.6])


def test_thresholds_come_back_as_they_were_written_and_review_may_raise_them() -> None:
    cuts = Cuts((0.5, 0.8), (0.1, 0.2), (False, True), {})
    again = Cuts.from_json(cuts.as_json(NAMES), NAMES)
    assert again == cuts
    assert again.at_least(0.7).keep == (0.7, 0.8)
    assert again.at_least(0.7).drop == cuts.drop


def fused_marked(own: tuple[str, ...], given: dict, boxes: list[tuple]) -> DetectionTable:
    """Return labels of one teacher that knows both classes and one of classes ``own``, the coarse ones marked."""
    record = ImageRecord("0.png", "0", 100, 100)
    places, scores, labels = zip(*boxes, strict=True)
    said = {
        "fine": table([(THERE, 0.7, 0)]),
        "other": table_of(own, [record], {"0.png": Detections(own, np.array(places), scores, labels)}),
    }
    teachers = [Teacher(name="fine", weights="w"), Teacher(name="other", weights="w", classes=given)]
    maps = {t.name: fuse.class_map(t.name, said[t.name].vocabulary, NAMES, t.classes) for t in teachers}
    return mark_coarse(fuse.fuse(teachers, said, maps, Fuse(), NAMES, Job()), maps, CUTS)


def test_a_box_of_one_of_several_classes_is_never_kept_by_itself() -> None:
    given = {"any": ("a", "b")}
    fixed = fused_marked(("any",), given, [(HERE, 0.9, 0)])
    coarse = [(0, HERE, 0.9, 0, UNCERTAIN), (0, HERE, 0.9, 1, UNCERTAIN)]
    assert [row for row in boxes(fixed) if row[1] == HERE] == coarse
    truth = ImageSet(Path("/s"), dataclasses.replace(table([(HERE, 1.0, 0)]), key=("s.png",), sha=("s",)))
    both, _ = mixed(ImageSet(Path("/t"), fixed), [Extra("source", truth, 1.0)])  # forgets who said what
    for labels in (fixed, both.table.take([0])):
        made = boxes(relabel(labels, table([(THERE, 0.7, 0)]), share=0.3))
        assert [row for row in made if row[1] == HERE] == coarse
        assert [row for row in made if row[1] == THERE] == [(0, THERE, 0.7, 0, KEPT)]


def test_a_box_of_one_of_several_classes_does_not_raise_what_the_student_says() -> None:
    fixed = fused_marked(("any",), {"any": ("a", "b")}, [(HERE, 0.4, 0)])
    made = boxes(relabel(fixed, table([(THERE, 0.7, 0), (HERE, 0.9, 0)])))
    here = [(0.4, 0, UNCERTAIN), (0.4, 1, UNCERTAIN), (0.45, 0, UNCERTAIN)]
    assert [row[2:] for row in made if row[1] == HERE] == here


def test_who_has_the_class_and_the_coarse_one_is_heard_of_the_class_alone() -> None:
    fixed = fused_marked((*NAMES, "any"), {"any": NAMES}, [(HERE, 0.9, 2), (FAR, 0.8, 1), (THERE, 0.1, 0)])
    made = boxes(relabel(fixed, table([(FAR, 0.8, 1), (THERE, 0.9, 0)])))
    assert [row for row in made if row[1] == HERE] == [(0, HERE, 0.9, 0, UNCERTAIN), (0, HERE, 0.9, 1, UNCERTAIN)]
    assert [row[2:] for row in made if row[1] == FAR] == [(0.6, 1, KEPT)]
    assert [row[2:] for row in made if row[1] == THERE] == [(0.65, 0, KEPT)]


def done(number: int, *classes: str) -> Entry:
    return Entry(str(number), "complete", image_id(str(number)), "d", classes=classes)


def test_nothing_is_added_where_a_person_completed_an_empty_image() -> None:
    entries = [done(0), done(1, "a"), done(2)]
    fixed = overlay.apply(table([], [(THERE, 0.6, 1)], [(HERE, 0.6, 0)], []), entries)
    said = table(*[[(HERE, 0.9, 0), (FAR, 0.9, 1)]] * 4)
    rule = Relabel(Refresh(share=0.9), CUTS, 0.55, completed(entries, fixed.sha, NAMES))
    new = [(image, label) for image, _, _, label, state in boxes(rule(fixed, said, Job())) if state == KEPT]
    assert new == [(1, 1), (3, 0), (3, 1)]


@pytest.mark.parametrize(
    ("action", "name", "classes", "told"),
    [
        ("added", "a", (), {}),
        ("accepted", "b", NAMES, {}),
        ("added", "a", ("a",), {"0": ("a",)}),
        ("added", "other", (), {"0": NAMES}),
        ("rejected", "a", ("b", "a", "other"), {"0": NAMES}),
        ("added", "other", ("other",), {}),
        ("withdrawn", "a", (), {"0": NAMES}),
    ],
)
def test_an_image_is_named_where_its_labels_do_not_tell_that_it_is_complete(action, name, classes, told) -> None:
    box = Box(name, (1, 1, 9, 9))
    entries = [Entry("0", "added", "x", "d", None, box), Entry("0", action, "x", "d", box, box), done(0, *classes)]
    assert completed(entries, ["0", "1"], NAMES) == told
    assert completed(entries, ["1"], NAMES) == {}
