"""Class maps, thresholds, and the table that fusion writes."""

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.errors import DataError
from da_kd.events import Event, Job
from da_kd.recipe import Fuse, Recipe, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.classes import check_all_seen, class_map
from da_kd.stages.fuse.thresholds import fixed

TARGET = ("RBC", "WBC")


def boxes(vocabulary, *rows):
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(vocabulary, array[:, :4], array[:, 4], array[:, 5].astype(int))


def test_classes_go_many_to_one_one_to_none_and_by_equal_names():
    mapping = class_map(
        "t", ("WBC", "red", "pale", "dirt", "blur"), TARGET, {"red": "RBC", "pale": "RBC", "dirt": None}
    )
    assert mapping.index == (1, 0, 0, -1, -1)
    assert mapping.able == (True, True)
    assert mapping.left_out == ("dirt", "blur")
    found = boxes(
        mapping.source,
        (0, 0, 10, 10, 0.5, 1),
        (1, 0, 11, 10, 0.9, 2),  # the same cell, called otherwise
        (40, 0, 50, 10, 0.4, 1),
        (0, 0, 10, 10, 0.3, 0),
        (0, 0, 10, 10, 0.8, 3),
    )
    mapped = mapping.apply(found)
    assert mapped.vocabulary == TARGET
    assert [TARGET[label] for label in mapped.label] == ["RBC", "RBC", "WBC"]
    assert mapped.score.tolist() == pytest.approx([0.9, 0.4, 0.3])
    assert len(mapping.apply(boxes(mapping.source))) == 0


def test_a_class_can_be_dropped_though_its_name_is_known():
    mapping = class_map("t", ("RBC", "WBC"), TARGET, {"WBC": None})
    assert mapping.able == (True, False)
    assert mapping.left_out == ("WBC",)


def test_duplicates_stay_where_no_classes_were_joined():
    mapping = class_map("t", ("RBC", "dirt"), TARGET, {})
    found = boxes(("RBC", "dirt"), (0, 0, 10, 10, 0.5, 0), (0, 0, 10, 10, 0.4, 0))
    assert len(mapping.apply(found)) == 2


def test_a_class_the_teacher_does_not_have_comes_with_the_nearest_one():
    told = r"teachers\.t\.classes maps 'rbcs', .* its classes \['rbc', 'wbc'\]; did you mean 'rbc'\?"
    with pytest.raises(DataError, match=told):
        class_map("t", ("rbc", "wbc"), TARGET, {"rbcs": "RBC"})


def test_all_other_classes_can_be_sent_to_one():
    assert class_map("t", ("RBC", "a", "b", "c"), TARGET, {"*": "WBC", "c": None}).index == (0, 1, 1, -1)


def test_a_class_nobody_sees_is_an_error_with_what_is_near():
    maps = {"t": class_map("t", ("RBC", "WBCs"), TARGET, {})}
    with pytest.raises(DataError, match=r"'WBC'; near it: WBCs\. .* add teachers\.t\.classes: {WBCs: WBC}; else leave"):
        check_all_seen(maps, TARGET)
    maps["u"] = class_map("u", ("white",), TARGET, {"white": "WBC"})
    check_all_seen(maps, TARGET)
    larger = (*TARGET, "zzz")
    maps = {"t": class_map("t", ("RBC", "WBCs"), larger, {}), "u": class_map("u", ("white",), larger, {"white": "WBC"})}
    with pytest.raises(DataError, match="they know RBC, WBCs, white; map one of these"):
        check_all_seen(maps, larger)


def test_a_box_is_kept_uncertain_or_dropped_by_its_class():
    config = Fuse(keep={"default": 0.5, "WBC": 0.25}, drop={"default": 0.125, "RBC": 0.25})
    rows = [(0, 0, 1, 1, score, label) for label in (0, 1) for score in (0.5, 0.49, 0.25, 0.24, 0.125, 0.12)]
    kept, unsure, dropped = State.KEPT, State.UNCERTAIN, State.DROPPED
    found = boxes(TARGET, *rows)
    states = fixed(config, TARGET).states(found.score, found.label)
    assert states.tolist() == [
        *(kept, unsure, unsure, dropped, dropped, dropped),
        *(kept, kept, kept, unsure, unsure, dropped),
    ]
    assert states.dtype == np.int8
    assert fuse.thresholds(config.keep, TARGET) == {"RBC": 0.5, "WBC": 0.25}


@pytest.fixture
def said():
    """Two teachers with vocabularies of their own; each could not read one image, and one image nobody could."""
    names = ("both.png", "left.png", "right.png", "none.png")

    def one(name, vocabulary, found, bad):
        records = [ImageRecord(key, "", 20, 20, "unreadable" if key in bad else "") for key in names]
        return table_of(vocabulary, records, found, teachers=(name,))

    first = {name: boxes(("red",), (0, 0, 10, 10, 0.8, 0)) for name in ("both.png", "left.png")}
    second = {name: boxes(TARGET, (0, 0, 10, 10, 0.4, 0)) for name in ("both.png", "right.png")}
    return {
        "one": one("one", ("red",), first, ("right.png", "none.png")),
        "two": one("two", TARGET, second, ("left.png", "none.png")),
    }


TEACHERS = (Teacher(name="one", weights="w", classes={"red": "RBC"}), Teacher(name="two", weights="w"))


@pytest.mark.parametrize("turned", [False, True])
def test_fusion_writes_what_every_teacher_said_of_every_image(said, tmp_path, turned):
    teachers = TEACHERS[::-1] if turned else TEACHERS
    fuse.run(teachers, said, Fuse(), TARGET, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.key == said["one"].key
    assert table.vocabulary == TARGET
    assert table.teachers == tuple(teacher.name for teacher in teachers)
    assert table.offsets.tolist() == [0, 1, 2, 3, 3]
    assert table.score.tolist() == pytest.approx([0.6, 0.8, 0.4])  # who could not read the image has no say
    assert table.state.tolist() == [State.KEPT, State.KEPT, State.UNCERTAIN]
    assert table.agreement.tolist() == [1, 1, 1]
    assert table.searched.tolist() == [[True, True], [True, False], [True, True], [False, False]]
    assert table.reason == ("", "", "", "unreadable")  # an image that one teacher read is no bad image
    order = [0, 1] if not turned else [1, 0]
    wanted = np.array([[0.8, 0.4], [0.8, np.nan], [np.nan, 0.4]], np.float32)
    assert np.array_equal(table.teacher_score[:, order], wanted, equal_nan=True)
    assert not table.protected.any()


def test_fusion_tells_what_went_nowhere_and_what_came_of_it(said, tmp_path):
    told: list[Event] = []
    teachers = (TEACHERS[0], Teacher(name="two", weights="w", classes={"RBC": None}))
    fuse.run(teachers, said, Fuse(keep={"default": 0.9}), TARGET, tmp_path, Job(told.append))
    notes = [event.text for event in told if event.kind == "note"]
    assert notes == [
        "Teacher 'two': classes that go nowhere: RBC.",
        "3 images: 0 boxes kept, 2 uncertain, 0 dropped.",  # nobody could read the fourth
    ]


def test_fusion_of_nothing_says_what_helps(said, tmp_path):
    told: list[Event] = []
    said = {name: table.pick_boxes(np.zeros(len(table.xyxy), bool)) for name, table in said.items()}
    fuse.run(TEACHERS, said, Fuse(), TARGET, tmp_path, Job(told.append))
    notes = [event.text for event in told if event.kind == "note"]
    assert notes[-2] == "3 images: 0 boxes kept, 0 uncertain, 0 dropped."
    assert notes[-1].startswith("The teachers found no box of the recipe's classes from 'predict.floor' on: train")


def test_predictions_of_different_images_are_refused(said, tmp_path):
    said["two"] = said["two"].take([1, 0, 2, 3])
    with pytest.raises(DataError, match="different images"):
        fuse.run(TEACHERS, said, Fuse(), TARGET, tmp_path, Job())


def many(count=40):
    """Two teachers of many images; the first joins two classes, and could not read every seventh image."""
    random = np.random.default_rng(0)
    records = [ImageRecord(f"{i:03}.png", f"{i:x}", 64, 48) for i in range(count)]

    def one(name, vocabulary, bad):
        found = {}
        for number, record in enumerate(records):
            if not bad or number % bad:
                corner = random.uniform(-8, 60, (int(random.integers(0, 30)), 2))
                xyxy = np.concatenate([corner, corner + random.uniform(4, 30, corner.shape)], axis=1)
                label = random.integers(0, len(vocabulary), len(corner))
                found[record.key] = Detections(vocabulary, xyxy, random.uniform(0, 1, len(corner)), label)
        return table_of(vocabulary, records, found, teachers=(name,))

    return {"one": one("one", ("red", "pale", "dirt"), 7), "two": one("two", TARGET, 0)}


def fused(said, config=Fuse(), turned=False, **changes):  # noqa: B008 - frozen
    teachers = (
        Teacher(name="one", weights="w", classes={"red": "RBC", "pale": "RBC"}),
        Teacher(name="two", weights="w", **changes),
    )
    maps = {t.name: class_map(t.name, said[t.name].vocabulary, TARGET, t.classes) for t in teachers}
    return fuse.fuse(teachers[::-1] if turned else teachers, said, maps, config, TARGET, Job())


COLUMNS = ("offsets", "xyxy", "score", "label", "state", "agreement", "searched")


@pytest.mark.parametrize("method", ["wbf", "nms", "soft_nms", "nmm"])
def test_neither_the_order_of_images_and_teachers_nor_the_slices_matter(method, monkeypatch):
    said, config = many(), Fuse(method=method, lonely="demote")
    table = fused(said, config)
    monkeypatch.setattr("da_kd.stages.fuse.pool._SLICE", 50)
    order = np.random.default_rng(1).permutation(len(table))
    again = fused({name: item.take(order) for name, item in said.items()}, config, turned=True)
    assert again.key == tuple(table.key[i] for i in order)
    wanted = table.take(order)
    for name in COLUMNS:
        assert getattr(again, name) == pytest.approx(getattr(wanted, name), abs=1e-4)
    assert np.array_equal(again.teacher_score[:, ::-1], wanted.teacher_score, equal_nan=True)


@pytest.mark.parametrize("method", ["wbf", "nms", "soft_nms", "nmm"])
def test_boxes_stay_inside_the_image(method):
    said = many()
    assert max((item.xyxy.max(axis=0)[2:] > (64, 48)).sum() for item in said.values()) == 2
    xyxy = fused(said, Fuse(method=method)).xyxy
    assert (xyxy >= 0).all()
    assert (xyxy <= (64, 48, 64, 48)).all()


def test_an_image_of_unknown_size_cuts_nothing():
    said = {"one": table_of(("RBC",), [ImageRecord("a", "", 0, 0)], {"a": boxes(("RBC",), (0, 0, 900, 9, 0.8, 0))})}
    teachers = (Teacher(name="one", weights="w"),)
    table = fuse.fuse(teachers, said, {"one": class_map("one", ("RBC",), ("RBC",), {})}, Fuse(), ("RBC",), Job())
    assert table.xyxy.tolist() == [[0, 0, 900, 9]]


def test_fusing_what_was_fused_changes_nothing():
    config = Fuse(method="nms")
    table = fused(many(), config)
    said = {"one": table, "two": table}
    teachers = tuple(Teacher(name=name, weights="w") for name in said)
    maps = {name: class_map(name, TARGET, TARGET, {}) for name in said}
    kept = table.pick_boxes(table.state == State.KEPT)
    again = fuse.fuse(teachers, said, maps, config, TARGET, Job())
    for name in ("offsets", "xyxy", "score", "label", "state"):
        assert getattr(again, name) == pytest.approx(getattr(kept, name), abs=1e-4)
    assert (again.agreement == 1).all()


def test_duplicates_go_only_in_the_class_that_others_were_joined_into():
    mapping = class_map("t", ("red", "pale", "WBC"), TARGET, {"red": "RBC", "pale": "RBC"})
    assert mapping.joined == (True, False)
    twice = [(0, 0, 10, 10, 0.5, label) for label in (0, 1, 2, 2)]
    assert mapping.apply(boxes(mapping.source, *twice)).label.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("keep", [State.KEPT, State.KEPT, State.UNCERTAIN, State.DROPPED]),
        ("demote", [State.KEPT, State.UNCERTAIN, State.UNCERTAIN, State.DROPPED]),
        ("drop", [State.KEPT, State.DROPPED, State.DROPPED, State.DROPPED]),
    ],
)
def test_a_box_that_one_of_several_able_teachers_saw_goes_by_its_own_rule(rule, wanted):
    record = [ImageRecord("a", "", 99, 99)]
    rows = [(0, 0, 10, 10, 0.9, 0), (30, 0, 40, 10, 0.8, 0), (60, 0, 70, 10, 0.3, 0), (80, 0, 90, 10, 0.05, 0)]
    said = {
        "one": table_of(TARGET, record, {"a": boxes(TARGET, *rows)}),
        "two": table_of(("RBC",), record, {"a": boxes(("RBC",), rows[0])}),
    }
    said["one"] = table_of(TARGET, record, {"a": boxes(TARGET, *rows, (0, 50, 9, 60, 0.7, 1))})
    teachers = tuple(Teacher(name=name, weights="w") for name in said)
    maps = {name: class_map(name, said[name].vocabulary, TARGET, {}) for name in said}
    table = fuse.fuse(teachers, said, maps, Fuse(method="nms", lonely=rule), TARGET, Job())
    red = table.label == 0
    assert table.state[red].tolist() == wanted
    assert table.state[~red].tolist() == [State.KEPT]  # nobody else could have seen a WBC


def test_a_teacher_can_weigh_more_in_one_class():
    record = [ImageRecord("a", "", 99, 99)]
    rows = [(0, 0, 10, 10, 0.8, 0), (30, 0, 40, 10, 0.8, 1)]
    said = {
        "one": table_of(TARGET, record, {"a": boxes(TARGET)}),
        "two": table_of(TARGET, record, {"a": boxes(TARGET, *rows)}),
    }
    teachers = (Teacher(name="one", weights="w"), Teacher(name="two", weights="w", class_weights={"WBC": 3}))
    maps = {name: class_map(name, TARGET, TARGET, {}) for name in said}
    table = fuse.fuse(teachers, said, maps, Fuse(), TARGET, Job())
    assert table.label.tolist() == [1, 0]
    assert table.score.tolist() == pytest.approx([0.6, 0.4])


def test_no_image_at_all_is_an_empty_table():
    said = {name: item.take([]) for name, item in many(3).items()}
    table = fused(said)
    assert (len(table), len(table.xyxy), table.searched.shape) == (0, 0, (0, 2))


def test_a_weight_for_a_class_the_recipe_does_not_have_is_a_mistake():
    teacher = {"name": "one", "weights": "w", "class_weights": {"WBCs": 2}}
    recipe = {"name": "r", "classes": ["RBC", "WBC"], "data": {"target": {"path": "x"}}, "teachers": [teacher]}
    with pytest.raises(ValueError, match=r"teachers\.one\.class_weights: .*found 'WBCs'"):
        Recipe.model_validate({"schema": 1, **recipe})
