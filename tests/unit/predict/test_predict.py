"""*predict* with a replaying teacher over real small pictures: shards, kills, and files that are no pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import table_of
from da_kd.errors import Cancelled, DataError
from da_kd.events import Event, Job, Progress
from da_kd.recipe import Predict
from da_kd.stages import predict
from da_kd.teachers.coco_file import CocoFileTeacher

COUNT = 10
CONFIG = Predict(shard=4, batch=3, floor=0.3, max_bad=0.5)


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    keys = [f"{index}.png" for index in range(COUNT)]
    for index, key in enumerate(keys):
        Image.fromarray(np.full((6, 6, 3), index, np.uint8)).save(root / key)
    (root / "5.png").write_bytes(b"no picture")

    def load():
        return ImageSet(root, table_of(("x",), scan(root, keys, ScanCache(None)), {}))

    return load


@pytest.fixture
def teacher(tmp_path):
    """Says one box of every image, its score rising from image to image; has never heard of the last one."""
    rows = [
        {"image_id": f"{index}.png", "category_id": "cell", "bbox": [0, 0, 1 + index, 2], "score": index / 10}
        for index in range(COUNT - 1)
    ]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    return CocoFileTeacher(tmp_path / "said.json", {})


class Never:
    """A teacher that must not be opened."""

    def open(self, device, floor, batch):
        raise AssertionError("it was opened")


def shards(folder):
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}


def out(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_every_image_is_answered_for_in_the_teachers_own_words(images, teacher, tmp_path):
    told: list[Event] = []
    folder = out(tmp_path, "out")
    predict.run("t", teacher, CONFIG, images(), "cpu", folder, Job(told.append))
    assert sorted(shards(folder)) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    table = predict.read_predictions(folder)
    assert table.key == images().table.key
    assert (table.vocabulary, table.teachers) == (("cell",), ("t",))
    assert table.image_index.tolist() == [3, 4, 6, 7, 8]  # 0 to 2 score below the floor, 5 is no picture
    assert table.searched[:, 0].tolist() == [index not in (5, 9) for index in range(COUNT)]
    assert table.reason[5] == "not an image"
    assert table.reason[9] == "the stored predictions do not name this image"
    (warning,) = [event.text for event in told if getattr(event, "level", "") == "warning"]
    assert warning.startswith("2 of 10 target images were skipped, e.g. 5.png: not an image")
    done = [event.done for event in told if isinstance(event, Progress)]
    assert done == [3, 4, 7, 8, 10]  # batches of three never cross a shard of four


@pytest.mark.parametrize("lost", [[0], [1], [0, 2], [0, 1, 2]])
def test_missing_shards_are_made_again_as_they_were(images, teacher, tmp_path, lost):
    whole, broken = out(tmp_path, "whole"), out(tmp_path, "broken")
    for folder in (whole, broken):
        predict.run("t", teacher, CONFIG, images(), "cpu", folder, Job())
    before = {path.name: path.stat().st_mtime_ns for path in (broken / "shards").iterdir()}
    for index in lost:
        (broken / "shards" / f"{index:05d}.parquet").unlink()
    told: list[Event] = []
    predict.run("t", teacher, CONFIG, images(), "cpu", broken, Job(told.append))
    assert shards(broken) == shards(whole)
    kept = {name for name in before if int(name[:5]) not in lost}
    assert {n: t for n, t in before.items() if n in kept} == {
        path.name: path.stat().st_mtime_ns for path in (broken / "shards").iterdir() if path.name in kept
    }
    assert any(f"{len(kept)} of 3 shards" in getattr(event, "text", "") for event in told) == bool(kept)


def test_a_teacher_is_not_even_opened_when_all_is_there(images, teacher, tmp_path):
    folder = out(tmp_path, "out")
    predict.run("t", teacher, CONFIG, images(), "cpu", folder, Job())
    predict.run("t", Never(), CONFIG, images(), "cpu", folder, Job())
    (folder / "shards" / "00001.parquet").unlink()
    with pytest.raises(AssertionError, match="opened"):
        predict.run("t", Never(), CONFIG, images(), "cpu", folder, Job())


def test_stopping_keeps_the_finished_shards_and_going_on_ends_the_same(images, teacher, tmp_path):
    whole, folder, told = out(tmp_path, "whole"), out(tmp_path, "out"), []
    predict.run("t", teacher, CONFIG, images(), "cpu", whole, Job())
    job = Job(told.append, cancelled=lambda: len([e for e in told if isinstance(e, Progress)]) == 3)
    with pytest.raises(Cancelled):
        predict.run("t", teacher, CONFIG, images(), "cpu", folder, job)
    assert sorted(shards(folder)) == ["00000.parquet"]
    predict.run("t", teacher, CONFIG, images(), "cpu", folder, Job())
    assert shards(folder) == shards(whole)


def test_too_many_unreadable_images_are_refused_with_an_example(images, teacher, tmp_path):
    folder = out(tmp_path, "out")
    strict = CONFIG.model_copy(update={"max_bad": 0.19})
    with pytest.raises(DataError, match=r"at most 19% .* found 2 of 10 \(5\.png: not an image\).*'predict\.max_bad'"):
        predict.run("t", teacher, strict, images(), "cpu", folder, Job())
    predict.run("t", Never(), strict.model_copy(update={"max_bad": 0.2}), images(), "cpu", folder, Job())
