"""The journal: durable, idempotent, forgiving to a line cut short; and what it makes of a table."""

import dataclasses
import json
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from da_kd.boxes import iou
from da_kd.detections import DetectionTable, State
from da_kd.events import Job
from da_kd.stages.review import journal, overlay
from da_kd.stages.review.compare import Label, Reviewed, compare
from da_kd.stages.review.journal import Box, Entry

NAMES = ("RBC", "WBC")


def entry(action="accepted", label="l1", before=None, after=None, sha="abc", dataset="cells@1", when="") -> Entry:
    box = Box("RBC", (10.0, 10.0, 30.0, 30.0), 0.5)
    before = None if action == "added" else before or box
    after = None if action == "rejected" else after or Box(box.name, box.xyxy)
    return Entry(sha, action, label, dataset, before, after, when, "me")


def table(*boxes, sha=("abc",), vocabulary=NAMES) -> DetectionTable:
    """One image of 1000 px a hash; ``boxes``: (image, name, xyxy, state)."""
    boxes = sorted(boxes, key=lambda box: box[0])
    count, images = len(boxes), len(sha)
    counts = np.bincount(np.array([box[0] for box in boxes], int), minlength=images)
    return DetectionTable(
        vocabulary=vocabulary,
        key=tuple(f"{i}.png" for i in range(images)),
        sha=tuple(sha),
        size=np.full((images, 2), 1000, np.int32),
        reason=("",) * images,
        searched=np.ones((images, len(vocabulary)), bool),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        xyxy=np.array([box[2] for box in boxes], np.float32).reshape(-1, 4),
        score=np.full(count, 0.5, np.float32),
        label=np.array([vocabulary.index(box[1]) for box in boxes], np.int32),
        state=np.array([box[3] for box in boxes], np.int8),
        agreement=np.full(count, 0.5, np.float32),
        protected=np.zeros(count, bool),
        teachers=("a", "b"),
        teacher_score=np.full((count, 2), 0.5, np.float32),
    )


def rows(result: DetectionTable) -> list:
    """(image, class, box, state, protected) of every box."""
    return [
        (int(i), result.vocabulary[c], tuple(map(float, b)), State(s), bool(p))
        for i, c, b, s, p in zip(
            result.image_index, result.label, result.xyxy, result.state, result.protected, strict=True
        )
    ]


class Told(Job):
    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__(lambda event: self.texts.append(event.text))


# ---- the file


def test_what_is_appended_is_read_back_exactly(tmp_path):
    x = float(np.float32(1 / 3))
    written = [
        entry(
            "accepted", before=Box("R\u00d6\n", (x, 0.1, 20.0, 30.0), 0.3), after=Box("R\u00d6\n", (x, 0.1, 20.0, 30.0))
        ),
        entry("rejected", "l2"),
        entry("added", "l3", when="2030-01-01"),
        entry("withdrawn", "l4"),
    ]
    assert journal.append(tmp_path, written) == 4
    assert journal.read(tmp_path) == written
    assert len((tmp_path / "journal/journal.jsonl").read_text().splitlines()) == 4
    raw = json.loads((tmp_path / "journal/journal.jsonl").read_text().splitlines()[1])
    assert raw["before"] == {"class": "RBC", "xyxy": [10, 10, 30, 30], "score": 0.5}
    assert raw["after"] is None


def test_the_same_twice_is_added_once_but_a_change_of_mind_is_kept(tmp_path):
    yes, no = entry("accepted"), entry("rejected")
    assert journal.append(tmp_path, [yes, yes]) == 1
    assert journal.append(tmp_path, [dataclasses.replace(yes, when="later", who="other")]) == 0
    assert journal.append(tmp_path, [no]) == 1
    assert journal.append(tmp_path, [yes]) == 1
    assert [e.action for e in journal.read(tmp_path)] == ["accepted", "rejected", "accepted"]
    assert [e.action for e in journal.in_force(journal.read(tmp_path), ["abc"])] == ["accepted"]
    assert journal.append(tmp_path, []) == 0


def test_a_line_cut_short_is_told_and_costs_nothing_else(tmp_path):
    journal.append(tmp_path, [entry(label="l1"), entry(label="l2")])
    path = journal.path_of(tmp_path)
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        job = Told()
        assert journal.read(tmp_path, job) == [entry(label="l1")]
        assert "line 2" in job.texts[0]
    assert journal.append(tmp_path, [entry(label="l2"), entry(label="l3")]) == 2
    assert journal.read(tmp_path) == [entry(label="l1"), entry(label="l2"), entry(label="l3")]


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path):
    journal.append(tmp_path, [entry()])
    path = journal.path_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert journal.append(tmp_path, [entry(), entry(label="l2")]) == 1
    assert journal.read(tmp_path) == [entry(), entry(label="l2")]


def test_rubbish_in_the_journal_is_passed_over(tmp_path):
    path = journal.path_of(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b'\xff\xfe\n[1]\n7\n{"sha": 1}\n{"action": "eaten"}\n\nnull\n')
    job = Told()
    assert journal.read(tmp_path, job) == []
    assert job.texts[0].startswith("6 line(s)")


def test_many_writers_at_once_lose_nothing_and_double_nothing(tmp_path):
    def write(number: int) -> None:
        for i in range(10):
            journal.append(tmp_path, [entry(label=f"own{number}-{i}"), entry(label=f"shared{i}")])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.read(tmp_path)) == 4 * 10 + 10


def test_the_digest_follows_what_is_in_force_on_the_images(tmp_path):
    assert journal.digest(journal.read(tmp_path), ["abc"]) == ""
    journal.append(tmp_path, [entry(when="1")])
    first = journal.digest(journal.read(tmp_path), ["abc", "other", ""])
    assert first
    assert first == journal.digest(journal.read(tmp_path), ["abc"])
    assert journal.digest(journal.read(tmp_path), ["other"]) == ""
    journal.append(tmp_path, [entry(label="elsewhere", sha="other")])
    assert journal.digest(journal.read(tmp_path), ["abc"]) == first
    journal.append(tmp_path, [entry("rejected")])
    assert journal.digest(journal.read(tmp_path), ["abc"]) not in ("", first)
    journal.append(tmp_path, [entry("withdrawn")])
    assert journal.digest(journal.read(tmp_path), ["abc"]) == ""


# ---- the table

SPOT, NEAR, FAR = (10, 10, 30, 30), (12, 10, 32, 30), (500, 500, 520, 520)


def test_no_entry_changes_nothing():
    given_ = table((0, "RBC", SPOT, 0), (0, "WBC", FAR, 1))
    assert rows(overlay.apply(given_, [])) == rows(given_)
    assert rows(overlay.apply(given_, [entry(sha="other")])) == rows(given_)


@pytest.mark.parametrize("state", list(State))
def test_accepted_is_kept_with_its_score(state):
    done = overlay.apply(table((0, "RBC", NEAR, state), (0, "WBC", SPOT, 1)), [entry("accepted")])
    assert rows(done) == [(0, "RBC", NEAR, State.KEPT, True), (0, "WBC", SPOT, State.UNCERTAIN, False)]
    assert done.score.tolist() == [0.5, 0.5]


def test_rejected_drops_the_best_match_only_and_later_equal_boxes_too():
    done = overlay.apply(table((0, "RBC", SPOT, 0), (0, "RBC", NEAR, 0), (0, "RBC", FAR, 0)), [entry("rejected")])
    assert [row[3:] for row in rows(done)] == [(State.DROPPED, True), (State.KEPT, False), (State.KEPT, False)]
    later = overlay.apply(table((0, "RBC", NEAR, 0)), [entry("rejected")])
    assert rows(later) == [(0, "RBC", NEAR, State.DROPPED, True)]
    assert rows(overlay.apply(table(), [entry("rejected")])) == []


@pytest.mark.parametrize("action", ["relabelled", "moved"])
def test_a_person_s_box_takes_the_place_of_the_teachers(action):
    after = Box("WBC", FAR) if action == "relabelled" else Box("RBC", FAR)
    done = overlay.apply(table((0, "RBC", NEAR, 1)), [entry(action, after=after)])
    assert rows(done) == [(0, after.name, FAR, State.KEPT, True)]
    assert done.score.tolist() == [1.0]
    # A later round sees it where the person put it: still one box.
    later = overlay.apply(table((0, after.name, FAR, 0)), [entry(action, after=after)])
    assert rows(later) == rows(done)


def test_added_is_added_once():
    added = entry("added", after=Box("RBC", FAR))
    done = overlay.apply(table((0, "RBC", SPOT, 0)), [added])
    assert rows(done) == [(0, "RBC", SPOT, State.KEPT, False), (0, "RBC", FAR, State.KEPT, True)]
    assert done.teacher_score.shape == (2, 2)
    assert np.isnan(done.teacher_score[1]).all()
    assert rows(overlay.apply(done, [added])) == rows(done)


def test_what_no_box_matches_is_added():
    done = overlay.apply(table(), [entry("accepted"), entry("moved", "l2", after=Box("RBC", FAR))])
    assert rows(done) == [(0, "RBC", SPOT, State.KEPT, True), (0, "RBC", FAR, State.KEPT, True)]
    assert done.score.tolist() == [0.5, 1.0]


def test_the_latest_word_on_a_label_counts_and_a_withdrawn_one_does_not():
    given_ = table((0, "RBC", SPOT, 1))
    assert rows(overlay.apply(given_, [entry("accepted"), entry("rejected")]))[0][3] == State.DROPPED
    assert rows(overlay.apply(given_, [entry("accepted"), entry("withdrawn")])) == rows(given_)


def test_rounds_follow_one_another():
    first = entry("relabelled", after=Box("WBC", SPOT))
    second = entry("rejected", "l9", before=Box("WBC", SPOT), dataset="cells-2@2")
    done = overlay.apply(table((0, "RBC", SPOT, 0)), [first, second])
    assert rows(done) == [(0, "WBC", SPOT, State.DROPPED, True)]


def test_the_same_picture_twice_and_unreadable_ones():
    given_ = table((0, "RBC", SPOT, 1), (2, "RBC", SPOT, 1), sha=("abc", "", "abc"))
    done = overlay.apply(given_, [entry("accepted"), entry("added", "l2", after=Box("WBC", FAR)), entry(sha="")])
    one = [("RBC", SPOT, State.KEPT, True), ("WBC", FAR, State.KEPT, True)]
    assert rows(done) == [(image, *row) for image in (0, 2) for row in one]


def test_classes_the_table_does_not_know_are_left_out_and_told():
    job = Told()
    entries = [
        entry(),
        entry("relabelled", "l2", after=Box("Blast", SPOT)),
        entry("rejected", "l3", before=Box("Odd", SPOT)),
    ]
    done = overlay.apply(table((0, "RBC", SPOT, 1)), entries, job)
    assert rows(done) == [(0, "RBC", SPOT, State.KEPT, True)]
    assert "2 decision(s)" in job.texts[0]
    assert "'Blast' (1), 'Odd' (1)" in job.texts[0]


cells = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(NAMES)), max_size=8, unique_by=lambda c: c[:2]
)
edits = st.sampled_from(["none", "accept", "reject", "relabel", "nudge"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), cells, cells)
def test_what_a_person_sees_is_what_the_labels_become(data, old, new):
    """Compare and apply together: boxes on a grid, edited at random, added where there is room."""

    def box(cell, nudge=0.0) -> tuple:
        return tuple(
            float(np.float32(v + nudge)) for v in (cell[0] * 100, cell[1] * 100, cell[0] * 100 + 40, cell[1] * 100 + 40)
        )

    states = [data.draw(st.sampled_from([State.KEPT, State.UNCERTAIN])) for _ in old]
    given_ = table(*((0, cell[2], box(cell), state) for cell, state in zip(old, states, strict=True)))
    before, after, wanted = [], [], set()
    for i, (cell, state) in enumerate(zip(old, states, strict=True)):
        label = Label(f"{i}", Box(cell[2], box(cell), 0.5))
        before.append(label)
        edit = data.draw(edits)
        name = NAMES[1 - NAMES.index(cell[2])] if edit == "relabel" else cell[2]
        place = box(cell, 7.3) if edit == "nudge" else box(cell)
        if edit != "reject":
            after.append(Label(f"{i}", Box(name, place, 0.5), frozenset({"accepted"} if edit == "accept" else ())))
        wanted.add(
            (
                0,
                name,
                place,
                State.DROPPED if edit == "reject" else state if edit == "none" else State.KEPT,
                edit != "none",
            )
        )
    for i, cell in enumerate(new):
        if cell[:2] not in [other[:2] for other in old]:
            after.append(Label(f"n{i}", Box(cell[2], box(cell))))
            wanted.add((0, cell[2], box(cell), State.KEPT, True))
    entries = compare([Reviewed("abc", tuple(before), tuple(after))], "cells@1")
    done = overlay.apply(given_, entries)
    assert set(rows(done)) == wanted
    assert len(done.xyxy) == len(wanted)
    assert set(rows(overlay.apply(done, entries))) == wanted  # laying it over twice changes nothing
    assert set(rows(overlay.apply(given_.pick_boxes(np.zeros(len(old), bool)), entries))) == {
        row for row in wanted if row[4] and row[3] == State.KEPT
    }


@given(st.integers(0, 2**32 - 1))
def test_every_entry_takes_a_box_of_its_own(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (6, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(5, 20, (6, 2))], axis=1).astype(np.float32)
    given_ = table(*((0, "RBC", tuple(map(float, box)), 0) for box in xyxy))
    shifted = (xyxy + rng.uniform(-2, 2, xyxy.shape)).astype(np.float32)
    entries = [
        entry("rejected", f"l{i}", before=Box("RBC", tuple(map(float, box))))
        for i, box in enumerate(shifted)
        if (box[2:] > box[:2]).all()
    ]
    done = overlay.apply(given_, entries)
    dropped = done.state == State.DROPPED
    assert dropped.sum() <= len(entries)
    overlap = iou(np.array([e.before.xyxy for e in entries]).reshape(-1, 4), xyxy.astype(float))
    assert (overlap.max(axis=0, initial=0)[dropped] >= overlay.SAME).all()


# ---- whole images


def done(probability=None, dataset="cells@1") -> Entry:
    name = journal.image_id("abc")
    return Entry("abc", "complete", name, dataset, when="now", who="me", probability=probability)


def test_in_an_image_that_is_done_nothing_else_stands_whatever_teachers_say_later():
    later = table((0, "RBC", SPOT, 0), (0, "WBC", FAR, 0), (0, "WBC", (200, 200, 220, 220), 2))
    box = Box("RBC", SPOT, 0.5)
    result = overlay.apply(later, [entry(before=box, after=box), done()])
    assert [(state, protected) for _, _, _, state, protected in rows(result)] == [
        (State.KEPT, True),
        (State.DROPPED, True),
        (State.IGNORED, False),  # a region nobody judges is not a box
    ]
    assert rows(overlay.apply(result, [entry(before=box, after=box), done()])) == rows(result)
    assert rows(overlay.apply(later, [done()]))[0][3:] == (State.DROPPED, True)
    withdrawn = Entry("abc", "withdrawn", journal.image_id("abc"), "cells@1")
    assert rows(overlay.apply(later, [done(), withdrawn])) == rows(later)


def test_a_class_that_is_searched_for_nowhere_was_searched_for_in_an_image_that_is_done():
    demoted = dataclasses.replace(
        table((0, "RBC", SPOT, 0), (1, "RBC", SPOT, 1), sha=("abc", "other")), searched=np.array([[False, True]] * 2)
    )
    assert overlay.apply(demoted, [done()]).searched.tolist() == [[True, True], [False, True]]
    fused_again = dataclasses.replace(demoted, xyxy=demoted.xyxy + 1)
    assert overlay.apply(fused_again, [done()]).searched.tolist() == [[True, True], [False, True]]


def test_a_class_that_the_person_was_not_asked_for_stays_as_it_was(tmp_path):
    asked = dataclasses.replace(done(), classes=("RBC",))
    journal.append(tmp_path, [asked])
    later = dataclasses.replace(table((0, "RBC", SPOT, 0), (0, "WBC", FAR, 0)), searched=np.zeros((1, 2), bool))
    result = overlay.apply(later, journal.read(tmp_path))
    assert [(state, protected) for *_, state, protected in rows(result)] == [
        (State.DROPPED, True),
        (State.KEPT, False),
    ]
    assert result.searched.tolist() == [[True, False]]


def test_the_chance_of_an_audited_image_is_kept_and_goes_before_other_words(tmp_path):
    assert journal.append(tmp_path, [done(), done(0.25, "cells@2"), done(None, "cells@3")]) == 3
    assert journal.append(tmp_path, [done(0.25, "cells@2")]) == 0
    assert journal.append(tmp_path, [done(0.5, "cells@2")]) == 1  # a larger audit
    assert journal.complete(journal.read(tmp_path), ["abc", "other"]) == {"abc": 0.5}


def test_marking_done_accepts_what_stands_untouched_and_nothing_that_does_not():
    a, b, c = (Label(name, Box("RBC", SPOT, 0.5)) for name in "abc")
    rejected = Label("b", b.box, frozenset({"rejected"}))
    image = Reviewed("abc", (a, b, c), (a, rejected), complete=True, probability=0.1, when="then")
    found = compare([image], "cells@1", "now", "me")
    assert [(e.label_id, e.action) for e in found] == [
        ("a", "accepted"),
        ("b", "rejected"),
        ("c", "rejected"),
        (journal.image_id("abc"), "complete"),
    ]
    assert found[-1].probability == 0.1
    assert {e.when for e in found} == {"then"}


def test_two_classes_in_one_place_are_a_conflict_only_where_a_person_said_one():
    both = table((0, "RBC", SPOT, 0), (0, "WBC", SPOT, 1), (0, "WBC", FAR, 0))
    assert overlay.conflicts(both) == []
    box = Box("RBC", SPOT, 0.5)
    (found,) = overlay.conflicts(overlay.apply(both, [entry(before=box, after=box)]))
    assert (found["image"], found["person"]["class"], found["teachers"]["class"]) == ("0.png", "RBC", "WBC")


def test_the_place_in_the_audit_is_kept_and_alone_changes_no_decision(tmp_path):
    journal.append(tmp_path, [entry(), done(0.25), entry(label="l2")])
    before = journal.digest(journal.read(tmp_path), ["abc"])
    placed = dataclasses.replace(done(0.25), draw=3)
    assert journal.append(tmp_path, [placed]) == 1  # an earlier version did not write it
    assert journal.append(tmp_path, [placed]) == 0
    found = journal.in_force(journal.read(tmp_path), ["abc"])
    assert [one.draw for one in found] == [None, 3, None]
    assert journal.digest(journal.read(tmp_path), ["abc"]) == before
    image = Reviewed("abc", (), (), complete=True, probability=0.25, draw=3)
    assert compare([image], "cells@1")[-1].draw == 3
