"""The simulated reviewer: what is done to each box, what it costs, and that the order of the queue pays."""

from collections import Counter

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.merging.matching import paired
from da_kd.recipe import Simulate
from da_kd.stages.review.overlay import apply
from da_kd.stages.review.queue import build_queue
from da_kd.stages.review.simulate import random_order, simulate

NAMES = ("RBC", "WBC")
ALL = 10_000


def place(column: int, shift: float = 0.0):
    return [60.0 * column + shift, 10.0, 60.0 * column + shift + 40, 50.0]


def one_image(said, truth, state=None, truth_state=None, searched=NAMES):
    """Labels and truth of one image; each box is (class, place)."""
    sides = []
    for boxes, states, names in ((said, state, NAMES), (truth, truth_state, searched)):
        found = Detections(
            NAMES, [box[1] for box in boxes], np.full(len(boxes), 0.6), [NAMES.index(box[0]) for box in boxes]
        )
        given = {"a.png": np.array(states)} if states else None
        sides.append(table_of(NAMES, [ImageRecord("a.png", "sha", 600, 99)], {"a.png": found}, names, given))
    return sides


def kept(table, at=0):
    boxes = table.at(at)
    return sorted((NAMES[label], *map(float, xyxy)) for label, xyxy in zip(boxes.label, boxes.xyxy, strict=True))


@pytest.mark.parametrize(
    ("said", "truth", "action", "after"),
    [
        ([("RBC", place(0, 2))], [("RBC", place(0))], "accepted", [("RBC", *place(0, 2))]),
        ([("RBC", place(0, 9))], [("RBC", place(0))], "moved", [("RBC", *place(0))]),
        ([("WBC", place(0, 2))], [("RBC", place(0))], "relabelled", [("RBC", *place(0, 2))]),
        ([("WBC", place(0, 9))], [("RBC", place(0))], "relabelled", [("RBC", *place(0))]),
        ([("RBC", place(3))], [], "rejected", []),
        ([], [("WBC", place(1))], "added", [("WBC", *place(1))]),
    ],
)
def test_a_reviewer_who_knows_sets_every_box_right(said, truth, action, after):
    labels, known = one_image(said, truth)
    done = simulate(labels, known, [0], Simulate(budget=ALL), 0)
    assert [entry.action for entry in done.entries] == [action, "complete"]
    assert (done.boxes, done.images, done.unknown) == (1, 1, 0)
    result = apply(labels, done.entries)
    assert kept(result) == after
    assert result.protected.all()


def test_of_two_boxes_for_one_object_the_better_score_stays():
    labels, known = one_image([("RBC", place(0)), ("RBC", place(0, 3))], [("RBC", place(0))])
    done = simulate(labels, known, [0], Simulate(budget=ALL), 0)
    assert Counter(entry.action for entry in done.entries) == {"accepted": 1, "rejected": 1, "complete": 1}


def test_uncertain_boxes_are_looked_at_and_dropped_ones_are_not():
    labels, known = one_image(
        [("RBC", place(0)), ("RBC", place(1))],
        [("RBC", place(0)), ("RBC", place(1))],
        state=[State.UNCERTAIN, State.DROPPED],
    )
    done = simulate(labels, known, [0], Simulate(budget=ALL), 0)
    assert [entry.action for entry in done.entries] == ["accepted", "added", "complete"]
    assert kept(apply(labels, done.entries)) == kept(known)


def test_boxes_in_ignored_regions_and_classes_without_truth_are_left_alone():
    labels, known = one_image(
        [("RBC", place(0)), ("WBC", place(2))], [("RBC", place(0, 1))], truth_state=[State.IGNORED], searched=("RBC",)
    )
    assert [e.action for e in simulate(labels, known, [0], Simulate(budget=ALL), 0).entries] == ["complete"]


def scenes(images=60, seed=0):
    """Labels with more wrong boxes in some images than in others, which their scores tell; and the truth."""
    rng, labels, truth, states = np.random.default_rng(seed), {}, {}, {}
    records = [ImageRecord(f"{at}.png", f"sha{seed}-{at}", 900, 99) for at in range(images)]
    for record in records:
        wrong = rng.beta(0.5, 2)
        objects = np.array([place(column) for column in range(int(rng.integers(4, 12)))])
        label = (rng.random(len(objects)) < 0.2).astype(int)
        bad = rng.random(len(objects)) < wrong
        score = np.clip(np.where(bad, rng.normal(0.55, 0.1, len(bad)), rng.normal(0.85, 0.1, len(bad))), 0.05, 1)
        truth[record.key] = Detections(NAMES, objects, np.ones(len(objects)), label)
        labels[record.key] = Detections(NAMES, objects + 25.0 * bad[:, None] * np.array([1, 0, 1, 0]), score, label)
        states[record.key] = np.where(score >= 0.5, State.KEPT, State.UNCERTAIN)
    return table_of(NAMES, records, labels, state=states), table_of(NAMES, records, truth)


def f1(labels, truth) -> float:
    hits = sum(int(paired(truth.at(at), labels.at(at)).sum()) for at in range(len(truth)))
    boxes = sum(len(labels.at(at)) + len(truth.at(at)) for at in range(len(truth)))
    return 2 * hits / boxes


@pytest.mark.parametrize("budget", [0, 1, 7, 50, 123])
def test_no_more_is_spent_than_the_budget(budget):
    labels, truth = scenes()
    done = simulate(labels, truth, range(60), Simulate(budget=budget), 0)
    assert done.boxes == budget == sum(entry.action != "complete" for entry in done.entries)


def test_with_budget_enough_the_labels_are_the_truth():
    labels, truth = scenes()
    done = simulate(labels, truth, range(60), Simulate(budget=ALL), 0)
    assert f1(apply(labels, done.entries), truth) == 1
    assert done.images == 60


def test_a_reviewer_who_errs_leaves_about_so_many_errors_whatever_the_order():
    labels, truth = scenes()
    config = Simulate(budget=ALL, error=0.2)
    done = simulate(labels, truth, range(60), config, 3)
    backwards = simulate(labels, truth, range(59, -1, -1), config, 3)
    assert {entry.label: entry.says for entry in done.entries} == {e.label: e.says for e in backwards.entries}
    assert 0.75 < f1(apply(labels, done.entries), truth) < 0.9
    assert simulate(labels, truth, range(60), config, 4).entries != done.entries


def test_at_equal_budget_the_queue_mends_more_than_chance():
    gains = []
    for seed in range(5):
        labels, truth = scenes(seed=seed)
        config = Simulate(budget=len(labels.xyxy) // 5)
        by_queue, by_chance = (
            f1(apply(labels, simulate(labels, truth, order, config, seed).entries), truth)
            for order in (build_queue(labels).order, random_order(labels, seed))
        )
        gains.append(by_queue - by_chance)
    assert min(gains) > 0
    assert np.mean(gains) > 0.02


def test_a_random_order_is_the_same_for_the_same_seed_and_names_every_image_once():
    labels, _ = scenes()
    first, again, other = (random_order(labels, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == list(range(60))


def test_images_without_truth_are_passed_over_and_told():
    labels, truth = scenes()
    done = simulate(labels, truth.take(range(10)), range(60), Simulate(budget=ALL), 0)
    assert (done.images, done.unknown) == (10, 50)


def test_truth_of_other_images_is_refused():
    labels, _ = scenes(seed=0)
    _, other = scenes(seed=1)
    with pytest.raises(DataError, match=r"data\.target_labelled"):
        simulate(labels, other, range(60), Simulate(budget=1), 0)
