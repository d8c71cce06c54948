"""Regions go where the pixels go: every image has a grey of its own, and a class that was not searched in it alone."""

import dataclasses
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import Detections, State, table_of
from da_kd.offline import settle_ultralytics
from da_kd.training.signals import GROUND_TRUTH, Lesson, Signals

SIZE = 96
GREYS = (10, 40, 70, 150, 190, 230)  # none is the 114 of the library's borders
NAMES = tuple(f"not in {grey}" for grey in GREYS)
STILL = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}


@pytest.fixture
def greys(tmp_path: Path) -> Callable[..., ImageSet]:
    """Write images of one grey (or colour) and different shapes, each with one object in its middle."""

    def make(colours: tuple = GREYS) -> ImageSet:
        keys, found = [], {}
        for index, colour in enumerate(colours):
            height, width = SIZE - 8 * (index % 3), SIZE - 8 * (index % 2)
            pixels = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))
            keys.append(f"{index}.png")
            Picture.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / keys[-1])
            middle = np.array([[width / 3, height / 3, width / 2, height / 2]])
            found[keys[-1]] = Detections(NAMES, middle, [0.9], [(index + 1) % len(NAMES)])
        table = table_of(NAMES, scan(tmp_path, keys, ScanCache(None)), found)
        searched = np.ones_like(table.searched)
        np.fill_diagonal(searched, False)
        return ImageSet(tmp_path, dataclasses.replace(table, searched=searched))

    return make


def settings(**augmentation):
    settle_ultralytics()
    from ultralytics.cfg import get_cfg

    return get_cfg(overrides={**STILL, **augmentation})


def dataset(images: ImageSet, signals: Signals = GROUND_TRUTH, **augmentation):
    settle_ultralytics()
    from da_kd.training.table_data import TableDataset

    return TableDataset(
        img_path="",
        imgsz=SIZE,
        batch_size=4,
        augment=True,
        hyp=settings(**augmentation),
        data={"names": dict(enumerate(NAMES)), "nc": len(NAMES), "channels": 3, "da_kd": Lesson(images, signals)},
        task="detect",
    )


def samples(data, count: int, start: int = 0):
    for seed in range(start, start + count):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield data[seed % len(data)]


def covered(regions: torch.Tensor) -> np.ndarray:
    """Return (SIZE, SIZE, C) bool: the pixel's centre lies in a region of the class."""
    centre = np.arange(SIZE) + 0.5
    out = np.zeros((SIZE, SIZE, len(NAMES)), bool)
    for x, y, w, h, _, *classes in regions.numpy() * np.array([SIZE] * 4 + [1] * (1 + len(NAMES))):
        inside = (abs(centre - y) < h / 2)[:, None] & (abs(centre - x) < w / 2)
        out |= inside[..., None] & np.array(classes, bool)
    return out


def far_from_edges(image: np.ndarray) -> np.ndarray:
    """Return (SIZE, SIZE) bool: two pixels around, nothing changes, nor does the image end."""
    square = np.ones((5, 5))
    flat = cv2.dilate(image, square).reshape(image.shape) == cv2.erode(image, square).reshape(image.shape)
    flat[:2] = flat[-2:] = flat[:, :2] = flat[:, -2:] = False
    return flat.all(2)


def seen(pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return which image each pixel is of, as (SIZE, SIZE, C) bool, and the pixels far from any edge."""
    image = np.ascontiguousarray(pixels[0].numpy())
    return np.stack([image == grey for grey in GREYS], 2), far_from_edges(image[..., None])


@pytest.mark.parametrize(
    "augmentation",
    [
        {"mosaic": 0.0},
        {"mosaic": 1.0},
        {"mosaic": 1.0, "scale": 0.9, "translate": 0.4},
        {"mosaic": 0.5, "fliplr": 0.5, "flipud": 0.5},
        {"mosaic": 0.5, "cutmix": 1.0},
        {"mosaic": 0.5, "copy_paste": 1.0, "copy_paste_mode": "mixup"},
    ],
    ids=["crop", "mosaic", "small parts of a mosaic", "flips", "cutmix", "copy-paste"],
)
def test_an_unsearched_class_is_masked_where_its_image_is_seen_and_nowhere_else(greys, augmentation) -> None:
    several = 0
    for sample in samples(dataset(greys(), **augmentation), 40):
        wanted, flat = seen(sample["img"])
        assert flat.mean() > 0.3
        assert (covered(sample["regions"])[flat] == wanted[flat]).all()
        several += wanted.any((0, 1)).sum() > 1
    assert (several > 5) == ("cutmix" in augmentation or augmentation["mosaic"] > 0)


def test_where_mixup_blends_two_images_the_classes_of_both_are_masked(greys) -> None:
    both = 0
    for sample in samples(dataset(greys(((255, 0, 0), (0, 255, 0))), mixup=1.0, mosaic=0.5), 40):
        red, green, blue = sample["img"].numpy()
        # Half a border's grey is less than 82, half a full colour more; where both are borders, there is blue.
        image = np.stack([red > 82, green > 82], 2) & (blue < 82)[..., None]
        flat = far_from_edges(image.astype(np.uint8))
        assert (covered(sample["regions"])[flat][:, :2] == image[flat]).all()
        both += image.all(2).any()
    assert both > 10


def test_a_turned_region_covers_its_image_whole(greys) -> None:
    for sample in samples(dataset(greys(), degrees=30, shear=5, mosaic=0.5), 20):
        wanted, flat = seen(sample["img"])
        assert covered(sample["regions"])[flat][wanted[flat]].all()


BUSY = {"mosaic": 0.7, "mixup": 0.5, "cutmix": 0.5, "scale": 0.9, "translate": 0.3, "fliplr": 0.5, "degrees": 10}


def test_regions_change_neither_pixels_nor_boxes(greys) -> None:
    images = greys()
    stock = dataset(images, Signals(unsearched="background"), **BUSY)
    ours = dataset(images, **BUSY)
    boxes = 0
    for one, other in zip(samples(stock, 60), samples(ours, 60), strict=True):
        assert "weight" not in one
        for name in ("img", "cls", "bboxes", "batch_idx"):
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name])
        boxes += len(one["cls"])
    assert boxes > 60


def test_a_weight_stays_with_its_box(greys) -> None:
    images = greys()
    score = np.linspace(0.1, 0.9, len(images.table.score)).astype(np.float32)
    images = dataclasses.replace(images, table=dataclasses.replace(images.table, score=score))
    weight_of = {int(label): weight for label, weight in zip(images.table.label, score, strict=True)}
    for sample in samples(dataset(images, Signals(weight="score"), **BUSY), 30):
        assert sample["weight"].tolist() == [weight_of[int(label)] for label in sample["cls"]]


def test_an_ignored_box_moves_as_a_box_does_and_stays_while_anything_of_it_is_seen(greys) -> None:
    images = greys()
    uncertain = np.full(len(images.table.state), State.UNCERTAIN, np.int8)
    ignored = dataclasses.replace(images, table=dataclasses.replace(images.table, state=uncertain))
    alone, cut = Signals(unsearched="background"), {**BUSY, "cutmix": 0.0}
    one, other = dataset(images, alone, **cut), dataset(ignored, alone, **cut)
    small = 0
    for box, region in zip(samples(one, 60), samples(other, 60), strict=True):
        kept = {tuple(row) for row in box["bboxes"].tolist()}
        moved = {tuple(row) for row in region["regions"][:, :4].tolist()}
        assert kept <= moved
        assert (region["regions"][:, 4] == 0).all()
        assert len(region["cls"]) == 0
        small += len(moved) > len(kept)
    assert small > 5


def test_a_batch_fills_up_with_regions_that_cover_nothing(greys) -> None:
    data = dataset(greys(), mosaic=0.5)
    drawn = list(samples(data, 4))
    batch = data.collate_fn([dict(sample) for sample in drawn])
    most = max(len(sample["regions"]) for sample in drawn)
    assert batch["regions"].shape == (4, most, 5 + len(NAMES))
    assert len(batch["weight"]) == len(batch["cls"]) == len(batch["batch_idx"])
    for regions, sample in zip(batch["regions"], drawn, strict=True):
        assert (covered(regions) == covered(sample["regions"])).all()


def test_a_dataset_goes_to_another_process_as_it_is(greys) -> None:
    data = dataset(greys(), **BUSY)
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    for one, other in zip(samples(data, 5), samples(again, 5), strict=True):
        assert torch.equal(one["regions"], other["regions"])


def test_after_mosaics_are_closed_regions_follow_still(greys) -> None:
    data = dataset(greys(), mosaic=1.0)
    data.close_mosaic(settings(mosaic=1.0))
    for sample in samples(data, 10):
        wanted, flat = seen(sample["img"])
        assert (covered(sample["regions"])[flat] == wanted[flat]).all()
        assert wanted.any((0, 1)).sum() == 1


def test_a_package_that_happens_to_be_installed_changes_no_image(greys, monkeypatch):
    settle_ultralytics()
    from ultralytics.data.augment import Albumentations

    def as_if_installed(self, p=1.0, transforms=None, flip_idx=None):
        self.p, self.contains_spatial = p, False
        self.transform = lambda image, **_: {"image": 255 - image}

    plain = [sample["img"] for sample in samples(dataset(greys()), 4)]
    monkeypatch.setattr(Albumentations, "__init__", as_if_installed)
    for signals in (GROUND_TRUTH, Signals(unsearched="background")):
        same = [sample["img"] for sample in samples(dataset(greys(), signals), 4)]
        assert all(torch.equal(one, other) for one, other in zip(plain, same, strict=True))
