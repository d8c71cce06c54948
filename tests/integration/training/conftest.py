"""A small labelled image set, and a training task over it that takes seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from da_kd.data import ImageSet, ScanCache, load_images
from da_kd.demo import render_set
from da_kd.events import Job
from da_kd.recipe import Architecture, Images, Schedule
from da_kd.training import Setting, Signals, TrainingTask
from da_kd.training.signals import GROUND_TRUTH

CLASSES = ("RBC", "WBC", "Platelets")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch use one thread: for models this small, more only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("cells")
    render_set("lab_a", "train", 10, 0, folder, size=96)
    spec = Images(path=str(folder), split="train")
    return load_images(
        spec, folder, CLASSES, labels=True, cache=ScanCache(None), frames=folder / "f", job=Job(), name="data.source"
    )


@pytest.fixture
def task(cells: ImageSet) -> Callable[..., TrainingTask]:
    def make(
        model: str = "yolo11n.yaml",
        device: str = "cpu",
        images: ImageSet = cells,
        signals: Signals = GROUND_TRUTH,
        **schedule,
    ) -> TrainingTask:
        width = None if model.endswith(".pt") else 0.125
        architecture = Architecture(model=model, width=width, imgsz=64)
        settings = {"epochs": 3, "batch": 5, "lr": 0.002, **schedule}
        return TrainingTask("small", architecture, None, Schedule(**settings), images, Setting(0, device), signals)

    return make


@pytest.fixture
def weights_of() -> Callable[[Path], dict]:
    """Return a checkpoint's weights by name, as lists that compare exactly."""

    def read(path: Path) -> dict:
        from ultralytics.nn.tasks import torch_safe_load

        checkpoint, _ = torch_safe_load(str(path))
        return {name: value.flatten().tolist() for name, value in checkpoint["model"].state_dict().items()}

    return read
