"""Class maps, thresholds, and the table that fusion writes."""

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.errors import DataError
from da_kd.events import Event, Job
from da_kd.recipe import Fuse, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.classes import check_all_seen, class_map

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
    mapped = mapping.apply(found, 0.7)
    assert mapped.vocabulary == TARGET
    assert [TARGET[label] for label in mapped.label] == ["RBC", "RBC", "WBC"]
    assert mapped.score.tolist() == pytest.approx([0.9, 0.4, 0.3])
    assert len(mapping.apply(boxes(mapping.source), 0.7)) == 0


def test_a_class_can_be_dropped_though_its_name_is_known():
    mapping = class_map("t", ("RBC", "WBC"), TARGET, {"WBC": None})
    assert mapping.able == (True, False)
    assert mapping.left_out == ("WBC",)


def test_duplicates_stay_where_no_classes_were_joined():
    mapping = class_map("t", ("RBC", "dirt"), TARGET, {})
    found = boxes(("RBC", "dirt"), (0, 0, 10, 10, 0.5, 0), (0, 0, 10, 10, 0.4, 0))
    assert len(mapping.apply(found, 0.7)) == 2


def test_a_class_the_teacher_does_not_have_comes_with_the_nearest_one():
    told = r"teachers\.t\.classes maps 'rbcs', .* its classes \['rbc', 'wbc'\]; did you mean 'rbc'\?"
    with pytest.raises(DataError, match=told):
        class_map("t", ("rbc", "wbc"), TARGET, {"rbcs": "RBC"})


def test_all_other_classes_can_be_sent_to_one():
    assert class_map("t", ("RBC", "a", "b", "c"), TARGET, {"*": "WBC", "c": None}).index == (0, 1, 1, -1)


def test_a_class_nobody_sees_is_an_error_with_what_is_near():
    maps = {"t": class_map("t", ("RBC", "WBCs"), TARGET, {})}
    with pytest.raises(DataError, match=r"No teacher can see the class 'WBC'; near it: WBCs, RBC; map it"):
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
    assert fuse.states(boxes(TARGET, *rows), config).tolist() == [
        *(kept, unsure, unsure, dropped, dropped, dropped),
        *(kept, kept, kept, unsure, unsure, dropped),
    ]
    assert fuse.states(boxes(TARGET), config).dtype == np.int8
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
        "4 images: 0 boxes kept, 2 uncertain, 0 dropped.",
    ]


def test_predictions_of_different_images_are_refused(said, tmp_path):
    said["two"] = said["two"].take([1, 0, 2, 3])
    with pytest.raises(DataError, match="different images"):
        fuse.run(TEACHERS, said, Fuse(), TARGET, tmp_path, Job())
