"""Classes that no image was searched for: a model that starts anew must not be left without any answer for them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import Detections, ImageRecord, table_of
from da_kd.recipe import Architecture, Schedule
from da_kd.training import Setting, TrainingTask
from da_kd.training.signals import Kind, never_searched

NAMES = ("cell", "dot")


def images(*searched):
    box = Detections(NAMES, np.array([[1, 1, 9, 9]]), np.array([1.0]), np.array([0]))
    table = table_of(NAMES, [ImageRecord(f"{i}", f"{i}", 20, 20) for i in range(2)], {"0": box, "1": box})
    return ImageSet(Path("nowhere"), dataclasses.replace(table, searched=np.array(searched)))


def task(images, start=None, model="yolo11n.yaml"):
    return TrainingTask("t", Architecture(model=model), start, Schedule(steps=1), images, Setting(0, "cpu"))


ONE, NONE = ((True, False), (True, True)), ((True, False), (True, False))


def test_a_class_that_one_image_was_searched_for_can_be_learned():
    assert never_searched(images(*ONE).table) == ()
    assert (task(images(*ONE)).lesson.rows.kind == Kind.UNSEARCHED).sum() == 1


@pytest.mark.parametrize(("start", "model"), [(Path("w.pt"), "yolo11n.yaml"), (None, "own.pt")])
def test_a_model_that_may_know_it_from_before_keeps_what_it_knows(start, model):
    known = task(images(*NONE), start, model)
    assert known.unanswerable == ()
    assert (known.lesson.rows.kind == Kind.UNSEARCHED).sum() == 2


def test_a_model_that_starts_anew_learns_it_as_background():
    anew = task(images(*NONE))
    assert anew.unanswerable == ("dot",)
    assert anew.lesson.rows.plain
