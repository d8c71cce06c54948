"""Two processes share a training over gloo: what they learn together, what they tell, and how they end."""

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from da_kd.data import ImageSet
from da_kd.detections import DetectionTable, State
from da_kd.errors import Cancelled, DaKdError, RecipeError
from da_kd.events import Event, Figures, Job
from da_kd.training import Refresh, Setting, Signals, TrainingTask, train

TWO = Setting(0, "cpu", ranks=("cpu", "cpu"))


@pytest.fixture
def shared(task):
    """Return a task of two processes; the images have doubts, so that the loss is ours."""

    def make(**given) -> TrainingTask:
        given = {"batch": 4, "epochs": 2, "signals": Signals(weight="score"), **given}
        return dataclasses.replace(task(**given), setting=TWO)

    return make


@pytest.fixture
def doubts(cells: ImageSet) -> ImageSet:
    table, random = cells.table, np.random.default_rng(0)
    state = np.where(random.random(len(table.state)) < 1 / 3, State.UNCERTAIN, State.KEPT).astype(np.int8)
    score = random.uniform(0.2, 1, len(state)).astype(np.float32)
    return dataclasses.replace(cells, table=dataclasses.replace(table, state=state, score=score))


@dataclasses.dataclass(frozen=True)
class Same:
    """Leaves the labels as they are."""

    def __call__(self, fixed: DetectionTable, said: DetectionTable, job: Job) -> DetectionTable:
        assert len(said) == len(fixed)
        return fixed


def test_two_processes_train_one_student(shared, doubts, tmp_path: Path) -> None:
    """With doubtful labels and labels made anew; stopped after the first epoch and taken up again."""
    wanted = dataclasses.replace(shared(images=doubts, epochs=4), refresh=Refresh(3, 0.0, 0.02, 4, Same()))
    with pytest.raises(Cancelled):
        train(wanted, tmp_path, Job(cancelled=(tmp_path / "resume.pt").is_file))
    events: list[Event] = []
    result = train(wanted, tmp_path, Job(events.append))
    (done,) = result.resumed_from
    assert 1 <= done < 4
    assert (result.steps, result.images) == (12, 10)
    # One process tells, the other one is silent.
    assert [event.step for event in events if isinstance(event, Figures)] == list(range(done + 1, 5))
    assert [record["epoch"] for record in result.curves] == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.json", "weights.pt"]

    from ultralytics import YOLO

    assert type(YOLO(tmp_path / "weights.pt").model).__module__ == "ultralytics.nn.tasks"


EACH = """
import json, os, pickle, sys
from pathlib import Path
import torch
from torch import distributed
from da_kd.events import Job
from da_kd.offline import settle_ultralytics
folder = Path(sys.argv[1])
task, arguments = pickle.loads((folder / "task").read_bytes())
settle_ultralytics()
from da_kd.training.ranked import RankedTrainer
from da_kd.training.losses import SignalLoss

class Watched(RankedTrainer):
    def optimizer_step(self):
        first = next(iter(self.model.module.named_parameters()))[1]
        told["grad"].append(first.grad.flatten()[:5].tolist())
        super().optimizer_step()
    def preprocess_batch(self, batch):
        told["files"] += batch["im_file"]
        told["weights"].append("weight" in batch)
        return super().preprocess_batch(batch)

told = {"grad": [], "files": [], "weights": []}
trainer = Watched(arguments, task, folder, Job())
trainer.train()
told["loss"] = isinstance(trainer.model.module.criterion, SignalLoss)
told["weight"] = next(trainer.model.module.parameters()).flatten()[:5].tolist()
(folder / f"told{os.environ['RANK']}").write_text(json.dumps(told))
distributed.destroy_process_group()
"""


def test_each_takes_its_part_of_the_images_and_gradients_are_averaged(shared, doubts, tmp_path: Path) -> None:
    from da_kd.training.arguments import library_arguments

    wanted = shared(images=doubts, epochs=1, args={"mosaic": 0.0})
    (tmp_path / "task").write_bytes(pickle.dumps((wanted, library_arguments(wanted, tmp_path, 1, 4) | {"batch": 4})))
    (tmp_path / "each.py").write_text(EACH)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, tmp_path / "each.py", tmp_path], check=True, capture_output=True, env=environment)
    one, two = (json.loads((tmp_path / f"told{rank}").read_text()) for rank in (0, 1))
    files = {str(path) for path in doubts.paths}
    assert set(one["files"]) | set(two["files"]) == files
    assert len(one["files"]) == len(two["files"]) == 5
    assert not set(one["files"]) & set(two["files"])
    assert one["grad"] == two["grad"]  # else each would go its own way
    assert any(any(step) for step in one["grad"])
    assert one["weight"] == two["weight"]
    assert one["loss"] and two["loss"] and all(one["weights"] + two["weights"])


def test_what_goes_wrong_in_a_process_is_said(shared, cells, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected a 'batch' that 2 devices can divide; found 5"):
        train(shared(batch=5), tmp_path, Job())
    with pytest.raises(RecipeError, match="moosaic"):
        train(shared(args={"moosaic": 1.0}), tmp_path, Job())
    broken = dataclasses.replace(cells, root=tmp_path / "broken")
    shutil.copytree(cells.root, broken.root)
    broken.path(0).write_bytes(b"no image")
    with pytest.raises(DaKdError, match=r"A process of training 'small' failed \(.*ranks\.log has all it said"):
        train(shared(images=broken), tmp_path, Job())


ALONE = """
import pickle, sys
from pathlib import Path
from da_kd.events import Job
from da_kd.training import train
train(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Job())
"""


def test_processes_whose_parent_was_killed_end_by_themselves(shared, tmp_path: Path) -> None:
    import psutil

    (tmp_path / "task").write_bytes(pickle.dumps(shared(epochs=500)))
    folder = tmp_path / "out"
    folder.mkdir()
    parent = psutil.Popen([sys.executable, "-c", ALONE, str(tmp_path / "task"), str(folder)])
    while not (folder / "resume.pt").is_file():
        assert parent.poll() is None
        time.sleep(0.2)
    children = parent.children(recursive=True)
    assert len(children) >= 3  # the launcher and two others
    parent.kill()
    parent.wait()
    _, left = psutil.wait_procs(children, timeout=120)
    for process in left:
        process.kill()
    assert not left


def test_the_module_says_what_it_expects() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    command = [sys.executable, "-m", "da_kd.training.rank"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["Expected one folder, and a launcher such as torchrun: torchrun -m da_kd.training.rank FOLDER"],
    )
