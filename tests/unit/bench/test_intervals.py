"""Paired resamples, and look-alikes between sets."""

import dataclasses

import numpy as np
from PIL import Image

from da_kd.bench.intervals import drawn_ap, span
from da_kd.bench.leaks import near_duplicates
from da_kd.data import ImageSet
from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.events import Job

NAMES = ("x",)


def tables(right, seed=0):
    """Return ground truth of one box an image, and predictions that are right in the images given."""
    records = [ImageRecord(f"{index}.png", f"{seed}-{index}", 64, 64) for index in range(20)]

    def boxes(left):
        return Detections(NAMES, np.array([[left, 8, left + 20, 28]]), np.ones(1), np.zeros(1, int))

    truth = table_of(NAMES, records, {one.key: boxes(4) for one in records})
    said = {one.key: boxes(4 if index in right else 40) for index, one in enumerate(records)}
    return truth, table_of(NAMES, records, said, teachers=("model",))


def test_a_model_differs_from_itself_by_nothing_at_all():
    one = drawn_ap([tables(range(10))], 100)
    assert span(0.0, one - one) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_pairs_are_surer_than_two_intervals():
    better, worse = drawn_ap([tables(range(12))], 100), drawn_ap([tables(range(10))], 100)
    alone, paired = span(0.5, better), span(0.1, better - worse)
    assert paired["high"] - paired["low"] < 0.7 * (alone["high"] - alone["low"])


def test_one_image_tells_nothing_of_others():
    truth, said = tables(range(20))
    one = drawn_ap([(truth.take([0]), said.take([0]))], 100)
    assert span(1.0, one) == {"value": 1.0, "low": None, "high": None}


def test_a_class_that_one_seeds_images_lack_is_drawn_from_the_other_seeds():
    truth, said = tables(range(10), seed=1)
    empty = truth.pick_boxes(np.zeros(len(truth.xyxy), bool))
    both, alone = (drawn_ap(pairs, 100, "x") for pairs in ([(truth, said), (empty, said)], [(truth, said)]))
    assert np.array_equal(both, alone)


def test_seeds_are_averaged_and_images_drawn():
    alone = drawn_ap([tables(range(10))], 100)
    assert np.array_equal(drawn_ap([tables(range(10))] * 2, 100), alone)  # a copy of a seed tells nothing new
    other = drawn_ap([tables(range(10)), tables(range(10), seed=1)], 100)  # other images do
    assert np.std(other) < 0.9 * np.std(alone)


def test_look_alikes_of_test_images_are_counted(cells, tmp_path):
    cell = cells()[0]
    test, source = cell.inputs.get("test"), cell.inputs.get("source")
    pixels = np.asarray(Image.open(test.path(1)), int)
    folder = tmp_path / "alike"
    folder.mkdir()
    Image.fromarray(np.clip(pixels + 3, 0, 255).astype(np.uint8)).save(folder / "brighter.png")
    record = ImageRecord("brighter.png", "other", pixels.shape[1], pixels.shape[0])
    alike = ImageSet(folder, table_of(source.vocabulary, [record], {}))
    sets = {"test": test, "source": source, "target": alike}
    found = near_duplicates([dataclasses.replace(cell, inputs=dataclasses.replace(cell.inputs, sets=sets))], Job())
    by_set = {one["set"]: one for one in found}
    assert by_set["data.source"]["alike"] == 0
    assert (by_set["data.target"]["alike"], by_set["data.target"]["test"]) == (1, 4)
    assert by_set["data.target"]["examples"][0][:2] == [test.table.key[1], "brighter.png"]
