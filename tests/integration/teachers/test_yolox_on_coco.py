"""A real detector of another family on real photographs, scored with da_kd's own figures."""

import logging

import pytest

from da_kd.data import ScanCache, load_images
from da_kd.events import Job
from da_kd.recipe import Images
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.teachers.coco_names import COCO_80


def test_yolox_nano_reaches_its_published_kind_of_figure_on_coco(real_data, tmp_path):
    pytest.importorskip("onnxruntime", reason="the adapter 'onnx' needs onnxruntime (extra 'onnx')")
    weights = real_data / "weights" / "yolox_nano.onnx"
    if not weights.is_file() or not (real_data / "coco128").is_dir():
        pytest.skip(f"no coco128 and yolox_nano.onnx below {real_data}")
    truth = load_images(
        Images(path="coco128/data.yaml", split=("val",)),
        real_data,
        COCO_80,
        labels=True,
        cache=ScanCache(None),
        frames=tmp_path,
        job=Job(),
        name="data.test",
    )
    with adapter("onnx")(weights, {"names": "coco"}).open("cpu", 0.005, 16) as predictor:
        said = predict_images(predictor, truth, "yolox", 16, Job(), "yolox")
    metrics = score_tables(truth.table, said)
    logging.getLogger(__name__).info("yolox_nano: AP50 %.4f, AP %.4f", metrics.AP50, metrics.AP)
    assert len(said) == 128
    assert metrics.AP50 >= 0.48
    assert metrics.AP >= 0.29
