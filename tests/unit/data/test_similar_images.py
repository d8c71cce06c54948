"""Images that look alike: the hash of a picture, and the search for near ones."""

import numpy as np
import pytest
from PIL import Image as Picture

from da_kd.data.similar import alike, image_hash, image_hashes
from da_kd.errors import DataError
from da_kd.events import Job


def bits(a, b) -> int:
    return bin(int(a) ^ int(b)).count("1")


def test_a_hash_stays_when_a_picture_is_made_smaller_brighter_or_a_jpeg(tmp_path, photo):
    picture = Picture.fromarray(photo(240, 160).pixels)
    picture.save(tmp_path / "a.png")
    picture.resize((120, 80), Picture.Resampling.BOX).save(tmp_path / "small.png")
    picture.point(lambda value: value * 0.8).save(tmp_path / "dark.png")
    picture.save(tmp_path / "a.jpg", quality=60)
    Picture.fromarray(photo(240, 160, 1).pixels).save(tmp_path / "other.png")
    first = image_hash(tmp_path / "a.png")
    assert all(bits(first, image_hash(tmp_path / name)) <= 3 for name in ("small.png", "dark.png", "a.jpg"))
    assert bits(first, image_hash(tmp_path / "other.png")) > 10


def test_an_image_that_cannot_be_read_is_like_none(picture_set):
    images = picture_set(6, broken=(2, 4))
    hashes = image_hashes(images, Job())
    assert len({int(hashes[index]) for index in (0, 1, 3, 5)}) == 1  # all are plain
    assert bits(hashes[2], hashes[0]) > 7
    assert bits(hashes[2], hashes[4]) > 7


def scattered(count: int, seed: int) -> np.ndarray:
    """Hashes, a third of them others with up to nine bits flipped, and some equal ones."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for row in range(count // 3):
        flipped = rng.choice(64, row % 10, replace=False)
        hashes[count // 2 + row] = hashes[row] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    hashes[-20:] = hashes[3]
    return hashes


@pytest.mark.parametrize("most", [0, 3, 4, 7])
def test_every_pair_within_so_many_bits_is_found_and_no_other(most):
    hashes = scattered(400, most)
    first, second, told = alike(hashes, most)
    _, leader = np.unique(hashes, return_index=True)
    leaders = set(leader.tolist())
    expected = {
        (i, j): bits(hashes[i], hashes[j])
        for i in leaders
        for j in range(len(hashes))
        if i != j and bits(hashes[i], hashes[j]) <= most and (j in leaders or hashes[i] == hashes[j])
    }
    expected = {(min(pair), max(pair)): count for pair, count in expected.items()}
    assert dict(zip(zip(first.tolist(), second.tolist(), strict=True), told.tolist(), strict=True)) == expected
    assert len(first) == len(expected) > 0


def test_more_bits_than_the_search_can_promise_are_refused():
    with pytest.raises(DataError, match="0 to 7"):
        alike(np.zeros(2, np.uint64), 8)


def test_no_image_is_no_pair():
    assert [len(part) for part in alike(np.zeros(0, np.uint64), 7)] == [0, 0, 0]
