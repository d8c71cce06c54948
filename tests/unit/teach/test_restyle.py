"""Source images in the colours of target images: what is written, what it is called, and what stays the same."""

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, read_image, scan
from da_kd.data.colours import colours_of
from da_kd.detections import Detections, State, table_of
from da_kd.errors import Cancelled, DataError
from da_kd.events import Job
from da_kd.recipe import Restyle
from da_kd.stages.teach import restyle, with_restyled

NAMES = ("cell", "spot")


def pictures(folder, count, tint, seed):
    """Return a set of noisy pictures of one tint, each with as many boxes as its number."""
    folder.mkdir()
    chance, keys, found = np.random.default_rng(seed), [f"{number}.png" for number in range(count)], {}
    for number, key in enumerate(keys):
        noise = chance.normal(0, 12, (40, 60, 3)) + np.array(tint) + number
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / key)
        low = chance.uniform(0, 20, (number, 2))
        found[key] = Detections(NAMES, np.hstack([low, low + 9]), np.ones(number), np.arange(number) % 2)
    return ImageSet(folder, table_of(NAMES, scan(folder, keys, ScanCache(None)), found))


@pytest.fixture
def sets(tmp_path):
    return pictures(tmp_path / "home", 3, (90, 120, 150), 0), pictures(tmp_path / "away", 5, (190, 120, 90), 1)


def made(sets, out, copies=2, seed=0, job=None, stretch=0.0, turn=False):
    out.mkdir(exist_ok=True)
    restyle(*sets, Restyle(copies=copies, stretch=stretch, turn=turn), seed, out, job or Job())
    return with_restyled(sets[0], out)


def test_every_image_stays_and_has_copies_with_its_boxes(sets, tmp_path):
    source, seen = sets[0], made(sets, tmp_path / "out")
    assert len(seen) == 9
    assert seen.table.sha[:3] == source.table.sha
    assert len(set(seen.table.sha)) == 9
    for copy in range(1, 3):
        for image in range(3):
            own, other = source.table.at(image), seen.table.at(3 * copy + image)
            assert np.array_equal(own.xyxy, other.xyxy)
            assert np.array_equal(own.label, other.label)
    assert (seen.table.state == State.KEPT).all()
    assert all(path.is_file() for path in seen.paths)


def test_copies_have_the_colours_of_target_images(sets, tmp_path):
    seen = made(sets, tmp_path / "out")
    lent = np.array([colours_of(read_image(path)).mean for path in sets[1].paths])
    for image in range(3, 9):
        own = colours_of(read_image(seen.path(image))).mean
        assert np.abs(lent - own).max(axis=1).min() < 2  # those of one of them
    first, second = (colours_of(read_image(seen.path(image))).mean for image in (3, 6))
    assert np.abs(first - second).max() > 0.1  # and not the same one's twice


def test_the_same_seed_makes_the_same_files_and_another_one_others(sets, tmp_path):
    first, again, other = (made(sets, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.table.sha == again.table.sha
    assert first.table.sha != other.table.sha


def test_a_copy_that_is_there_is_not_made_again_and_a_stop_is_heard(sets, tmp_path):
    out = tmp_path / "out"
    made(sets, out)
    first = out / "images" / "0" / "0000000.jpg"
    before = first.stat().st_mtime_ns
    (out / "images" / "1" / "0000002.jpg").unlink()
    made(sets, out)
    assert first.stat().st_mtime_ns == before
    assert (out / "images" / "1" / "0000002.jpg").is_file()
    with pytest.raises(Cancelled):
        made(sets, tmp_path / "stopped", job=Job(cancelled=lambda: True))
    assert not (tmp_path / "stopped" / "restyled.parquet").exists()


def test_images_that_cannot_be_read_are_left_out_and_a_target_of_them_alone_is_refused(sets, tmp_path):
    source, target = sets
    source.path(1).write_bytes(b"broken")
    source = ImageSet(source.root, table_of(NAMES, scan(source.root, source.table.key, ScanCache(None)), {}))
    assert len(made((source, target), tmp_path / "out")) == 6
    for path in target.paths:
        path.write_bytes(b"broken")
    target = ImageSet(target.root, table_of(NAMES, scan(target.root, target.table.key, ScanCache(None)), {}))
    with pytest.raises(DataError, match="none can be read"):
        made((source, target), tmp_path / "none")


def test_copies_are_stretched_with_their_boxes_and_no_further_than_asked(sets, tmp_path):
    source, seen = sets[0], made(sets, tmp_path / "out", copies=20, stretch=0.5)
    size = seen.table.size[3:]
    assert [read_image(path).shape[1::-1] for path in seen.paths[3:]] == [tuple(row) for row in size.tolist()]
    ratio = size[:, 0] / size[:, 1] / (60 / 40)
    assert ratio.min() < 0.8  # both ways
    assert ratio.max() > 1.25
    assert ratio.min() > 1 / 1.5 - 0.03  # and half a pixel of rounding
    assert ratio.max() < 1.5 + 0.03
    assert np.abs(size.prod(axis=1) / 2400 - 1).max() < 0.03  # as large as before
    for copy in range(1, 21):
        own, other = source.table.at(2).xyxy, seen.table.at(3 * copy + 2).xyxy
        assert np.allclose(own / [60, 40, 60, 40], other / np.tile(seen.table.size[3 * copy + 2], 2), atol=1e-6)


def test_some_copies_are_turned_with_their_boxes(sets, tmp_path):
    source, plain = sets[0], made(sets, tmp_path / "plain", copies=20)
    seen = made(sets, tmp_path / "out", copies=20, turn=True)
    turned = [image for image in range(3, len(seen)) if seen.table.size[image].tolist() == [40, 60]]
    assert 15 < len(turned) < 45  # of 60
    for image in range(3, len(seen)):
        box, own = seen.table.at(image).xyxy, source.table.at(image % 3).xyxy
        before, after = (read_image(one.path(image)) for one in (plain, seen))
        if image in turned:
            assert np.allclose(box, np.stack([40 - own[:, 3], own[:, 0], 40 - own[:, 1], own[:, 2]], axis=1))
            before = np.rot90(before, -1)
        else:
            assert np.array_equal(box, own)
        assert np.abs(after.astype(int) - before).mean() < 2  # but for what JPEG loses
