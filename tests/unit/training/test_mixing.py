"""Several sets in one training: whose labels count, how often an image is seen, and which in which epoch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet, joined, without_copies
from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Finetune, Student
from da_kd.stages import finetune
from da_kd.training import Extra, Setting, Signals, TrainingTask, mixed
from da_kd.training.mixing import Share
from da_kd.training.signals import Kind, Lesson, check_labels

NAMES = ("a", "b")


def a_set(folder: str, shas: str, label: int = 0, teachers: tuple[str, ...] = ()) -> ImageSet:
    """Return images named by their content, a letter each, with one box of a class."""
    records = [ImageRecord(f"{sha}.png", sha, 10, 10) for sha in shas]
    found = {record.key: Detections(NAMES, [[1, 1, 5, 5]], [0.5], [label]) for record in records}
    return ImageSet(Path("/data") / folder, table_of(NAMES, records, found, teachers=teachers))


def test_joined_sets_keep_their_files() -> None:
    sets = [a_set("x/one", "pq", teachers=("t",)), a_set("x/two/images", "p"), a_set("x", "r")]
    whole = joined(sets)
    assert whole.root == Path("/data/x")
    assert whole.paths == tuple(path for images in sets for path in images.paths)
    assert whole.table.teachers == ()
    assert whole.table.sha == ("p", "q", "p", "r")


def test_sets_of_other_classes_are_not_joined() -> None:
    other = a_set("two", "p")
    other = dataclasses.replace(other, table=dataclasses.replace(other.table, vocabulary=("a", "c")))
    with pytest.raises(DataError, match="same classes"):
        joined([a_set("one", "p"), other])


def test_copies_are_found_by_content() -> None:
    assert without_copies(a_set("one", "pqr"), [a_set("two", "q"), a_set("three", "rs")]).table.sha == ("p",)


def test_ground_truth_replaces_the_pseudo_labels_of_the_same_image() -> None:
    pseudo, truth, source = a_set("t", "pqrs", 0), a_set("l", "qz", 1), a_set("s", "zy", 1)
    images, shares = mixed(pseudo, [Extra("target_labelled", truth, 1.0), Extra("source", source, 0.5)])
    assert images.table.sha == tuple("prsqzy")
    assert images.table.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert shares == (Share("target_labelled", 3, 2, 4), Share("source", 5, 1, 2))


def test_pseudo_labels_that_are_mixed_in_give_way_to_ground_truth() -> None:
    images, shares = mixed(a_set("l", "p", 1), [Extra("pseudo", a_set("t", "pq", 0), 2.0, truth=False)], truth=True)
    assert images.table.label.tolist() == [1, 0]
    assert shares == (Share("pseudo", 1, 1, 2, truth=False),)


def test_a_set_that_is_there_as_a_whole_already_adds_nothing() -> None:
    images, shares = mixed(a_set("l", "p"), [Extra("source", a_set("s", "p"), 1.0)], truth=True)
    assert (len(images), shares) == (1, ())


@pytest.mark.parametrize("seen", [3, 10, 25])
def test_every_image_has_its_turn_before_any_comes_again(seen: int) -> None:
    share = Share("source", 5, 10, seen)
    drawn = [share.drawn(epoch, 0) for epoch in range(10)]
    assert {len(part) for part in drawn} == {seen}
    times = np.bincount(np.concatenate(drawn), minlength=15)
    assert times[:5].sum() == 0
    assert (times[5:] == seen).all()  # ten epochs, ten images
    so_far = np.zeros(15, int)
    for part in drawn:
        so_far += np.bincount(part, minlength=15)
        assert np.ptp(so_far[5:]) <= 1


def test_the_seed_decides_what_is_drawn_and_no_epoch_depends_on_another() -> None:
    share = Share("source", 0, 50, 7)
    assert share.drawn(3, 1).tolist() == share.drawn(3, 1).tolist()
    assert share.drawn(3, 1).tolist() != share.drawn(3, 2).tolist()
    assert sorted(share.drawn(0, 1).tolist()) != list(range(7))


def test_an_epoch_shows_all_target_images_and_as_many_others_as_asked() -> None:
    images, shares = mixed(a_set("t", "pq"), [Extra("source", a_set("s", "abcdefgh"), 1.5)])
    protected = np.zeros(len(images.table.xyxy), bool)
    protected[0] = True
    images = dataclasses.replace(images, table=dataclasses.replace(images.table, protected=protected))
    lesson = Lesson(images, Signals(oversample=3), shares)
    orders = [lesson.order_of(epoch) for epoch in range(3)]
    assert [order[:4].tolist() for order in orders] == [[0, 0, 0, 1]] * 3
    assert [len(order) for order in orders] == [7, 7, 7]
    assert len({*orders[0][4:], *orders[1][4:]}) == 6
    assert lesson.order.tolist() == orders[0].tolist()


def test_ground_truth_keeps_its_own_unsearched_classes_and_ignored_boxes() -> None:
    pseudo, truth = a_set("t", "p"), a_set("s", "q")
    table = dataclasses.replace(
        truth.table, searched=np.array([[True, False]]), state=np.array([State.IGNORED], np.int8)
    )
    blind = dataclasses.replace(pseudo.table, searched=np.array([[True, False]]))
    images, shares = mixed(
        dataclasses.replace(pseudo, table=blind), [Extra("source", dataclasses.replace(truth, table=table), 1.0)]
    )
    rows = Lesson(images, Signals(unsearched="background", uncertain="background"), shares).rows
    assert rows.kind[rows.of(0)].tolist() == [Kind.OBJECT]
    assert rows.kind[rows.of(1)].tolist() == [Kind.IGNORED, Kind.UNSEARCHED]


def test_what_is_mixed_in_does_not_make_up_for_labels_that_have_no_box() -> None:
    empty = a_set("t", "p")
    empty = dataclasses.replace(empty, table=empty.table.pick_boxes(np.zeros(1, bool)))
    images, shares = mixed(empty, [Extra("source", a_set("s", "q"), 1.0)])
    with pytest.raises(DataError, match="found 1 images and 0 boxes to learn from"):
        check_labels("student", Lesson(images, shares=shares), Job())
    assert check_labels("student", Lesson(images), Job()) == 1


def test_ground_truth_counts_fully_whatever_scores_its_file_has() -> None:
    images, shares = mixed(a_set("t", "p"), [Extra("source", a_set("s", "q"), 1.0)])
    assert Lesson(images, Signals(weight="score"), shares).rows.weight.tolist() == [0.5, 1.0]


def test_what_fine_tuning_goes_on_with_counts_fully_beside_pseudo_labels(monkeypatch, tmp_path: Path) -> None:
    given: list[TrainingTask] = []

    def train(task: TrainingTask, *_) -> None:
        given.append(task)
        raise InterruptedError

    monkeypatch.setattr(finetune, "train", train)
    pseudo, signals = Extra("pseudo", a_set("t", "q"), 1.0, truth=False), Signals(weight="score")
    wanted = (Student(), Finetune(epochs=1), a_set("l", "p"), tmp_path, Setting(0, "cpu"), tmp_path, Job())
    with pytest.raises(InterruptedError):
        finetune.run(*wanted, extras=[pseudo], signals=signals)
    assert given[0].lesson.rows.weight.tolist() == [1.0, 0.5]


def test_where_there_is_no_box_at_all_a_lower_threshold_is_not_advised() -> None:
    pseudo = a_set("t", "p")
    doubtful = dataclasses.replace(
        pseudo, table=dataclasses.replace(pseudo.table, state=np.array([State.DROPPED], np.int8))
    )
    empty = dataclasses.replace(pseudo, table=pseudo.table.pick_boxes(np.zeros(1, bool)))
    extras = [Extra("source", a_set("s", "q"), 1.0)]
    for found, advice in ((doubtful, "lower 'fuse.keep'"), (empty, "found nothing from 'predict.floor' on")):
        images, shares = mixed(found, extras)
        for lesson in (Lesson(images, shares=shares), Lesson(found)):
            with pytest.raises(DataError, match=advice):
                check_labels("student", lesson, Job())
