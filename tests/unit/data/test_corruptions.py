"""Damaged copies of images: what is done to the pixels, that it is always the same, and that labels stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, fingerprint, read_image
from da_kd.data.corrupt import DARKNESS, NOISE, corrupted, corrupted_set, write_corrupted
from da_kd.events import Job
from da_kd.recipe import Corrupt

KINDS = ("fog", "darkness", "noise", "blur", "jpeg")


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    """Return a picture with flat parts, edges and a slope."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[20:60, 30:80] = (220, 60, 40)
    pixels[:, 100:] = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return pixels


@pytest.fixture
def damaged(tmp_path):
    """Return the pixels of a damaged copy."""

    def make(pixels: np.ndarray, by: str, strength: int, sha: str = "a", seed: int = 0) -> np.ndarray:
        path = tmp_path / f"copy.{'jpg' if by == 'jpeg' else 'png'}"
        path.write_bytes(corrupted(pixels, Corrupt(by=by, strength=strength, seed=seed), sha))
        return read_image(path)

    return make


@pytest.mark.parametrize("by", KINDS)
def test_the_size_stays_and_more_strength_does_more_damage(damaged, by):
    pixels = scene()
    copies = [damaged(pixels, by, strength) for strength in (1, 2, 3)]
    assert {copy.shape for copy in copies} == {pixels.shape}
    away = [float(np.abs(copy.astype(float) - pixels).mean()) for copy in copies]
    assert 0 < away[0] < away[1] < away[2]


@pytest.mark.parametrize("by", ["fog", "darkness", "noise"])
def test_what_is_drawn_depends_on_the_content_and_the_seed_alone(damaged, by):
    pixels = scene()
    assert np.array_equal(damaged(pixels, by, 2), damaged(pixels, by, 2))
    assert not np.array_equal(damaged(pixels, by, 2), damaged(pixels, by, 2, sha="b"))
    assert not np.array_equal(damaged(pixels, by, 2), damaged(pixels, by, 2, seed=1))


def test_noise_has_the_published_deviation(damaged):
    grey = np.full((200, 200, 3), 128, np.uint8)
    for strength in (1, 2):  # the third is clipped at black and white
        spread = (damaged(grey, "noise", strength) / 255).std()
        assert spread == pytest.approx(NOISE[strength - 1], rel=0.03)


def test_darkness_leaves_the_share_of_the_light(damaged):
    white = np.full((200, 200, 3), 255, np.uint8)
    for strength in (1, 2, 3):
        light = (damaged(white, "darkness", strength) / 255) ** 2.2
        assert light.mean() == pytest.approx(DARKNESS[strength - 1], rel=0.05)
    dark = damaged(white, "darkness", 3).astype(float)
    assert dark.std() / dark.mean() > 3 * damaged(white, "darkness", 1).std() / 255  # fewer electrons, more noise


def test_blur_makes_a_point_a_disk(damaged):
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    lit = [int((damaged(point, "blur", strength)[..., 0] > 0).sum()) for strength in (1, 2)]
    assert 25 <= lit[0] <= 37 and 109 <= lit[1] <= 149  # radius 3 has 29 pixels, radius 6 has 113, and a soft rim


def test_fog_hides_contrast_and_is_no_brighter_than_the_picture(damaged):
    pixels = scene()
    pixels[:, 100:] = 200
    copy = damaged(pixels, "fog", 3).astype(float)
    assert copy.max() <= pixels.max()
    step = [float(np.abs(np.diff(picture.astype(float), axis=1)).max()) for picture in (pixels, copy)]
    assert step[1] < 0.5 * step[0]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (33, 70)])
@pytest.mark.parametrize("by", KINDS)
def test_small_and_narrow_images_are_damaged_too(damaged, by, shape):
    assert damaged(np.zeros((*shape, 3), np.uint8), by, 3).shape == (*shape, 3)


def _set(tmp_path: Path, load, picture) -> ImageSet:
    for seed, name in enumerate(("a.jpg", "a.png", "deep/b.png")):
        picture(tmp_path / "set" / "images" / name, seed=seed)
        label = (tmp_path / "set" / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "set" / "data.yaml").write_text("train: images\nnames: [cat]\n")
    loaded: ImageSet = load("cat", path="set")
    return loaded


def _copies(images: ImageSet, out: Path, corrupt: Corrupt) -> ImageSet:
    write_corrupted(images, corrupt, out, Job())
    return corrupted_set(images, corrupt, out, ScanCache(None), Job())


@pytest.mark.parametrize("by", KINDS)
def test_a_set_of_copies_has_the_labels_of_the_images(tmp_path, load, picture, by):
    images = _set(tmp_path, load, picture)
    copies = _copies(images, tmp_path / "out", Corrupt(by=by))
    end = "jpg" if by == "jpeg" else "png"
    assert copies.table.key == tuple(f"{key}.{end}" for key in images.table.key)
    assert np.array_equal(copies.table.xyxy, images.table.xyxy)
    assert np.array_equal(copies.table.size, images.table.size)
    assert not set(copies.table.sha) & set(images.table.sha)
    assert all(read_image(path).shape == (30, 40, 3) for path in copies.paths)
    assert fingerprint(copies) == fingerprint(_copies(images, tmp_path / "again", Corrupt(by=by)))


def test_copies_that_are_whole_are_not_made_again(tmp_path, load, picture):
    images = _set(tmp_path, load, picture)
    first = _copies(images, tmp_path / "out", Corrupt(by="noise"))
    mark = first.path(0).stat().st_mtime_ns
    first.path(1).unlink()
    second = _copies(images, tmp_path / "out", Corrupt(by="noise"))
    assert second.path(0).stat().st_mtime_ns == mark
    assert second.table.sha == first.table.sha


def test_unreadable_images_keep_their_reason(tmp_path, load, picture):
    picture(tmp_path / "set" / "good.png")
    (tmp_path / "set" / "bad.png").write_bytes(b"no image")
    images = load("cat", labels=False, path="set")
    copies = _copies(images, tmp_path / "out", Corrupt(by="blur"))
    assert copies.table.reason == images.table.reason
    assert [path.is_file() for path in copies.paths] == copies.table.ok.tolist() == [False, True]


def test_an_image_that_was_turned_is_damaged_as_it_is_seen(tmp_path, load, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "set" / "turned.jpg", (40, 30), exif=exif)
    images = load("cat", labels=False, path="set")
    copies = _copies(images, tmp_path / "out", Corrupt(by="darkness"))
    assert read_image(copies.path(0)).shape == (40, 30, 3)
    assert copies.table.size.tolist() == [[30, 40]]
