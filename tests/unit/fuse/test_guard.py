"""The guard: what it calls broken, what becomes of a class that collapsed, and what is written."""

import dataclasses
import json

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.errors import DataError
from da_kd.events import Event, Job
from da_kd.recipe import Fuse, Guard, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.guard import Home, demote, guard, judge
from da_kd.stages.fuse.guard_figures import count_boxes
from da_kd.stages.fuse.sample import Sample

NAMES = ("RBC", "WBC", "Platelets")
USUAL = (4, 1, 2)  # objects of each class in an image
IMAGES = 20


def said(counts=USUAL, score=0.9, images=IMAGES, doubtful=0, vocabulary=NAMES):
    """What a teacher says of images: so many boxes of each class, all at their places, and some at a low score."""
    label = np.repeat(np.arange(len(counts)), counts)
    label, low = np.concatenate([label, np.zeros(doubtful, int)]), len(label)
    corner = 20.0 * np.arange(len(label))[:, None] * [1, 0]
    scores = np.where(np.arange(len(label)) < low, score, 0.2)
    boxes = Detections(vocabulary, np.concatenate([corner, corner + 10], axis=1), scores, label)
    records = [ImageRecord(f"{i:03}", f"{i:x}", 2000, 100) for i in range(images)]
    return table_of(vocabulary, records, {record.key: boxes for record in records})


def labels(*args, **kwargs):
    """The same as pseudo labels: what scores below 0.5 is uncertain."""
    table = said(*args, **kwargs)
    return dataclasses.replace(table, state=np.where(table.score < 0.5, State.UNCERTAIN, State.KEPT).astype(np.int8))


def home(truth=USUAL, images=IMAGES, **kwargs):
    return Home(
        Sample("source_val", said(truth, score=1.0, images=images), {}, held_out=True), labels(images=images, **kwargs)
    )


def fates(verdict):
    return {item.name: item.verdict for item in verdict.classes}


@pytest.mark.parametrize("counts", [USUAL, (2, 1, 1), (12, 3, 6), (4, 2, 1)])
def test_other_numbers_of_objects_are_no_alarm(counts):
    verdict = judge(labels(counts), home(), Guard())
    assert (verdict.verdict, verdict.reasons, verdict.compared_with) == ("fine", (), "source_val")
    assert set(fates(verdict).values()) == {"fine"}


def test_a_class_that_is_no_longer_seen_is_lost_and_the_others_are_not():
    verdict = judge(labels((4, 1, 0)), home(), Guard())
    assert fates(verdict) == {"RBC": "fine", "WBC": "fine", "Platelets": "lost"}
    assert verdict.verdict == "fine"
    assert verdict.classes[2].reason == "0 kept boxes an image; at home 2 where there are 2 objects"


def test_a_class_the_teachers_do_not_even_see_at_home_is_lost():
    assert fates(judge(labels((4, 1, 0)), home(counts=(4, 1, 0)), Guard()))["Platelets"] == "lost"


def test_a_class_found_everywhere_is_exploded():
    verdict = judge(labels((4, 1, 21)), home(), Guard())
    assert fates(verdict) == {"RBC": "fine", "WBC": "fine", "Platelets": "exploded"}
    assert judge(labels((4, 1, 20)), home(), Guard()).classes[2].verdict == "fine"


def test_few_expected_objects_say_nothing():
    few = judge(labels((4, 1, 0), images=4), home(), Guard())
    assert fates(few) == {"RBC": "fine", "WBC": "unknown", "Platelets": "unknown"}
    unlabelled = judge(labels((4, 1, 0)), home(truth=(4, 1, 0)), Guard())
    assert fates(unlabelled)["Platelets"] == "unknown"


@pytest.mark.parametrize(
    ("target", "at_home", "reason"),
    [
        (labels((2, 0, 0)), home(), "an image has 2 kept boxes, and 7 at home"),
        (labels((71, 0, 0)), home(), "an image has 71 kept boxes, and no more than 7 at home"),
        (labels(doubtful=70), home(doubtful=3), "keep 9.1% of what they see, and 70.0% at home"),
        (labels(), home(counts=(0, 4, 1)), "their F1 is 0.00: look at thresholds and class maps"),
        (labels((0, 0, 0)), None, "100% of the images have no kept box"),
    ],
)
def test_a_set_that_looks_broken_is_told_with_its_reason(target, at_home, reason):
    told: list[Event] = []
    counted = count_boxes(target), target.vocabulary
    verdict = guard(*counted, at_home, Guard(demote=False), Job(told.append))
    assert verdict.verdict == "broken"
    assert reason in told[0].text
    with pytest.raises(DataError, match=r"labels look broken: .*'fuse.guard.mode: warn' goes on"):
        guard(*counted, at_home, Guard(mode="refuse"), Job())


@pytest.mark.parametrize("at_home", [None, home(images=9)])
def test_without_a_home_classes_are_not_judged(at_home):
    verdict = judge(labels((4, 1, 0)), at_home, Guard())
    assert (verdict.verdict, verdict.compared_with) == ("fine", None)
    assert set(fates(verdict).values()) == {"unknown"}


def test_a_lost_class_is_not_searched_for_and_its_few_boxes_are_doubted():
    table = labels((4, 1, 1))
    alone = np.flatnonzero(table.label == 2)[1:]
    table = table.pick_boxes(~np.isin(np.arange(len(table.label)), alone))
    told: list[Event] = []
    verdict = guard(count_boxes(table), NAMES, home(), Guard(), Job(told.append))
    after, again = demote(table, verdict)
    assert verdict.demoted == again.demoted == ("Platelets",)
    assert after.searched.all(axis=0).tolist() == [True, True, False]
    assert not after.searched[:, 2].any()
    assert np.array_equal(after.state == State.UNCERTAIN, table.label == 2)
    assert [event.text for event in told] == [
        "Class 'Platelets' is lost: 0.05 kept boxes an image; at home 2 where there are 2 objects; "
        "it is no longer searched for. Review it first."
    ]


def test_an_exploded_class_is_doubted_but_for_what_a_person_did():
    table = labels((4, 1, 40))
    mine = np.arange(len(table.label)) == 10
    table = dataclasses.replace(table, protected=mine)
    after, verdict = demote(table, judge(table, home(), Guard()))
    assert verdict.demoted == ("Platelets",)
    assert not after.searched[:, 2].any()
    doubted = after.state == State.UNCERTAIN
    assert np.array_equal(doubted, (table.label == 2) & ~mine)


def test_nothing_is_demoted_where_the_recipe_does_not_want_it():
    told: list[Event] = []
    table = labels((4, 1, 0))
    verdict = guard(count_boxes(table), NAMES, home(), Guard(demote=False), Job(told.append))
    assert verdict.demoted == ()
    assert "silence about it will teach" in told[0].text


TEACHERS = (Teacher(name="one", weights="w"),)


def run(out, config, counts, truth=USUAL):
    sample = Sample("source", said(truth, score=1.0), {"one": said()}, held_out=False)
    told: list[Event] = []
    fuse.run(TEACHERS, {"one": said(counts)}, config, NAMES, out, Job(told.append), {"source": sample})
    return [event.text for event in told if event.kind == "note" and event.level == "warning"]


def test_the_stage_writes_the_verdict_and_demotes(tmp_path):
    assert len(run(tmp_path, Fuse(), (4, 1, 0))) == 1
    found = fuse.read_verdict(tmp_path)
    assert found == json.loads((tmp_path / "guard.json").read_text())
    assert (found["compared_with"], found["verdict"], found["demoted"]) == ("source", "fine", ["Platelets"])
    assert found["classes"][2]["rate"] == {"source": 2.0, "target": 0.0}
    assert read_table(tmp_path / "labels.parquet").searched.any(axis=0).tolist() == [True, True, False]


def test_a_guard_that_is_off_leaves_everything_as_it_was(tmp_path):
    assert run(tmp_path, Fuse(guard=Guard(mode="off")), (4, 1, 0)) == []
    assert fuse.read_verdict(tmp_path) is None
    assert read_table(tmp_path / "labels.parquet").searched.all()


def test_refused_labels_are_not_written(tmp_path):
    with pytest.raises(DataError, match="look broken"):
        run(tmp_path, Fuse(guard=Guard(mode="refuse")), (0, 0, 0))
    assert not (tmp_path / "labels.parquet").exists()


def test_a_verdict_that_is_damaged_is_an_error(tmp_path):
    (tmp_path / "guard.json").write_text("{")
    with pytest.raises(DataError, match="fuse again"):
        fuse.read_verdict(tmp_path)
