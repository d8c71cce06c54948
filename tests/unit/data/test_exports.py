from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import coco_dict, read_image, write_coco, write_yolo
from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.errors import DataError

CLASSES = ("cat", "dog")


def a_table(*keys: str) -> DetectionTable:
    """Three boxes on the first image, none on the second, a bad third, a fourth that nobody looked at."""
    images = [ImageRecord(key, f"{index:032x}", 40, 30) for index, key in enumerate(keys)]
    images[2] = dataclasses.replace(images[2], width=0, height=0, reason="truncated")
    xyxy = np.array([[1.3, 2.7, 30.1, 20.9], [0, 0, 40, 30], [5, 5, 9, 9]], np.float32)
    found = {
        keys[0]: Detections(CLASSES, xyxy, np.array([0.9, 0.4, 1], np.float32), np.array([1, 0, 0], np.int32)),
        keys[1]: Detections.empty(CLASSES),
    }
    state = {keys[0]: np.array([State.KEPT, State.UNCERTAIN, State.IGNORED])}
    return table_of(CLASSES, images, found, state=state, teachers=("anna",))


KEYS = ("deep/a.png", "deep/b.png", "c.png", "d.png")


def test_coco_for_others(tmp_path: Path) -> None:
    write_coco(a_table(*KEYS), tmp_path / "new" / "out.json")
    content = json.loads((tmp_path / "new/out.json").read_text())
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4]
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 2, 3]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    first, _, last = content["annotations"]
    assert first["category_id"] == 2
    assert first["area"] == pytest.approx(28.8 * 18.2, rel=1e-5)
    assert (first["iscrowd"], last["iscrowd"]) == (0, 1)
    assert first["da_kd"]["state"] == "kept"
    assert first["da_kd"]["protected"] is False
    assert first["da_kd"]["teacher_scores"] == {"anna": pytest.approx(0.9)}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.json"]


def test_coco_names_can_hold_the_root() -> None:
    assert coco_dict(a_table(*KEYS), Path("/data"))["images"][0]["file_name"] == "/data/deep/a.png"


def test_pycocotools_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = pytest.importorskip("pycocotools.coco")
    write_coco(a_table(*KEYS), tmp_path / "out.json")
    assert len(module.COCO(str(tmp_path / "out.json")).getAnnIds(imgIds=[1])) == 3


@pytest.mark.parametrize("prefix", ["", "images/train/"])
def test_yolo_reads_back(tmp_path: Path, picture, load, prefix: str) -> None:
    keys = tuple(prefix + key for key in KEYS)
    for seed, key in enumerate(keys):
        picture(tmp_path / "root" / key, seed=seed)
    left_out = write_yolo(a_table(*keys), tmp_path / "root", tmp_path / "out" / "set")
    assert left_out == keys[2:]
    names = [f"images/{key.removeprefix('images/')}" for key in keys[:2]]
    table = load(*CLASSES, path="out/set").table
    assert list(table.key) == names
    np.testing.assert_allclose(table.at(0).xyxy, [[1.3, 2.7, 30.1, 20.9]], rtol=1e-6)
    assert table.at(0).label.tolist() == [1]
    assert np.array_equal(read_image(tmp_path / "out/set" / names[0]), read_image(tmp_path / "root" / keys[0]))
    assert (tmp_path / "out/set" / names[1].replace("images/", "labels/").replace(".png", ".txt")).read_text() == ""


def test_ultralytics_finds_the_labels(tmp_path: Path, picture) -> None:
    utils = pytest.importorskip("ultralytics.data.utils")
    for seed, key in enumerate(KEYS):
        picture(tmp_path / "root" / key, seed=seed)
    write_yolo(a_table(*KEYS), tmp_path / "root", tmp_path / "set")
    config = utils.check_det_dataset(str(tmp_path / "set/data.yaml"), autodownload=False)
    assert config["names"] == {0: "cat", 1: "dog"}
    image = str(Path(config["train"]) / "deep/a.png")
    assert Path(utils.img2label_paths([image])[0]).read_text().startswith("1 ")


def test_links_fail_copies_do(tmp_path: Path, picture, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    for seed, key in enumerate(KEYS):
        picture(tmp_path / "root" / key, seed=seed)
    write_yolo(a_table(*KEYS), tmp_path / "root", tmp_path / "set")
    copy = tmp_path / "set/images/deep/a.png"
    assert copy.is_file()
    assert not copy.is_symlink()


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="new or empty folder"):
        write_yolo(a_table(*KEYS), tmp_path, tmp_path)


def test_two_images_cannot_share_a_label_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.png' and 'a.jpg'"):
        write_yolo(a_table("a.png", "a.jpg", "c.png", "d.png"), tmp_path, tmp_path / "set")
