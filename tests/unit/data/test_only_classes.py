"""A set seen by somebody who knows only some of its classes."""

from pathlib import Path

import numpy as np

from da_kd.data import ImageSet, only_classes
from da_kd.detections import Detections, ImageRecord, table_of


def test_images_stay_and_boxes_of_other_classes_go():
    names = ("cat", "dog", "hat")
    records = [ImageRecord(f"{i}.png", "", 10, 10) for i in range(3)]
    boxes = Detections(names, [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], [1, 1, 1], [2, 0, 1])
    found = {"0.png": boxes, "1.png": boxes.pick(np.array([2]))}
    images = ImageSet(Path("x"), table_of(names, records, found, searched=("cat", "hat")))
    some = only_classes(images, ["hat", "dog"])
    assert some.table.key == images.table.key
    assert some.vocabulary == ("hat", "dog")
    assert [some.table.at(i).label.tolist() for i in range(3)] == [[0, 1], [1], []]
    assert some.table.xyxy.tolist() == [[0, 0, 1, 1], [0, 0, 3, 3], [0, 0, 3, 3]]
    assert some.table.searched.tolist() == [[True, False], [True, False], [False, False]]
