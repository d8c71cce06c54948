"""Torchvision detectors trained from scratch: what is learned, and what happens to a training that is interrupted."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, load_images, only_classes
from da_kd.demo import render_set
from da_kd.detections import ImageRecord, State, table_of
from da_kd.errors import Cancelled, DaKdError, DataError, InputError, SetupError
from da_kd.events import Figures, Job, Note, Progress
from da_kd.recipe import Architecture, Images, Schedule
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.teachers.torchvision import build_model, save_checkpoint
from da_kd.training import Setting, TrainingTask, read_result
from da_kd.training_torchvision import adapt_torchvision, train_torchvision

CLASSES = ("RBC", "WBC", "Platelets")
MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> ImageSet:
    folder = tmp_path_factory.mktemp("cells")
    render_set("lab_a", "train", 4, 0, folder, size=96)
    spec = Images(path=str(folder), split=("train",))
    return load_images(
        spec, folder, CLASSES, labels=True, cache=ScanCache(None), frames=folder / "f", job=Job(), name="data.source"
    )


def task(images: ImageSet, model: str = MODEL, imgsz: int = 64, **schedule) -> TrainingTask:
    settings = {"epochs": 2, "batch": 2, "lr": 0.001, **schedule}
    return TrainingTask(
        "small", Architecture(model=model, imgsz=imgsz), None, Schedule(**settings), images, Setting(0, "cpu")
    )


def weights_of(folder: Path) -> dict:
    import torch

    return torch.load(folder / "weights.pt", weights_only=True)["state_dict"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(bool((one[key] == other[key]).all()) for key in one)


@pytest.fixture(scope="module")
def straight(cells, tmp_path_factory) -> tuple[Path, list]:
    """A training that nothing interrupted, and what it told."""
    folder, told = tmp_path_factory.mktemp("straight"), []
    train_torchvision(task(cells), folder, Job(told.append))
    return folder, told


def test_a_training_leaves_weights_that_answer_and_a_record(cells, straight) -> None:
    folder, told = straight
    assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.pt"]
    result = read_result(folder)
    assert (result.epochs, result.steps, result.images, result.boxes) == (2, 4, 4, len(cells.table.xyxy))
    assert [record["epoch"] for record in result.curves] == [1, 2]
    assert result.curves[0]["loss_classifier"] > 0
    assert [event.step for event in told if isinstance(event, Figures)] == [1, 2]
    assert [event.done for event in told if isinstance(event, Progress)] == [0, 1, 2]
    assert "images/s, loss" in [event.note for event in told if isinstance(event, Progress)][-1]
    with adapter("torchvision")(folder / "weights.pt", {}).open("cpu", 0.0, 2) as predictor:
        assert predictor.classes == CLASSES
        assert predict_images(predictor, cells, "t", 2, Job(), "t").searched.all()


KILLED = """
import os, signal, sys, pickle
from pathlib import Path
from da_kd.events import Job, Figures
from da_kd.training_torchvision import adapt_torchvision, train_torchvision
def die(event):
    if isinstance(event, Figures):
        os.kill(os.getpid(), signal.SIGKILL)
train_torchvision(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Job(die))
"""


def test_a_killed_training_goes_on_to_the_same_weights(cells, straight, tmp_path) -> None:
    import torch

    (tmp_path / "task").write_bytes(pickle.dumps(task(cells)))
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "task"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(command, check=False, capture_output=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "weights.pt").exists()
    (folder / "resume.pt.tmp").write_bytes(b"half a checkpoint")
    result = train_torchvision(task(cells), folder, Job())
    assert result.resumed_from == (1,)
    assert [record["epoch"] for record in result.curves] == [1, 2]
    assert same(weights_of(folder), weights_of(straight[0]))


def test_a_finished_training_trains_no_more(cells, straight) -> None:
    told: list = []
    assert train_torchvision(task(cells), straight[0], Job(told.append)) == read_result(straight[0])
    assert told == []


def test_a_training_is_stopped_between_batches(cells, tmp_path) -> None:
    asked: list[int] = []

    def twice() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(Cancelled):
        train_torchvision(task(cells), tmp_path, Job(cancelled=twice))
    assert not (tmp_path / "weights.pt").exists()


def test_only_kept_boxes_are_learned_and_images_without_any_are_legal(cells, tmp_path) -> None:
    state = np.full(len(cells.table.state), State.UNCERTAIN, np.int8)
    state[-3:] = State.KEPT
    images = dataclasses.replace(cells, table=dataclasses.replace(cells.table, state=state))
    assert train_torchvision(task(images, epochs=1), tmp_path, Job()).boxes == 3


def test_nothing_to_learn_is_said(cells, tmp_path) -> None:
    none = ImageSet(cells.root, cells.table.pick_boxes(np.zeros(len(cells.table.xyxy), bool)))
    with pytest.raises(DataError, match="found 4 images and 0 boxes to learn from"):
        train_torchvision(task(none), tmp_path, Job())


def test_a_training_that_loses_its_numbers_stops_with_a_sentence(cells, tmp_path) -> None:
    with pytest.raises(DaKdError, match=r"'small' lost its numbers in epoch 1 .*lower 'lr'"):
        train_torchvision(task(cells, lr=1e30, optimizer="SGD"), tmp_path, Job())
    assert not (tmp_path / "weights.pt").exists()


@pytest.mark.parametrize(("model", "imgsz"), [("ssdlite320_mobilenet_v3_large", 320), ("fcos_resnet50_fpn", 64)])
def test_other_families_train_on_some_of_the_classes(cells, model, imgsz, tmp_path) -> None:
    some = only_classes(cells, ["Platelets", "RBC"])
    train_torchvision(task(some, model, imgsz, epochs=1, batch=4), tmp_path, Job())
    with adapter("torchvision")(tmp_path / "weights.pt", {}).open("cpu", 0.5, 1) as predictor:
        assert predictor.classes == ("Platelets", "RBC")


@pytest.mark.parametrize(("model", "imgsz"), [("ssdlite320_mobilenet_v3_large", 320), (MODEL, 32)])
def test_an_image_that_is_left_over_joins_those_before_where_it_could_not_be_learned_alone(
    cells, model, imgsz, tmp_path
) -> None:
    assert train_torchvision(task(cells.take([0, 1, 2]), model, imgsz, epochs=1), tmp_path, Job()).steps == 1
    with pytest.raises(InputError, match=r"needs 2 images a step .* expected a 'batch' of 2 or more; found 1"):
        train_torchvision(task(cells, model, imgsz, batch=1), tmp_path / "one", Job())
    with pytest.raises(DataError, match=r"found one image to learn from; .* needs two at 'imgsz: .*Add images"):
        train_torchvision(task(cells.take([0]), model, imgsz), tmp_path / "one", Job())


def test_a_model_that_learns_from_single_images_is_shown_the_last_one_alone(cells, tmp_path) -> None:
    assert train_torchvision(task(cells.take([0, 1, 2]), epochs=1), tmp_path, Job()).steps == 2


@pytest.fixture
def small_memory(monkeypatch):
    """Make more images at a time than fit end as they do on a GPU; return what went through the model."""

    def of(most: int) -> list[int]:
        import torch

        from da_kd.training_torchvision import train

        real, taken = train.build_model, []

        def limited(model, given) -> None:
            if len(given[0]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            taken.append(len(given[0]))

        def built(*given):
            model = real(*given)
            model.register_forward_pre_hook(limited)
            return model

        monkeypatch.setattr(train, "build_model", built)
        return taken

    return of


@pytest.mark.parametrize(
    ("model", "imgsz", "most", "parts"), [(MODEL, 64, 1, [1] * 4), ("ssdlite320_mobilenet_v3_large", 320, 2, [2] * 2)]
)
def test_a_batch_that_does_not_fit_is_halved_and_steps_stay(
    cells, small_memory, model, imgsz, most, parts, tmp_path
) -> None:
    taken, told = small_memory(most), []
    result = train_torchvision(task(cells, model, imgsz, epochs=2, batch=16), tmp_path, Job(told.append))
    assert (result.epochs, result.steps) == (2, 2)
    assert taken == parts * 2
    assert "4 images at a time do not fit" in next(event.text for event in told if isinstance(event, Note))


def test_one_image_that_does_not_fit_is_a_sentence(cells, small_memory, tmp_path) -> None:
    small_memory(0)
    with pytest.raises(SetupError, match="'small' expected memory for one image at a time; there is too little"):
        train_torchvision(task(cells), tmp_path, Job())


def test_it_learns_what_it_sees(cells, tmp_path) -> None:
    one = cells.take([0, 1])
    plain = {"fliplr": 0, "scale": 0, "colour": 0}
    result = train_torchvision(task(one, epochs=12, lr=0.0005, args=plain), tmp_path, Job())
    losses = [sum(value for name, value in record.items() if name.startswith("loss")) for record in result.curves]
    assert losses[-1] < 0.8 * losses[0]


def test_batch_norm_adaptation_changes_statistics_alone(cells, straight, tmp_path: Path) -> None:
    weights = straight[0] / "weights.pt"
    adapt_torchvision(weights, {}, cells, "cpu", tmp_path, Job())
    old, new = weights_of(straight[0]), weights_of(tmp_path)
    changed = {name.rsplit(".", 1)[-1] for name in old if not bool((old[name] == new[name]).all())}
    assert changed == {"running_mean", "running_var"}
    (tmp_path / "again").mkdir()
    adapt_torchvision(tmp_path / "weights.pt", {}, cells, "cpu", tmp_path / "again", Job())
    assert same(weights_of(tmp_path / "again"), new)  # it does not matter what they were before


def test_plain_weights_are_adapted_with_their_options_and_stay_plain(cells, straight, tmp_path: Path) -> None:
    import torch

    options = {"model": MODEL, "names": list(CLASSES), "min_size": 64, "max_size": 64}
    torch.save(weights_of(straight[0]), tmp_path / "plain.pt")
    adapt_torchvision(tmp_path / "plain.pt", options, cells, "cpu", tmp_path, Job())
    assert torch.load(tmp_path / "weights.pt", weights_only=True).keys() == weights_of(straight[0]).keys()
    with adapter("torchvision")(tmp_path / "weights.pt", options).open("cpu", 0.1, 2) as predictor:
        assert predictor.classes == CLASSES


def test_pictures_of_many_sizes_are_adapted_to_together_where_the_model_makes_them_alike(tmp_path: Path) -> None:
    import torch

    model = build_model("ssdlite320_mobilenet_v3_large", 1)
    save_checkpoint(tmp_path / "start.pt", "ssdlite320_mobilenet_v3_large", ["a"], model)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    records = [ImageRecord(f"{side}.png", "00" * 16, side, 64, "") for side in (60, 62, 64)]
    for record in records:
        Image.fromarray(pixels[:, : record.width]).save(tmp_path / record.key)
    images = ImageSet(tmp_path, table_of(("a",), records, {}))
    adapt_torchvision(tmp_path / "start.pt", {}, images, "cpu", tmp_path, Job())
    old, new = torch.load(tmp_path / "start.pt", weights_only=True)["state_dict"], weights_of(tmp_path)
    assert all(bool((old[name] != new[name]).any()) for name in old if name.endswith("running_mean"))
