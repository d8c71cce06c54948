"""Trainings, for real and for seconds: what they leave, how they repeat, how they are stopped and taken up again."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet
from da_kd.detections import ImageRecord, State, table_of
from da_kd.errors import Cancelled, DataError, RecipeError, WeightsError
from da_kd.events import Event, Figures, Job, Progress
from da_kd.training import adapt_batch_norm, read_result, train
from da_kd.training.adapt import pictures
from da_kd.training.signals import Lesson


def test_a_training_leaves_weights_curves_and_nothing_else(task, tmp_path: Path) -> None:
    events: list[Event] = []
    result = train(task(), tmp_path, Job(events.append))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.json", "weights.pt"]
    assert (result.epochs, result.steps, result.images) == (3, 6, 10)
    assert result == read_result(tmp_path)
    assert [record["epoch"] for record in result.curves] == [1, 2, 3]
    assert {"box_loss", "cls_loss", "dfl_loss", "lr"} <= set(result.curves[0])
    assert [event.step for event in events if isinstance(event, Figures)] == [1, 2, 3]
    assert [event.done for event in events if isinstance(event, Progress)] == [0, 1, 2, 3]


def test_the_same_seed_gives_the_same_weights(task, tmp_path: Path, weights_of) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        train(task(epochs=2), tmp_path / name, Job())
    assert weights_of(tmp_path / "a" / "weights.pt") == weights_of(tmp_path / "b" / "weights.pt")


def test_steps_become_whole_epochs(task, tmp_path: Path) -> None:
    result = train(task(epochs=None, steps=5), tmp_path, Job())
    assert (result.epochs, result.steps) == (2, 4)


def test_a_stopped_training_goes_on_from_its_last_epoch(task, tmp_path: Path) -> None:
    seen: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, Figures):
            seen.append(event.step)

    with pytest.raises(Cancelled):
        train(task(epochs=4), tmp_path, Job(watch, lambda: len(seen) == 2))
    assert not (tmp_path / "weights.pt").exists()
    result = train(task(epochs=4), tmp_path, Job(watch))
    assert result.resumed_from == (2,)
    assert [record["epoch"] for record in result.curves] == [1, 2, 3, 4]
    assert seen == [1, 2, 3, 4]


KILLED = """
import os, signal, sys, pickle
from pathlib import Path
from da_kd.events import Job, Figures
from da_kd.training import train
def die(event):
    if isinstance(event, Figures) and event.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Job(die))
"""


def test_a_killed_training_goes_on(task, tmp_path: Path) -> None:
    import pickle

    (tmp_path / "task").write_bytes(pickle.dumps(task(epochs=4)))
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "task"), str(folder)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    (folder / "ultralytics" / "weights" / "last.pt").write_bytes(b"half a checkpoint")
    result = train(task(epochs=4), folder, Job())
    assert result.resumed_from == (2,)
    assert [record["epoch"] for record in result.curves] == [1, 2, 3, 4]


def test_a_training_that_was_killed_after_its_last_epoch_trains_no_more(task, tmp_path: Path) -> None:
    seen: list[int] = []
    job = Job(lambda event: seen.append(event.step) if isinstance(event, Figures) else None)
    real = os.replace

    def broken(source: Path, target: Path) -> None:
        if Path(target).name == "weights.pt":
            raise OSError(5, "input/output error")
        real(source, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="input/output"):
        patch.setattr(os, "replace", broken)
        train(task(), tmp_path, job)
    train(task(), tmp_path, job)
    assert seen == [1, 2, 3]
    assert (tmp_path / "weights.pt").exists()


def test_only_kept_boxes_are_learned(task, cells: ImageSet, tmp_path: Path) -> None:
    state = np.full(len(cells.table.state), State.UNCERTAIN, np.int8)
    state[:7] = State.KEPT
    images = dataclasses.replace(cells, table=dataclasses.replace(cells.table, state=state))
    assert train(task(images=images, epochs=1), tmp_path, Job()).boxes == 7


def test_nothing_to_learn_is_said_before_anything_runs(task, cells: ImageSet, tmp_path: Path) -> None:
    none = dataclasses.replace(cells, table=cells.table.pick_boxes(np.zeros(len(cells.table.xyxy), bool)))
    with pytest.raises(DataError, match=r"found 10 images and 0 boxes.*predict\.floor"):
        train(task(images=none), tmp_path, Job())
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_training_are_a_start(task, tmp_path: Path, weights_of) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    train(task(epochs=1), first, Job())
    start = first / "weights.pt"
    train(dataclasses.replace(task(epochs=1, lr=1e-9), start=start), second, Job())
    old, new = weights_of(start), weights_of(second / "weights.pt")
    name = "model.0.conv.weight"
    assert np.allclose(old[name], new[name], atol=1e-3)


@pytest.mark.parametrize("cache", ["ram", None])
@pytest.mark.parametrize("kind", ["TableDataset", "StretchedDataset"])
def test_arrays_beside_images_are_the_users_and_neither_seen_nor_touched(kind: str, cache, tmp_path: Path) -> None:
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    from ultralytics.cfg import get_cfg

    from da_kd.training import table_data

    arrays = {"mask": np.zeros((64, 64), np.int64), "other": np.full((64, 64, 3), 7, np.uint8), "broken": None}
    for name, array in arrays.items():
        Image.fromarray(np.full((64, 64, 3), 100, np.uint8)).save(tmp_path / f"{name}.png")
        path = tmp_path / f"{name}.npy"
        path.write_bytes(b"mine") if array is None else np.save(path, array)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    records = [ImageRecord(f"{name}.png", "00" * 16, 64, 64, "") for name in arrays]
    lesson = Lesson(ImageSet(tmp_path, table_of(("a",), records, {})))
    data = {"names": {0: "a"}, "nc": 1, "channels": 3, "da_kd": lesson}
    dataset = getattr(table_data, kind)(img_path="", imgsz=64, hyp=get_cfg(), cache=cache, data=data, task="detect")
    for place in range(len(arrays)):
        assert (dataset.load_image(place)[0] == 100).all()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolo26n.yaml", "yolov10n.yaml"])
def test_every_yolo_family_trains(task, model: str, tmp_path: Path) -> None:
    assert train(task(model=model, epochs=1), tmp_path, Job()).steps == 2


def test_wrong_models_and_arguments_are_refused(task, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"Expected weights at .*nothing\.pt; there are none"):
        train(task(model="nothing.pt"), tmp_path, Job())
    with pytest.raises(RecipeError, match=r"did you mean 'yolo11\.yaml'"):
        train(task(model="yollo11.yaml"), tmp_path, Job())
    with pytest.raises(RecipeError, match="ends in"):
        train(task(model="yolo11n-seg.yaml"), tmp_path, Job())
    with pytest.raises(RecipeError, match=r"cannot be built .* choose another 'width'"):
        train(task(model="yolo12n.yaml"), tmp_path, Job())
    with pytest.raises(RecipeError, match="moosaic"):
        train(task(args={"moosaic": 1.0}), tmp_path, Job())


def test_batch_norm_adaptation_changes_statistics_alone(task, cells: ImageSet, tmp_path: Path, weights_of) -> None:
    trained, adapted = tmp_path / "trained", tmp_path / "adapted"
    trained.mkdir()
    adapted.mkdir()
    train(task(epochs=1), trained, Job())
    adapt_batch_norm(trained / "weights.pt", cells, "cpu", adapted, Job())
    old, new = weights_of(trained / "weights.pt"), weights_of(adapted / "weights.pt")
    changed = {name.rsplit(".", 1)[-1] for name in old if old[name] != new[name]}
    assert changed <= {"running_mean", "running_var", "num_batches_tracked"}
    assert "running_mean" in changed
    again = tmp_path / "again"
    again.mkdir()
    adapt_batch_norm(trained / "weights.pt", cells, "cpu", again, Job())
    assert weights_of(again / "weights.pt") == new


@pytest.mark.parametrize(("readable", "told"), [((), "found none"), ((17,), "found 1"), ((0, 17), None)])
def test_batch_norm_adaptation_needs_two_images_that_can_be_read(readable, told, tmp_path: Path) -> None:
    for number in readable:
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
    records = [ImageRecord(f"{number}.png", "00" * 16, 64, 64, "") for number in range(18)]  # a batch is 16
    images = ImageSet(tmp_path, table_of(("a",), records, {}))
    if told is None:
        assert [len(batch) for batch in pictures(images, Job())] == [2]
    else:
        with pytest.raises(DataError, match=f"expected at least two target images that can be read; {told}"):
            list(pictures(images, Job()))


def test_what_is_recorded_is_json(task, tmp_path: Path) -> None:
    train(task(epochs=1), tmp_path, Job())
    assert json.loads((tmp_path / "training.json").read_text())["device"] == "cpu"


def test_a_kill_before_the_tidying_up_costs_nothing(task, tmp_path: Path) -> None:
    seen: list[int] = []
    job = Job(lambda event: seen.append(event.step) if isinstance(event, Figures) else None)
    first = train(task(epochs=1), tmp_path, job)
    (tmp_path / "curves.jsonl").write_text("left over")
    assert train(task(epochs=1), tmp_path, job) == first
    assert seen == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.json", "weights.pt"]
