"""Precision and recall of pseudo labels, by hand."""

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.stages.report.label_quality import THRESHOLDS, check_labels

NAMES = ("cat", "dog")
BOX, OTHER, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70]


def table(found, vocabulary=NAMES, shas=("one", "two"), state=None, searched=None):
    records = [ImageRecord(f"{sha}.png", sha, 100, 100) for sha in shas]
    boxes = {f"{sha}.png": Detections(vocabulary, *columns) for sha, columns in found.items()}
    return table_of(vocabulary, records, boxes, searched, state)


def figures(checked, name):
    return {one.threshold: (one.precision, one.recall) for one in checked.by_class[name]}


def test_a_case_by_hand():
    labels = table(
        {"one": ([BOX, FAR, OTHER], [0.95, 0.6, 0.3], [0, 0, 1]), "two": ([BOX], [0.2], [0])},
        state={"two.png": [State.DROPPED]},
    )
    truth = table({"one": ([BOX, OTHER], [1, 1], [0, 1]), "two": ([BOX], [1], [0])})
    checked = check_labels(labels, truth)
    assert checked.images == 2
    cat = figures(checked, "cat")
    assert cat[0.1] == (pytest.approx(2 / 3), 1.0)
    assert cat[0.25] == cat[0.5] == (0.5, 0.5)
    assert cat[0.7] == cat[0.9] == (1.0, 0.5)
    dog = figures(checked, "dog")
    assert dog[0.25] == (1.0, 1.0)
    assert dog[0.5] == (None, 0.0)


def test_a_repeated_box_is_right_once():
    labels = table({"one": ([BOX, BOX], [0.9, 0.8], [0, 0])})
    truth = table({"one": ([BOX], [1], [0]), "two": ([], [], [])})
    assert figures(check_labels(labels, truth), "cat")[0.7] == (0.5, 1.0)


def test_images_match_by_content_and_classes_by_name():
    labels = table({"one": ([BOX], [0.9], [0]), "two": ([BOX], [0.9], [0])})
    truth = table({"two": ([BOX], [1], [1])}, vocabulary=("dog", "cat"), shas=("two", "three"))
    checked = check_labels(labels, truth)
    assert checked.images == 1
    assert figures(checked, "cat")[0.9] == (1.0, 1.0)
    assert figures(checked, "dog")[0.9] == (None, None)


def test_what_the_truth_does_not_cover_or_ignores_is_no_error():
    labels = table({"one": ([BOX, OTHER, FAR, [40, 40, 50, 50]], [0.9, 0.9, 0.9, 0.9], [0, 1, 0, 0])})
    truth = table(
        {"one": ([BOX, [55, 55, 75, 75]], [1, 1], [0, 0])}, searched=["cat"], state={"one.png": [0, State.IGNORED]}
    )
    checked = check_labels(labels, truth)
    assert list(checked.by_class) == ["cat"]
    assert figures(checked, "cat")[0.9] == (0.5, 1.0)  # one box is right, one is wrong, one lies in what is ignored
    assert check_labels(labels, table({"one": ([], [], [])}, searched=[])).images == 0


def test_without_a_shared_image_there_is_nothing_to_tell():
    labels = table({"one": ([BOX], [0.9], [0])})
    assert check_labels(labels, table({}, shas=("x",))).by_class == {}


def test_recall_never_rises_with_the_threshold():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 80, (60, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 20, (60, 2))], axis=1)
    labels = table({"one": (boxes, rng.uniform(0, 1, 60), rng.integers(0, 2, 60))})
    truth = table({"one": (boxes[::2] + 1, np.ones(30), rng.integers(0, 2, 30))})
    for name in NAMES:
        recall = [figures(check_labels(labels, truth), name)[threshold][1] for threshold in THRESHOLDS]
        assert recall == sorted(recall, reverse=True)
