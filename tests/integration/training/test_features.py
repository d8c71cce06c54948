"""A student that imitates a teacher's features: what it learns from, what is left of the teacher, what is refused."""

import dataclasses
from pathlib import Path

import pytest

from da_kd.data import ImageSet
from da_kd.errors import Cancelled, RecipeError
from da_kd.events import Event, Figures, Job
from da_kd.teachers import adapter
from da_kd.training import Refresh, Signals, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def teacher(task, tmp_path: Path) -> Path:
    folder = tmp_path / "teacher"
    folder.mkdir()
    train(task(model="yolov8n.yaml", epochs=1), folder, Job())
    return folder / "weights.pt"


@dataclasses.dataclass(frozen=True)
class Same:
    """Leaves the labels as they are."""

    def __call__(self, fixed, said, job: Job):
        return fixed


@pytest.mark.parametrize("model", ["yolo11n.yaml", "yolo26n.yaml"])
def test_a_student_imitates_features_and_is_a_plain_model_in_the_end(task, teacher, cells, model, tmp_path) -> None:
    """With doubtful labels, labels made anew, and an interruption."""
    table = cells.table
    doubts: ImageSet = dataclasses.replace(cells, table=dataclasses.replace(table, score=table.score * 0.7))
    wanted = task(model=model, images=doubts, signals=Signals(weight="score"), epochs=3)
    wanted = dataclasses.replace(wanted, features=teacher, refresh=Refresh(1, 0.0, 0.02, 5, Same()))
    folder, seen = tmp_path / "out", []
    folder.mkdir()

    def watch(event: Event) -> None:
        if isinstance(event, Figures):
            seen.append(event.values)

    with pytest.raises(Cancelled):
        train(wanted, folder, Job(watch, lambda: len(seen) == 1))
    moved = teacher.rename(teacher.with_name("moved.pt"))
    result = train(dataclasses.replace(wanted, features=moved), folder, Job(watch))
    assert result.resumed_from == (1,)
    assert all(values["dis_loss"] > 0 for values in seen)
    assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.pt"]
    with adapter("ultralytics")(folder / "weights.pt", {}).open("cpu", 0.0, 4) as predictor:
        assert predictor.classes == cells.vocabulary
    assert (folder / "weights.pt").stat().st_size < 3e6

    from ultralytics import YOLO

    assert type(YOLO(folder / "weights.pt").model).__name__ == "DetectionModel"


def test_models_that_do_not_match_are_refused(task, teacher, tmp_path) -> None:
    wanted = dataclasses.replace(task(model="yolov8n-p2.yaml", epochs=1), features=teacher)
    with pytest.raises(RecipeError, match="found Detect over 3 maps and Detect over 4 maps"):
        train(wanted, tmp_path, Job())
