"""Pictures, an untrained teacher, and what one process writes of them, for all tests of many processes."""

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import table_of
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
from da_kd.recipe import Predict
from da_kd.stages import predict
from da_kd.teachers.ultralytics import UltralyticsTeacher

COUNT = 46
LOCAL = Predict(floor=1e-5, batch=2, shard=4)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with untrained weights and random pictures, one of them broken."""
    settle_ultralytics()
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("fleet")
    YOLO("yolo11n.yaml").save(str(folder / "w.pt"))
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="session")
def images(place):
    keys = [f"{number:02}.png" for number in range(COUNT)]
    return ImageSet(place, table_of(("x",), scan(place, keys, ScanCache(None)), {}))


@pytest.fixture(scope="session")
def teacher(place):
    return UltralyticsTeacher(place / "w.pt", {"imgsz": 64, "max_boxes": 9})


@pytest.fixture(scope="session")
def whole(images, teacher, tmp_path_factory):
    """What one process writes."""
    out = tmp_path_factory.mktemp("whole")
    predict.run("t", teacher, LOCAL, images, "cpu", out, Job())
    return out
