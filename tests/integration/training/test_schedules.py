"""Mixed sets, scored epochs, batches that do not fit, starts that fit in part: for real and for seconds."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet, ScanCache, load_images
from da_kd.demo import render_set
from da_kd.errors import Cancelled, DaKdError, DataError, InputError, SetupError
from da_kd.events import Event, Figures, Job, Note
from da_kd.recipe import Distill, Finetune, Images, Schedule, Student, Teach
from da_kd.stages import distill, finetune, teach
from da_kd.stages.evaluate import Scorer
from da_kd.training import Extra, Setting, Signals, TrainingTask, mixed, train
from da_kd.training.augment import PRESETS
from da_kd.training.averaging import decay_of
from da_kd.training.loggers import wanted_loggers
from da_kd.training.signals import Lesson

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("RBC", "WBC", "Platelets")
STUDENT = Student(width=0.125, imgsz=64)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Twelve images of another laboratory, under another folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    render_set("lab_b", "train", 12, 0, folder, size=96)
    spec = Images(path=str(folder), split="train")
    return load_images(
        spec, folder, CLASSES, labels=True, cache=ScanCache(None), frames=folder / "f", job=Job(), name="data.other"
    )


@pytest.fixture
def mixture(task, cells: ImageSet, elsewhere: ImageSet) -> Callable[..., TrainingTask]:
    def make(rate: float = 0.4, **schedule) -> TrainingTask:
        images, shares = mixed(cells, [Extra("source", elsewhere, rate)])
        return dataclasses.replace(task(images=images, **schedule), shares=shares)

    return make


def notes(events: list[Event], level: str) -> list[str]:
    return [event.text for event in events if isinstance(event, Note) and event.level == level]


def test_a_mixed_epoch_has_steps_for_all_it_shows(mixture, tmp_path: Path) -> None:
    result = train(mixture(epochs=None, steps=4), tmp_path, Job())
    assert (result.images, result.epochs, result.steps) == (22, 1, 3)  # 14 images an epoch, 5 a step


@pytest.mark.parametrize("cache", ["ram", False])
def test_every_epoch_shows_other_images_with_their_own_boxes_and_pixels(mixture, cells, cache) -> None:
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    from ultralytics.cfg import get_cfg

    from da_kd.training.table_data import TableDataset

    wanted = mixture()
    data = {"names": dict(enumerate(CLASSES)), "nc": 3, "channels": 3, "da_kd": wanted.lesson}
    hyp = get_cfg(overrides={"mosaic": 0.0, **PRESETS["none"]})
    dataset = TableDataset(
        img_path="", imgsz=96, batch_size=4, augment=True, hyp=hyp, cache=cache, data=data, task="detect"
    )
    alone = TableDataset(
        img_path="",
        imgsz=96,
        batch_size=4,
        augment=True,
        hyp=hyp,
        data={**data, "da_kd": Lesson(wanted.images)},
        task="detect",
    )
    seen = set()
    for epoch in range(3):
        dataset.show_epoch(epoch)
        for place, image in enumerate(wanted.lesson.order_of(epoch).tolist()):
            mine, plain = dataset[place], alone[image]
            assert mine["im_file"] == plain["im_file"]
            assert (mine["img"] == plain["img"]).all()
            assert (mine["bboxes"] == plain["bboxes"]).all()
            seen |= {image} if place >= len(cells) else set()
    assert seen == set(range(10, 22))  # three epochs of four show all twelve


def test_a_mixed_training_goes_on_where_it_stopped(mixture, tmp_path: Path) -> None:
    wanted, seen = mixture(epochs=2), []
    with pytest.raises(Cancelled):
        train(wanted, tmp_path, Job(seen.append, lambda: _epochs(seen) == 1))
    result = train(wanted, tmp_path, Job())
    assert result.resumed_from == (1,)
    assert [record["epoch"] for record in result.curves] == [1, 2]


def _epochs(events: list[Event]) -> int:
    return sum(isinstance(event, Figures) for event in events)


def test_the_student_learns_from_labelled_sets_as_well_and_says_so(cells, elsewhere, tmp_path: Path) -> None:
    table = dataclasses.replace(cells.table, score=np.full_like(cells.table.score, 0.5))
    pseudo, few = dataclasses.replace(cells, table=table), cells.take([0, 1])
    extras = [Extra("target_labelled", few, 0.4), Extra("source", elsewhere, 0.5)]
    events: list[Event] = []
    config = Distill(epochs=1, batch=8, weight="score")
    distill.run(STUDENT, config, pseudo, None, Setting(0, "cpu"), tmp_path, Job(events.append), extras=extras)
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 3  # 8 + 4 + 5 images, 8 a step
    assert any(
        "22 images, 2 of them labelled target images, 12 of them source" in text for text in notes(events, "info")
    )


def test_a_teacher_learns_from_labelled_target_images_as_well_and_says_so(cells, elsewhere, tmp_path: Path) -> None:
    events: list[Event] = []
    schedule = Teach(epochs=1, batch=5, mix={"target_labelled": 0.5})
    extras = [Extra("target_labelled", elsewhere, schedule.target_labelled)]
    setting = Setting(seed=0, device="cpu", workers=0)
    teach.run("big", "ultralytics", STUDENT, schedule, cells, setting, tmp_path, Job(events.append), extras=extras)
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 3  # ten of the source and five others
    (told,) = [text for text in notes(events, "info") if text.startswith("Teacher 'big' learned from 22 images")]
    assert "12 of them labelled target images" in told


def test_finetuning_keeps_seeing_pseudo_labels(cells, elsewhere, tmp_path: Path) -> None:
    extras = [Extra("pseudo", elsewhere, 0.5, truth=False)]
    start = tmp_path / "start"
    start.mkdir()
    setting = Setting(0, "cpu")
    distill.run(STUDENT, Distill(epochs=1, batch=10), cells, None, setting, start, Job())
    out = tmp_path / "out"
    out.mkdir()
    config, signals = Finetune(epochs=1, batch=5), Signals(weight="score")
    finetune.run(STUDENT, config, cells, start / "weights.pt", setting, out, Job(), extras=extras, signals=signals)
    assert json.loads((out / "training.json").read_text())["steps"] == 3


def test_epochs_are_scored_without_disturbing_the_training(task, cells, tmp_path: Path, weights_of) -> None:
    plain, scored = tmp_path / "plain", tmp_path / "scored"
    plain.mkdir()
    scored.mkdir()
    first = train(task(epochs=2), plain, Job())
    wanted = dataclasses.replace(task(epochs=2, validate_on="source_val"), score=Scorer(cells))
    second = train(wanted, scored, Job())
    losses = [{k: v for k, v in record.items() if k != "val_AP"} for record in second.curves]
    assert losses == list(first.curves)
    assert all(0 <= record["val_AP"] <= 1 for record in second.curves)
    assert sorted(path.name for path in scored.iterdir()) == ["training.json", "weights.pt"]
    if second.best_epoch == 2:
        assert weights_of(scored / "weights.pt") == weights_of(plain / "weights.pt")


class Marks:
    """Gives marks in a row, and keeps what it gave them to."""

    def __init__(self, marks: list[float], keep: Path) -> None:
        self.marks, self.keep, self.given = marks, keep, 0

    def __call__(self, weights: Path, device: str, job: Job) -> float:
        self.given += 1
        (self.keep / f"{self.given}.pt").write_bytes(weights.read_bytes())
        return self.marks[self.given - 1]


def test_the_best_epoch_is_the_result_and_patience_ends_the_training(task, tmp_path: Path, weights_of) -> None:
    out = tmp_path / "out"
    out.mkdir()
    marks = Marks([0.1, 0.4, 0.3], tmp_path)
    wanted = dataclasses.replace(task(epochs=9, validate_on="target_dev", patience=1), score=marks)
    events: list[Event] = []
    result = train(wanted, out, Job(events.append))
    assert (result.epochs, result.steps, result.best_epoch) == (3, 6, 2)
    assert [record["val_AP"] for record in result.curves] == [0.1, 0.4, 0.3]
    assert weights_of(out / "weights.pt") == weights_of(tmp_path / "2.pt")
    assert weights_of(out / "weights.pt") != weights_of(tmp_path / "3.pt")
    assert any("took the weights of epoch 2 of 3, the best on target_dev" in text for text in notes(events, "info"))


def test_an_interruption_keeps_the_best_so_far(task, tmp_path: Path, weights_of) -> None:
    out, seen = tmp_path / "out", []
    out.mkdir()
    marks = Marks([0.4, 0.1, 0.2], tmp_path)
    wanted = dataclasses.replace(task(epochs=3, validate_on="source_val"), score=marks)
    with pytest.raises(Cancelled):
        train(wanted, out, Job(seen.append, lambda: _epochs(seen) == 2))
    result = train(wanted, out, Job())
    assert (result.epochs, result.best_epoch, result.resumed_from) == (3, 1, (2,))
    assert weights_of(out / "weights.pt") == weights_of(tmp_path / "1.pt")


def test_a_training_that_had_lost_its_patience_is_not_taken_up_again(task, tmp_path: Path) -> None:
    import os

    marks = Marks([0.4, 0.1], tmp_path)
    out, real = tmp_path / "out", os.replace
    out.mkdir()
    wanted = dataclasses.replace(task(epochs=6, validate_on="source_val", patience=1), score=marks)

    def broken(source: Path, target: Path) -> None:
        if Path(target).name == "weights.pt":
            raise OSError(5, "input/output error")
        real(source, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="input/output"):
        patch.setattr(os, "replace", broken)
        train(wanted, out, Job())
    assert train(wanted, out, Job()).epochs == marks.given == 2


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make more images at a time than fit end as they do on a GPU, from an epoch on; return the sizes of batches."""

    def of(images: int, after: int = 0) -> list[int]:
        import torch

        from da_kd.offline import settle_ultralytics

        settle_ultralytics()
        from da_kd.training.trainer import TableTrainer

        real, taken = TableTrainer.preprocess_batch, []

        def limited(trainer, batch):
            if trainer.epoch >= after and len(batch["img"]) > images:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            taken.append(len(batch["img"]))
            return real(trainer, batch)

        monkeypatch.setattr(TableTrainer, "preprocess_batch", limited)
        return taken

    return of


@pytest.mark.parametrize("after", [0, 2])
def test_a_batch_that_does_not_fit_is_halved_and_steps_stay(task, small_memory, tmp_path, after: int) -> None:
    taken = small_memory(3, after)
    events: list[Event] = []
    result = train(task(batch=8, epochs=3), tmp_path, Job(events.append))
    assert (result.epochs, result.steps) == (3, 6)
    assert [record["epoch"] for record in result.curves] == [1, 2, 3]
    assert max(taken[-5:]) == 2
    told = " ".join(notes(events, "warning"))
    assert "images at a time do not fit into the memory" in told
    assert "with 2 at a time, and steps of as many images as before" in told


def test_the_average_reaches_back_as_far_where_a_batch_was_halved(task, small_memory, monkeypatch, tmp_path) -> None:
    small_memory(5, after=2)
    from da_kd.training import trainer

    lengths: list[int] = []

    def noted(share: float, steps: int) -> Callable[[float], float]:
        lengths.append(steps)
        return decay_of(share, steps)

    monkeypatch.setattr(trainer, "decay_of", noted)
    assert train(task(batch=10, epochs=4, ema=0.5), tmp_path, Job()).steps == 4
    assert lengths == [4, 4]  # before and after


def test_one_image_that_does_not_fit_is_a_sentence(task, small_memory, tmp_path: Path) -> None:
    small_memory(0)
    with pytest.raises(SetupError, match="'small' expected memory for one image at a time; there is too little"):
        train(task(batch=2, epochs=1), tmp_path, Job())


def test_lost_numbers_leave_the_last_good_epoch(task, tmp_path: Path, monkeypatch) -> None:
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    from da_kd.training.trainer import TableTrainer

    real = TableTrainer.preprocess_batch

    def spoiled(trainer, batch):
        batch = real(trainer, batch)
        return {**batch, "img": batch["img"] * float("nan")} if trainer.epoch == 1 else batch

    with monkeypatch.context() as patch, pytest.raises(DaKdError, match=r"'small' lost its numbers in epoch 2 .*nan"):
        patch.setattr(TableTrainer, "preprocess_batch", spoiled)
        train(task(epochs=2), tmp_path, Job())
    assert train(task(epochs=2), tmp_path, Job()).resumed_from == (1,)


def test_weights_that_the_last_step_spoiled_are_no_result(task, tmp_path: Path, monkeypatch) -> None:
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    from da_kd.training.trainer import TableTrainer

    real = TableTrainer.optimizer_step

    def spoiled(trainer) -> None:
        real(trainer)
        next(iter(trainer.ema.ema.parameters())).data.fill_(float("inf"))

    monkeypatch.setattr(TableTrainer, "optimizer_step", spoiled)
    with pytest.raises(DaKdError, match="its weights are no longer finite"):
        train(task(batch=10, epochs=1), tmp_path, Job())
    assert not (tmp_path / "weights.pt").exists()


def test_a_start_with_other_classes_gives_what_fits(task, elsewhere, tmp_path: Path) -> None:
    from da_kd.data import only_classes

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    train(task(images=only_classes(elsewhere, ("RBC",)), epochs=1), first, Job())
    events: list[Event] = []
    train(dataclasses.replace(task(epochs=1), start=first / "weights.pt"), second, Job(events.append))
    (told,) = [text for text in notes(events, "info") if "tensors" in text]
    assert "do not fit and begin anew" in told
    assert "1 classes there, 3 here" in told


def test_images_that_are_gone_are_counted_before_anything_runs(task, cells, tmp_path: Path) -> None:
    table = dataclasses.replace(cells.table, key=("gone.png", *cells.table.key[1:]))
    with pytest.raises(DataError, match=r"expected 10 images; 1 of them are gone .*gone\.png"):
        train(task(images=dataclasses.replace(cells, table=table)), tmp_path, Job())
    assert list(tmp_path.iterdir()) == []


def test_augmentation_sets_are_the_librarys_arguments_and_can_be_changed(task, tmp_path: Path) -> None:
    from da_kd.offline import settle_ultralytics
    from da_kd.training.arguments import library_arguments

    settle_ultralytics()
    from ultralytics.cfg import get_cfg

    for values in PRESETS.values():
        get_cfg(overrides=dict(values))
    made = library_arguments(task(augment="strong", args={"mixup": 0.7}), tmp_path, 3, 5)
    assert (made["mixup"], made["cutmix"]) == (0.7, 0.2)
    assert "mosaic" not in library_arguments(task(), tmp_path, 3, 5)
    warm = [library_arguments(task(), tmp_path, 100, batch)["warmup_epochs"] for batch in (5, 1)]
    assert warm == [10.0, 10.0]  # 2 and 10 steps an epoch: a tenth of the training in place of three epochs


def test_the_average_reaches_back_as_far_as_asked(task, tmp_path: Path, weights_of) -> None:
    def weights(name: str, **settings) -> np.ndarray:
        (tmp_path / name).mkdir()
        train(task(lr=0.01, **settings), tmp_path / name, Job())
        found = weights_of(tmp_path / name / "weights.pt")
        return np.concatenate([np.ravel(value) for key, value in found.items() if key.endswith("weight")])

    last, average, early = weights("last", ema=0.0), weights("average", ema=1.0), weights("early", ema=0.0, epochs=1)
    assert np.abs(last - average).max() > 0.001
    assert np.abs(average - early).mean() < np.abs(last - early).mean()


def test_an_open_batch_is_16_on_a_cpu(task, tmp_path: Path) -> None:
    assert train(task(batch="auto", epochs=1), tmp_path, Job()).steps == 1


def test_loggers_are_those_that_the_environment_names(task, monkeypatch, tmp_path: Path) -> None:
    train(task(epochs=1), tmp_path, Job())
    from ultralytics.utils import SETTINGS

    assert not any(SETTINGS[name] for name in ("mlflow", "tensorboard", "comet", "clearml", "dvc", "raytune", "wandb"))
    monkeypatch.setenv("DA_KD_LOG", "tensorbord")
    with pytest.raises(InputError, match=r"DA_KD_LOG: expected names of clearml, .*found 'tensorbord'"):
        wanted_loggers()


def test_patience_needs_something_to_wait_for() -> None:
    with pytest.raises(ValueError, match="'patience' waits for a better score"):
        Schedule(epochs=1, patience=3)
