"""Trainings with doubtful labels, for real and for seconds: every family, checkpoints, interruptions, bad input."""

import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import State
from da_kd.errors import DataError
from da_kd.events import Event, Job, Note
from da_kd.recipe import Distill, Student
from da_kd.stages import distill
from da_kd.training import Setting, Signals, train

pytestmark = pytest.mark.usefixtures("one_thread")


def change(images: ImageSet, **columns) -> ImageSet:
    return dataclasses.replace(images, table=dataclasses.replace(images.table, **columns))


@pytest.fixture
def doubts(cells: ImageSet) -> ImageSet:
    """The cells with scores, a third of the boxes uncertain, and no platelets searched for in half of the images."""
    table, random = cells.table, np.random.default_rng(0)
    state = np.where(random.random(len(table.state)) < 1 / 3, State.UNCERTAIN, State.KEPT).astype(np.int8)
    searched = table.searched.copy()
    searched[::2, 2] = False
    score = random.uniform(0.2, 1, len(state)).astype(np.float32)
    return change(cells, state=state, searched=searched, score=score)


SCORES = Signals(weight="score")
FAMILIES = ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml", "yolov10n.yaml"]

PLAIN = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "da_kd":
            raise ImportError("there is no da_kd here")
sys.meta_path.insert(0, Refused())
try:
    import da_kd
    sys.exit("da_kd can be imported after all")
except ImportError:
    pass
from ultralytics import YOLO
for weights in sys.argv[2:]:
    model = YOLO(weights)
    print(type(model.model).__module__, len(model.predict(sys.argv[1], imgsz=64, verbose=False)))
"""


def test_every_family_learns_from_doubtful_labels_into_a_plain_checkpoint(task, doubts, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for model in FAMILIES:
        out = tmp_path / model
        out.mkdir()
        busy = {"mixup": 0.5, "cutmix": 0.5, "copy_paste": 0.5, "multi_scale": 0.5, "cls_pw": 0.5}
        result = train(task(model=model, images=doubts, signals=SCORES, epochs=1, args=busy), out, Job())
        assert result.boxes == (doubts.table.state == State.KEPT).sum()
        assert all(np.isfinite(list(record.values())).all() for record in result.curves)
        shutil.copyfile(out / "weights.pt", plain / f"{model}.pt")
    shutil.copyfile(doubts.path(0), plain / "image.png")
    environment = {**os.environ, "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(plain)}
    weights = [f"{model}.pt" for model in FAMILIES]
    command = [sys.executable, "-P", "-c", PLAIN, "image.png", *weights]
    told = subprocess.run(command, cwd=plain, env=environment, check=True, capture_output=True, text=True).stdout
    assert told.split() == ["ultralytics.nn.tasks", "1"] * len(FAMILIES)


def test_labels_without_doubt_are_learned_with_the_librarys_own_loss(task, cells, tmp_path, weights_of) -> None:
    whole = change(cells, score=np.ones_like(cells.table.score))
    made = []
    for name, signals in (("plain", Signals()), ("asked", Signals("score", "ignore_all", "mask", oversample=5))):
        (tmp_path / name).mkdir()
        train(task(images=whole, signals=signals, epochs=1), tmp_path / name, Job())
        made.append(weights_of(tmp_path / name / "weights.pt"))
    assert made[0] == made[1]


@pytest.mark.parametrize("model", ["yolo11n.yaml", "yolo26n.yaml"])
def test_weights_of_one_end_in_the_same_checkpoint(task, cells, model, tmp_path, weights_of) -> None:
    """The one box that counts less is so small that the library drops it; all else must be as without signals."""
    table = cells.table
    xyxy, score = table.xyxy.copy(), np.ones_like(table.score)
    xyxy[0, 2:], score[0] = xyxy[0, :2] + 0.01, 0.5
    images = change(cells, xyxy=xyxy, score=score)
    made = []
    for name, signals in (("stock", Signals()), ("ours", SCORES)):
        (tmp_path / name).mkdir()
        train(task(model=model, images=images, signals=signals, epochs=2), tmp_path / name, Job())
        made.append(weights_of(tmp_path / name / "weights.pt"))
    assert made[0] == made[1]


def test_images_with_a_persons_box_lengthen_an_epoch(task, doubts, tmp_path) -> None:
    protected = np.zeros(len(doubts.table.state), bool)
    kept = np.flatnonzero(doubts.table.state == State.KEPT)
    protected[kept[:2]] = True
    images = change(doubts, protected=protected)
    seen = len(np.unique(images.table.image_index[protected]))
    often = Signals(oversample=6)
    result = train(task(images=images, signals=often, epochs=None, steps=12), tmp_path, Job())
    per_epoch = -(-(10 + 5 * seen) // 5)
    assert (result.images, result.epochs, result.steps) == (10, 12 // per_epoch, 12 // per_epoch * per_epoch)


KILLED = """
import os, signal, sys, pickle
from pathlib import Path
from da_kd.events import Job, Figures
from da_kd.training import train
def die(event):
    if isinstance(event, Figures) and event.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Job(die))
"""


def test_a_killed_training_goes_on_with_its_signals(task, doubts, tmp_path: Path) -> None:
    wanted = task(model="yolo26n.yaml", images=doubts, signals=SCORES, epochs=3)
    (tmp_path / "task").write_bytes(pickle.dumps(wanted))
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "task"), str(folder)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    result = train(wanted, folder, Job())
    assert result.resumed_from == (1,)
    assert [record["epoch"] for record in result.curves] == [1, 2, 3]


def test_the_recipe_decides_what_the_student_is_told(doubts, tmp_path: Path, weights_of) -> None:
    student = Student(width=0.125, imgsz=64)
    changes = [
        {},
        {"weight": "score"},
        {"uncertain": "ignore_all"},
        {"uncertain": "background"},
        {"unsearched": "background"},
    ]
    made = set()
    for number, change in enumerate(changes):
        out = tmp_path / str(number)
        out.mkdir()
        distill.run(student, Distill(epochs=1, batch=5, **change), doubts, None, Setting(0, "cpu"), out, Job())
        made.add(str(weights_of(out / "weights.pt")["model.0.conv.weight"]))
    assert len(made) == len(changes)


def test_boxes_that_all_count_nothing_are_refused(task, cells, tmp_path: Path) -> None:
    images = change(cells, score=np.zeros_like(cells.table.score))
    with pytest.raises(DataError, match=r"all of score 0, and 'distill\.weight: score' makes them count nothing"):
        train(task(images=images, signals=SCORES), tmp_path, Job())
    assert list(tmp_path.iterdir()) == []


def test_classes_without_a_box_are_named(task, cells, tmp_path: Path) -> None:
    events: list[Event] = []
    state = np.where(cells.table.label == 0, State.KEPT, State.DROPPED).astype(np.int8)
    train(task(images=change(cells, state=state), epochs=1), tmp_path, Job(events.append))
    (warning,) = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
    assert warning.startswith("Training 'small' has no box of 'WBC', 'Platelets' to learn from; look at 'fuse.keep'")
