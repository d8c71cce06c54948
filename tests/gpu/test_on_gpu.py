"""What only a GPU can show; skipped, and counted, where there is none."""

from pathlib import Path

import pytest

from da_kd.data import ScanCache, load_images
from da_kd.demo import render_set
from da_kd.events import Job
from da_kd.recipe import Architecture, Images, Schedule
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.teachers.device import resolve_device
from da_kd.training import Setting, TrainingTask, train

pytestmark = pytest.mark.gpu


def test_a_student_trains_on_the_gpu_and_answers_as_on_the_cpu(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    render_set("lab_a", "train", 16, 0, tmp_path / "data")
    spec = Images(path=str(tmp_path / "data"), split="train")
    classes = ("RBC", "WBC", "Platelets")
    images = load_images(
        spec, tmp_path, classes, labels=True, cache=ScanCache(None), frames=tmp_path, job=Job(), name="data.source"
    )
    assert resolve_device("auto") == "cuda:0"
    schedule = Schedule(epochs=40, batch=8, lr=0.002)
    task = TrainingTask("gpu", Architecture(imgsz=160), None, schedule, images, Setting(0, "cuda:0", 2))
    assert train(task, tmp_path, Job()).device == "cuda:0"
    model = adapter("ultralytics")(tmp_path / "weights.pt", {})
    found = []
    for device in ("cpu", "cuda:0"):
        with model.open(device, 0.3, 8) as predictor:
            found.append(predict_images(predictor, images, "student", 8, Job(), device))
    assert len(found[0].xyxy) > 0
    assert abs(len(found[0].xyxy) - len(found[1].xyxy)) <= 0.05 * len(found[0].xyxy) + 1


def test_an_open_batch_is_measured_and_one_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    render_set("lab_a", "train", 64, 0, tmp_path / "data")
    spec = Images(path=str(tmp_path / "data"), split="train")
    classes = ("RBC", "WBC", "Platelets")
    images = load_images(
        spec, tmp_path, classes, labels=True, cache=ScanCache(None), frames=tmp_path, job=Job(), name="data.source"
    )
    architecture, setting, warned = Architecture(imgsz=640), Setting(0, "cuda:0", 2), []
    (tmp_path / "auto").mkdir()
    schedule = Schedule(epochs=1, batch="auto")
    measured = train(TrainingTask("gpu", architecture, None, schedule, images, setting), tmp_path / "auto", Job())
    assert 1 <= measured.steps <= 64
    (tmp_path / "small").mkdir()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 6 * 2**30 / total))
    try:
        task = TrainingTask("gpu", architecture, None, Schedule(epochs=2, batch=64), images, setting)
        result = train(task, tmp_path / "small", Job(lambda event: warned.append(getattr(event, "text", ""))))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.steps == 2
    assert any("do not fit into the memory" in text for text in warned)
