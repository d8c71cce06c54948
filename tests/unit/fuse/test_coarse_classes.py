"""A class that may be one of several, teachers of different classes, and words that mean the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Fuse, Recipe, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.classes import check_all_seen, class_map, hints

ROAD = ("car", "truck", "person")
COARSE = {"vehicle": ("car", "truck")}


def boxes(vocabulary, *rows):
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(vocabulary, array[:, :4], array[:, 4], array[:, 5].astype(int))


def said(vocabulary, found, names=("a.png",)):
    """Return what a teacher said; images that are not in ``found`` it could not read."""
    records = [ImageRecord(name, "", 99, 99, "" if name in found else "unreadable") for name in names]
    return table_of(vocabulary, records, {name: boxes(vocabulary, *rows) for name, rows in found.items()})


def fused(tables, classes=None, target=ROAD, config=Fuse()):  # noqa: B008 - frozen
    teachers = [Teacher(name=name, weights="w", classes=(classes or {}).get(name, {})) for name in tables]
    maps = {t.name: class_map(t.name, tables[t.name].vocabulary, target, t.classes) for t in teachers}
    return fuse.fuse(teachers, tables, maps, config, target, Job())


def rows_of(table):
    states = [State(state).name for state in table.state]
    return sorted(zip(table.xyxy[:, 0].tolist(), [table.vocabulary[k] for k in table.label], states, strict=True))


def test_a_coarse_class_is_uncertain_in_each_of_its_classes():
    table = fused({"t": said(("vehicle", "person"), {"a.png": [(0, 0, 20, 10, 0.9, 0), (50, 0, 60, 30, 0.8, 1)]})},
                  {"t": COARSE})  # fmt: skip
    assert rows_of(table) == [(0, "car", "UNCERTAIN"), (0, "truck", "UNCERTAIN"), (50, "person", "KEPT")]
    assert table.score.tolist() == pytest.approx([0.9, 0.9, 0.8])


def test_a_faint_coarse_box_is_dropped_as_any_other():
    table = fused({"t": said(("vehicle",), {"a.png": [(0, 0, 20, 10, 0.2, 0)]})}, {"t": COARSE},
                  config=Fuse(drop={"default": 0.1, "car": 0.3}))  # fmt: skip
    assert rows_of(table) == [(0, "car", "DROPPED"), (0, "truck", "UNCERTAIN")]


FINE = ("car", "truck", "person")


@pytest.mark.parametrize(
    ("fine", "left"),
    [
        ((0, 0, 20, 10, 0.9, 0), [(0, "car", "KEPT")]),  # it is a car, so it is no truck either
        ((0, 0, 20, 10, 0.9, 1), [(0, "truck", "KEPT")]),
        ((0, 0, 20, 10, 0.9, 2), [(0, "car", "UNCERTAIN"), (0, "person", "KEPT"), (0, "truck", "UNCERTAIN")]),
        ((0, 0, 9, 10, 0.9, 0), [(0, "car", "KEPT"), (0, "car", "UNCERTAIN"), (0, "truck", "UNCERTAIN")]),
        ((0, 0, 20, 10, 0.3, 0), [(0, "car", "UNCERTAIN"), (0, "car", "UNCERTAIN"), (0, "truck", "UNCERTAIN")]),
    ],
)
def test_a_coarse_box_goes_where_a_kept_box_says_what_it_is(fine, left):
    tables = {
        "coarse": said(("vehicle",), {"a.png": [(0, 0, 20, 10, 0.8, 0)]}),
        "fine": said(FINE, {"a.png": [fine]}),
    }
    for order in (tables, dict(reversed(tables.items()))):
        assert rows_of(fused(order, {"coarse": COARSE})) == left


def test_a_coarse_teacher_neither_raises_nor_lowers_a_score():
    fine = said(FINE, {"a.png": [(0, 0, 20, 10, 0.6, 0), (50, 0, 70, 10, 0.6, 1)]})
    coarse = said(("vehicle",), {"a.png": [(0, 0, 20, 10, 0.99, 0)]})
    alone, both = fused({"fine": fine}), fused({"fine": fine, "coarse": coarse}, {"coarse": COARSE})
    assert both.score.tolist() == alone.score.tolist()
    assert both.agreement.tolist() == [1, 1]
    lonely = fused({"fine": fine, "coarse": coarse}, {"coarse": COARSE}, config=Fuse(lonely="drop"))
    assert lonely.state.tolist() == [State.KEPT, State.KEPT]  # only one was able, so nobody was outvoted


def test_two_coarse_teachers_mark_a_place_once():
    tables = {
        "one": said(("vehicle",), {"a.png": [(0, 0, 20, 10, 0.8, 0)]}),
        "two": said(("vehicle",), {"a.png": [(1, 0, 20, 10, 0.7, 0), (50, 0, 70, 10, 0.7, 0)]}),
        "fine": said(FINE, {"a.png": []}),
    }
    table = fused(tables, {"one": COARSE, "two": COARSE})
    assert rows_of(table) == [(x, name, "UNCERTAIN") for x in (0, 50) for name in ("car", "truck")]
    assert sorted(table.agreement.tolist()) == [0.5, 0.5, 1, 1]  # of those that have such a class


def test_silence_of_a_coarse_teacher_is_an_answer():
    names = ("both.png", "coarse.png", "fine.png", "none.png")
    tables = {
        "coarse": said(("vehicle",), {"both.png": [], "coarse.png": []}, names),
        "fine": said(("car", "person"), {"both.png": [], "fine.png": []}, names),
    }
    searched = fused(tables, {"coarse": COARSE}).searched.tolist()
    assert searched == [[True, True, True], [True, True, False], [True, False, True], [False, False, False]]


def test_regions_lie_in_their_own_image_and_slice(monkeypatch):
    random, names = np.random.default_rng(0), tuple(f"{i:02}.png" for i in range(30))
    found = {name: [(x, 0, x + 10, 10, 0.8, i % 2) for x in random.integers(0, 80, i % 4)]
             for i, name in enumerate(names)}  # fmt: skip
    tables = {"t": said(("vehicle", "person"), found, names), "fine": said(FINE, dict.fromkeys(names, ()), names)}
    table = fused(tables, {"t": COARSE})
    monkeypatch.setattr("da_kd.stages.fuse.pool._SLICE", 7)
    order = random.permutation(len(names))
    again = fused({name: item.take(order) for name, item in tables.items()}, {"t": COARSE})
    wanted = table.take(order)
    for column in ("offsets", "xyxy", "score", "label", "state", "agreement"):
        assert getattr(again, column).tolist() == getattr(wanted, column).tolist()
    assert (np.diff(table.offsets) > 0).sum() > 10
    within = np.diff(table.score)[np.diff(table.image_index) == 0]
    assert (within <= 0).all()  # the best first, as ever


def test_a_coarse_class_does_not_count_as_seeing():
    maps = {"t": class_map("t", ("vehicle", "person"), ROAD, COARSE)}
    assert maps["t"].left_out == ()
    with pytest.raises(DataError, match=r"can tell the class 'car' from others.*\n.*'truck' from others"):
        check_all_seen(maps, ROAD)


@pytest.mark.parametrize("wrong", [["car"], [], ["car", "car"], ["car", 3], 3])
def test_a_list_names_two_classes_or_more(wrong):
    with pytest.raises(ValueError, match="expected a class, null, or a list of two or more different classes; found"):
        Teacher(name="t", weights="w", classes={"vehicle": wrong})


def test_a_list_names_classes_of_the_recipe():
    tree = {"schema": 1, "name": "r", "classes": list(ROAD), "data": {"target": {"path": "x"}},
            "teachers": [{"name": "t", "weights": "w", "classes": {"vehicle": ["car", "lorry"]}}]}  # fmt: skip
    with pytest.raises(ValueError, match=r"teachers\.t\.classes: .*found 'lorry'"):
        Recipe.model_validate(tree)


def test_the_student_learns_the_union_of_what_teachers_know():
    union, names = ("person", "car", "bicycle"), ("both.png", "left.png", "right.png", "none.png")
    person, car = (0, 0, 9, 9, 0.9, 0), (30, 0, 50, 9, 0.8, 1)
    tables = {
        "left": said(("person", "car"), {"both.png": [person, car], "left.png": [car]}, names),
        "right": said(("car", "bicycle"), {"both.png": [(30, 0, 50, 9, 0.6, 0)], "right.png": [(60, 0, 70, 9, 0.7, 1)]},
                      names),
    }  # fmt: skip
    table = fused(tables, target=union)
    assert table.searched.tolist() == [[True] * 3, [True, True, False], [False, True, True], [False] * 3]
    assert [table.vocabulary[k] for k in table.label] == ["person", "car", "car", "bicycle"]
    assert table.score.tolist() == pytest.approx([0.9, 0.7, 0.8, 0.7])  # only of a car both had a say
    assert table.agreement.tolist() == [1, 1, 1, 1]


def test_a_class_of_another_name_is_told_as_a_line_for_the_recipe():
    target = ("motorcycle", "dining table", "person")
    item = class_map("coco", ("motorbike", "diningtable", "person", "sofa"), target, {})
    with pytest.raises(DataError) as told:
        check_all_seen({"coco": item}, target)
    first, second = str(told.value).splitlines()
    assert "teachers.coco.classes: {motorbike: motorcycle}" in first
    assert "teachers.coco.classes: {diningtable: dining table}" in second
    assert class_map("coco", item.source, target, {}).index == (-1, -1, 2, -1)  # nothing was mapped by likeness


def test_a_class_that_another_teacher_sees_is_only_hinted_at():
    target = ("motorcycle", "car")
    maps = {
        "one": class_map("one", ("motorcycle", "car"), target, {}),
        "two": class_map("two", ("motorbike", "cars", "dog"), target, {"cars": "car"}),
    }
    check_all_seen(maps, target)
    assert hints(maps) == [
        "Teacher 'two': 'motorbike' goes nowhere; if it is 'motorcycle', add "
        "teachers.two.classes: {motorbike: motorcycle}"
    ]
    maps["two"] = dataclasses.replace(maps["two"], index=(0, 1, -1))
    assert hints(maps) == []


def test_names_that_yaml_would_misread_are_quoted():
    item = class_map("t", ("no",), ("No.",), {})
    assert hints({"t": item}) == ["Teacher 't': 'no' goes nowhere; if it is 'No.', add teachers.t.classes: {'no': No.}"]
