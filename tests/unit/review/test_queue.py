"""The order of the review: reasons for doubt, what an image is worth, near-duplicates and saved views."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import DetectionTable, State
from da_kd.stages.review.guide import views
from da_kd.stages.review.queue import BOX_KINDS, build_queue, learned, queue_of, weigh

NAMES = ("RBC", "WBC")
PLACE = (10.0, 10.0, 50.0, 50.0)
ASIDE = (300.0, 10.0, 340.0, 50.0)
FAR = (200.0, 200.0, 240.0, 240.0)


def table(*images, teachers=("a", "b"), **columns) -> DetectionTable:
    """Images of boxes (name, xyxy, score, state, who saw it)."""
    boxes = [box for image in images for box in image]
    count = len(boxes)
    saw = np.full((count, len(teachers)), np.nan, np.float32)
    for row, box in enumerate(boxes):
        for teacher in box[4]:
            saw[row, teachers.index(teacher)] = box[2]
    made = DetectionTable(
        vocabulary=NAMES,
        key=tuple(f"{i}.png" for i in range(len(images))),
        sha=tuple(f"sha{i}" for i in range(len(images))),
        size=np.full((len(images), 2), 400, np.int32),
        reason=("",) * len(images),
        searched=np.ones((len(images), 2), bool),
        offsets=np.concatenate([[0], np.cumsum([len(image) for image in images])]).astype(np.int64),
        xyxy=np.array([box[1] for box in boxes], np.float32).reshape(-1, 4),
        score=np.array([box[2] for box in boxes], np.float32),
        label=np.array([NAMES.index(box[0]) for box in boxes], np.int32),
        state=np.array([box[3] for box in boxes], np.int8),
        agreement=(~np.isnan(saw)).mean(axis=1).astype(np.float32) if count else np.zeros(0, np.float32),
        protected=np.zeros(count, bool),
        teachers=teachers,
        teacher_score=saw,
    )
    return dataclasses.replace(made, **columns)


def sure(name="RBC", xyxy=PLACE, score=0.95, state=State.KEPT, saw="ab"):
    return (name, xyxy, score, state, saw)


def filler(count=8):
    """Images that make both classes common, and their least kept score 0.5."""
    return [[sure(), sure("WBC", FAR), sure(xyxy=ASIDE, score=0.5)] for _ in range(count)]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([sure(saw="a")], "one teacher alone"),
        ([sure(saw="a"), sure(xyxy=(25.0, 10.0, 65.0, 50.0), saw="b")], "teachers differ in place"),
        ([sure(saw="a"), sure("WBC", saw="b")], "teachers differ in class"),
        ([sure(), sure("WBC")], "two classes in one place"),
        ([sure(score=0.3, state=State.UNCERTAIN)], "uncertain score"),
        ([sure(score=0.55)], "uncertain score"),
    ],
)
def test_a_doubtful_box_is_told_with_its_reason(boxes, reason):
    queue = build_queue(table(boxes, *filler()))
    assert set(queue.box_why[: len(boxes)]) == {reason}
    assert queue.why[0].startswith(reason)


@pytest.mark.parametrize(
    "boxes",
    [
        [sure()],
        [sure(), sure(xyxy=FAR)],
        [sure(saw="ab"), sure(xyxy=(25.0, 10.0, 65.0, 50.0), saw="ab")],  # each of both: two objects that touch
        [sure(score=0.3, state=State.DROPPED, saw="a")],
    ],
)
def test_a_box_without_doubt_has_no_reason(boxes):
    assert set(build_queue(table(boxes, *filler())).box_why[: len(boxes)]) == {""}


def test_teachers_disagreeing_comes_before_their_agreeing():
    queue = build_queue(table([sure()], [sure(saw="a")], [sure(saw="a"), sure("WBC", saw="b")], *filler()))
    place = {image: rank for rank, image in enumerate(queue.order.tolist())}
    assert place[2] < place[1] < place[0]
    assert queue.worth[2] > queue.worth[1] > queue.worth[0] > 0


def test_what_a_person_decided_is_not_worth_looking_at_again():
    given = table([sure(score=0.3, state=State.UNCERTAIN)], [sure()], *filler())
    queue = build_queue(dataclasses.replace(given, protected=np.arange(len(given.xyxy)) == 0))
    assert queue.order[-1] == 0
    assert queue.worth[0] == 0
    assert queue.box_why[0] == ""


def test_a_rare_class_is_told_and_counts_more():
    many = [[sure(), sure(xyxy=FAR)] for _ in range(20)]
    queue = build_queue(table([sure("WBC", score=0.7)], [sure(score=0.7)], *many))
    assert queue.box_why[0] == "rare class" or "rare class" in np.array(BOX_KINDS)[queue.box_kinds[0]]
    assert queue.worth[0] > queue.worth[1]
    assert views(queue, table([sure("WBC", score=0.7)], [sure(score=0.7)], *many))["rare classes"].tolist() == [0]


def test_a_class_held_back_in_an_image_is_told():
    given = table([sure(), sure("WBC", FAR)], *filler())
    searched = given.searched.copy()
    searched[0, 1] = False
    queue = build_queue(dataclasses.replace(given, searched=searched))
    assert queue.box_why[:2] == ("", "class held back")


def test_an_empty_image_where_like_ones_hold_many_comes_first_and_says_so():
    full = [[sure(xyxy=(50.0 * i, 10.0, 50.0 * i + 40, 50.0)) for i in range(6)] for _ in range(3)]
    given = table([], [], *full)
    hashes = np.array([0b1, 0xFFFF << 40, 0b0, 0b110, 0b1010], np.uint64)
    queue = build_queue(given, hashes)
    assert queue.why[0] == "nothing found where about 6 boxes are expected"
    assert queue.order[0] == 0
    assert queue.worth[0] > queue.worth[1] > 0  # no image is like the second
    assert views(queue, given)["nothing found"].tolist() == [0, 1]


def test_near_duplicates_come_once_and_the_others_at_the_end():
    given = table([sure()], [sure(saw="a")], [sure(score=0.9)], [sure(score=0.8)])
    queue = build_queue(given, np.array([0, 0b11, 0xFFFF << 20, 0b1], np.uint64))
    assert queue.duplicate_of.tolist() == [1, -1, -1, 1]
    assert queue.order.tolist()[:1] == [1]
    assert set(queue.order.tolist()[2:]) == {0, 3}
    assert queue.why[0] == "nearly repeats 1.png"
    seen = views(queue, given)
    assert 0 not in seen["uncertain"].tolist()
    assert sorted(seen["all, most doubtful first"].tolist()) == [0, 1, 2, 3]


def test_an_unreadable_image_is_last_and_in_no_view():
    given = dataclasses.replace(
        table([], [sure(saw="a")], *filler(2)),
        reason=("truncated", "", "", ""),
        searched=np.array([[False, False], [True, True], [True, True], [True, True]]),
    )
    queue = build_queue(given, np.arange(4, dtype=np.uint64) << np.uint64(32))
    assert queue.order[-1] == 0
    assert all(0 not in images for images in views(queue, given).values())


def test_views_are_in_the_order_of_the_queue_and_the_audit_in_its_own():
    given = table([sure(saw="a")], [sure(), sure("WBC", saw="b")], [sure(saw="b", score=0.6)], *filler())
    queue = build_queue(given)
    seen = views(queue, given, np.array([4, 2]))
    place = {image: rank for rank, image in enumerate(queue.order.tolist())}
    ranks = [place[image] for image in seen["teachers disagree"].tolist()]
    assert ranks == sorted(ranks)
    assert set(seen["teachers disagree"].tolist()) == {0, 1, 2}
    assert seen["audit"].tolist() == [4, 2]


def test_one_teacher_alone_is_no_disagreement():
    given = table([sure(saw="a")], [sure(saw="a", score=0.6)], teachers=("a",))
    queue = build_queue(given)
    assert "one teacher alone" not in queue.box_why
    assert views(queue, given)["teachers disagree"].tolist() == []


def test_a_table_without_images_or_boxes_has_a_queue():
    assert build_queue(table(), np.zeros(0, np.uint64)).order.tolist() == []
    assert sorted(build_queue(table([], [])).order.tolist()) == [0, 1]


def test_what_was_said_of_boxes_like_it_moves_an_image():
    doubtful = [[sure(), sure(name, FAR, 0.3, State.UNCERTAIN)] for name in ("RBC", "WBC")]
    labels = table(*doubtful, *(doubtful[1:] * 12))
    plain = build_queue(labels)
    done = list(range(2, 14))
    for right in (True, False):
        state = labels.state.copy()
        state[(labels.image_index >= 2) & (labels.state == State.UNCERTAIN)] = State.KEPT if right else State.DROPPED
        protected = labels.image_index >= 2
        said = dataclasses.replace(labels, state=state, protected=protected)
        queue = build_queue(said, known=learned(labels, said, done))
        assert (queue.worth[1] > plain.worth[1]) == right


def test_objects_that_no_box_showed_are_expected_in_the_other_images_and_cost_there():
    labels = table(*[[sure()] for _ in range(4)], *filler())
    said = table(*[[sure(), sure(xyxy=FAR)] for _ in range(3)], [sure()], *filler())
    known = learned(labels, said, [0, 1, 2])
    assert known.missed.tolist() == [0.75, 0]
    assert build_queue(labels, known=known).worth[3] > build_queue(labels).worth[3]
    assert learned(labels, said, []) is None


def test_an_image_equal_to_one_that_repeats_is_a_repeat_as_well():
    given = table([sure(score=0.8)], [sure(score=0.85)], [sure(score=0.9)], [sure()])
    queue = build_queue(given, np.array([0, 1, 1, 0xFFFF << 20], np.uint64))
    assert queue.duplicate_of.tolist() == [-1, 0, 0, -1]
    same = build_queue(given, np.zeros(4, np.uint64))
    assert same.duplicate_of.tolist() == [-1, 0, 0, 0]


def test_what_a_person_has_seen_stays_and_what_is_like_it_repeats_it():
    given = table([sure(score=0.8)], [sure(score=0.85)], [sure(score=0.9)], [sure()])
    hashes = np.array([0, 1, 0xFFFF << 20, 0xFFFF << 20], np.uint64)
    queue = queue_of(weigh(given), hashes, before=[0, 1, 1, 2])
    assert queue.duplicate_of.tolist() == [1, -1, 3, -1]
    alone = queue_of(weigh(given), hashes, compared=np.array([True, False, True, True]))
    assert alone.duplicate_of.tolist() == [-1, -1, -1, 2]
