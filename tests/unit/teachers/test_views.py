"""Looking at an image several times: a teacher that finds red rectangles exactly must find each once, where it is."""

from contextlib import contextmanager

import numpy as np
import pytest

from da_kd.detections import Detections
from da_kd.teachers import Failure, Image
from da_kd.teachers.views import View, ViewedTeacher, Window, covered, show, views_of

RED = (255, 0, 0)


class Finder:
    """Finds every red rectangle (they must not touch), with a score that an image's width may decide."""

    classes = ("blue", "red")

    def __init__(self, score=lambda width: 0.9):
        self.score, self.floor, self.batches = score, None, []

    def fingerprint(self):
        return "finder"

    @contextmanager
    def open(self, device, floor, batch):
        self.floor = floor
        yield self

    def predict(self, batch):
        self.batches.append(len(batch))
        return [self.look(image.pixels) for image in batch]

    def look(self, pixels):
        if (pixels == 7).all():
            return Failure("the image is dull")
        import cv2

        mask = (pixels == RED).all(axis=2).astype(np.uint8)
        _, _, found, _ = cv2.connectedComponentsWithStats(mask)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in found[1:]]
        score = self.score(pixels.shape[1])
        return Detections(self.classes, np.reshape(boxes, (-1, 4)), [score] * len(boxes), [1] * len(boxes))


def scene(width, height, *boxes):
    pixels = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = RED
    return Image(f"{width}x{height}", pixels)


def ask(images, flip=True, scales=(0.83, 1.2), merge="wbf", floor=0.1, batch=4, finder=None):
    with ViewedTeacher(finder or Finder(), flip, scales, merge).open("cpu", floor, batch) as predictor:
        return predictor.predict(images)


@pytest.mark.parametrize("merge", ["wbf", "nms"])
@pytest.mark.parametrize(("flip", "scales"), [(True, ()), (False, (0.5,)), (False, (2.0,)), (True, (0.83, 1.2, 3.1))])
def test_every_rectangle_is_found_once_and_where_it_is(merge, flip, scales):
    boxes = {
        (101, 67): [(0, 0, 9, 5), (40, 30, 61, 44), (90, 60, 101, 67)],
        (64, 48): [(1, 2, 4, 6)],
        (33, 129): [(0, 0, 33, 20), (5, 60, 14, 71)],
        (5, 3): [],
    }
    images = [scene(*size, *found) for size, found in boxes.items()]
    for answer, expected in zip(ask(images, flip, scales, merge), boxes.values(), strict=True):
        assert sorted(map(tuple, answer.xyxy.tolist())) == sorted(expected)
        assert answer.score == pytest.approx(0.9)
        assert (answer.label == 1).all()
        assert answer.vocabulary == ("blue", "red")


def test_a_tile_neither_counts_half_an_object_nor_as_not_having_seen_it():
    wide = scene(100, 60, (5, 20, 95, 40))  # no tile shows it whole
    (answer,) = ask([wide], flip=False, scales=(2.0,))
    assert answer.xyxy.tolist() == [[5, 20, 95, 40]]
    assert answer.score == pytest.approx(0.9)


def test_a_view_that_shows_an_object_and_is_silent_lowers_its_score():
    blind = Finder(score=lambda width: 0.9 if width == 100 else 0.0005)
    image = scene(100, 60, (10, 10, 20, 20))
    (mean,) = ask([image], flip=False, scales=(0.5,), finder=blind, floor=0.01)
    (best,) = ask([image], flip=False, scales=(0.5,), finder=blind, floor=0.01, merge="nms")
    assert mean.score == pytest.approx([(0.9 + 0.0005) / 2], abs=1e-4)
    assert best.score == pytest.approx([0.9])
    assert blind.floor < 0.01  # a view is asked for soft boxes too; the floor counts after merging
    (nothing,) = ask([image], flip=False, scales=(0.5,), finder=blind, floor=0.6)
    assert len(nothing) == 0


def test_one_failed_view_fails_the_image_and_no_other():
    dull = Image("dull", np.full((20, 30, 3), 7, np.uint8))
    first, second = ask([dull, scene(30, 20, (3, 4, 8, 9))])
    assert first == Failure("the image is dull")
    assert second.xyxy.tolist() == [[3, 4, 8, 9]]


def test_no_more_pictures_are_shown_at_once_than_images_would_be():
    finder = Finder()
    ask([scene(40, 30) for _ in range(5)], batch=4, finder=finder)
    assert max(finder.batches) == 4
    assert sum(finder.batches) == 5 * (1 + 1 + 1 + 4)
    assert ask([]) == []


@pytest.mark.parametrize("scale", [1.01, 1.2, 2.0, 3.7])
def test_tiles_cover_the_image_and_overlap(scale):
    plain, view = views_of(101, 53, False, (scale,))
    assert plain == View((Window(0, 0, 101, 53),))
    seen = np.zeros((53, 101), int)
    for window in view.windows:
        assert 0 <= window.left < window.right <= 101
        assert 0 <= window.top < window.bottom <= 53
        seen[window.top : window.bottom, window.left : window.right] += 1
    assert seen.min() == 1
    assert seen.max() > 1


def test_a_canvas_is_grey_around_the_whole_image():
    _, view = views_of(7, 5, False, (0.5,))
    (window,) = view.windows
    pixels = np.arange(105, dtype=np.uint8).reshape(5, 7, 3)
    shown = show(pixels, window, mirrored=False)
    assert shown.shape == (10, 14, 3)
    assert np.array_equal(shown[-window.top : 5 - window.top, -window.left : 7 - window.left], pixels)
    assert (shown[0] == 114).all()
    assert (shown[-1] == 114).all()


def test_a_box_at_the_images_own_edge_is_whole():
    boxes = np.array([[0, 0, 10, 10], [45, 0, 50, 10], [30, 0, 48, 10]], np.float32)
    assert covered(boxes, Window(0, 0, 50, 60), (100, 60)).tolist() == [True, False, True]


def test_the_fingerprint_covers_the_views():
    given = [(True, (), "wbf"), (True, (), "nms"), (True, (0.5,), "wbf"), (False, (0.5,), "wbf")]
    prints = {ViewedTeacher(Finder(), *views).fingerprint() for views in given}
    assert len(prints | {Finder().fingerprint()}) == len(given) + 1
