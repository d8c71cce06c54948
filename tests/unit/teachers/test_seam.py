"""The seam itself: adapters by name, batches, and where models run."""

import subprocess
import sys

import numpy as np
import pytest

from da_kd.detections import Detections
from da_kd.errors import Cancelled, InputError, SetupError, WeightsError
from da_kd.events import Job, Progress
from da_kd.teachers import Failure, adapter
from da_kd.teachers.base import refuse_unknown
from da_kd.teachers.batches import predict_images
from da_kd.teachers.coco_file import CocoFileTeacher
from da_kd.teachers.device import resolve_device, resolve_devices
from da_kd.teachers.ultralytics import UltralyticsTeacher, load_detector


class Gray:
    """A predictor that answers with the gray value it sees, and refuses one it does not like."""

    classes = ("gray",)

    def __init__(self, dislikes=None, answers=1):
        self.sizes = []
        self.dislikes, self.answers = dislikes, answers

    def predict(self, batch):
        self.sizes.append(len(batch))
        return [self._answer(image) for image in batch] * self.answers

    def _answer(self, image):
        value = int(image.pixels[0, 0, 0])
        if value == self.dislikes:
            return Failure("not to my taste")
        height, width, _ = image.pixels.shape
        return Detections(self.classes, [[0, 0, width, height]], [value / 100], [0])


def test_built_in_adapters_come_through_the_door_of_plugins():
    assert adapter("coco_file") is CocoFileTeacher
    assert adapter("ultralytics") is UltralyticsTeacher
    with pytest.raises(InputError, match=r"found 'ultralytic'; did you mean 'ultralytics'\?"):
        adapter("ultralytic")
    with pytest.raises(InputError, match="installed: coco_file, onnx, torchvision, transformers, ultralytics"):
        adapter("zzz")


def test_an_adapter_names_the_option_it_does_not_have():
    refuse_unknown("k", {"a": 1}, ("a", "b"))
    with pytest.raises(InputError, match="'k' has no option 'c'; its options are: a, b"):
        refuse_unknown("k", {"a": 1, "c": 2}, ("a", "b"))


def test_every_image_gets_its_own_answer_in_order(picture_set):
    images = picture_set(23, broken=(3, 22))
    predictor, told = Gray(dislikes=5), []
    table = predict_images(predictor, images, "gray", 4, Job(told.append), "gray", done=100, total=200)
    assert table.key == images.table.key
    assert table.vocabulary == ("gray",)
    bad = {3: "not an image", 5: "not to my taste", 22: "not an image"}
    assert {i: reason for i, reason in enumerate(table.reason) if reason} == bad
    assert table.searched[:, 0].tolist() == [i not in bad for i in range(23)]
    good = [i for i in range(23) if i not in bad]
    assert table.image_index.tolist() == good
    assert table.score.tolist() == pytest.approx([i / 100 for i in good])
    assert table.xyxy[:, 2].tolist() == [10 + i for i in good]
    assert np.array_equal(table.teacher_score[:, 0], table.score)
    assert table.teachers == ("gray",)
    assert predictor.sizes == [3, 4, 4, 4, 4, 2]  # broken ones leave a gap, no other image moves up
    assert [event.done for event in told] == [104, 108, 112, 116, 120, 123]
    assert {(event.total, event.task) for event in told if isinstance(event, Progress)} == {(200, "gray")}


def test_the_number_of_images_in_a_batch_does_not_change_the_answers(picture_set):
    images = picture_set(7, broken=(0,))
    small, large = (predict_images(Gray(), images, "g", batch, Job(), "g") for batch in (1, 50))
    assert np.array_equal(small.xyxy, large.xyxy)
    assert small.reason == large.reason


def test_a_file_that_breaks_after_it_was_looked_at_is_a_failure(picture_set):
    images = picture_set(2)
    images.path(1).unlink()
    table = predict_images(Gray(), images, "g", 2, Job(), "g")
    assert table.reason[0] == ""
    assert "missing file" in table.reason[1]


@pytest.mark.parametrize("answers", [0, 2])
def test_a_teacher_that_miscounts_is_refused(picture_set, answers):
    with pytest.raises(InputError, match=f"each of 3 images; found {3 * answers}"):
        predict_images(Gray(answers=answers), picture_set(3), "g", 4, Job(), "g")


def test_predicting_stops_between_batches(picture_set):
    predictor = Gray()
    with pytest.raises(Cancelled):
        predict_images(predictor, picture_set(9), "g", 3, Job(cancelled=lambda: len(predictor.sizes) == 2), "g")
    assert predictor.sizes == [3, 3]


def test_a_device_that_is_not_there_is_refused():
    torch = pytest.importorskip("torch")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assert resolve_device("auto") == ("cuda:0" if gpus else "cpu")
    with pytest.raises(SetupError, match=f"found 'cuda:99', and {gpus} GPUs in it; use 'auto' or 'cpu'"):
        resolve_device("cuda:99")
    if gpus:
        assert resolve_device("cuda") == "cuda:0"
    else:
        with pytest.raises(SetupError, match="'cuda'"):
            resolve_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(SetupError, match="'mps'"):
            resolve_device("mps")


@pytest.mark.parametrize("wanted", ["cuda:x", "cuda:", "cuda:0,", "gpu", "", f"cuda:{'9' * 5000}"])
def test_a_device_of_no_such_name_is_refused(wanted):
    with pytest.raises(InputError, match=f"Expected a device: auto, cpu, .*; found '{wanted[:60]}'; correct it"):
        resolve_devices(wanted)


def test_several_gpus_are_found_one_by_one(monkeypatch):
    torch = pytest.importorskip("torch")
    assert resolve_devices("cpu") == ("cpu",)
    with pytest.raises(SetupError, match="found 'cuda:0,99', and"):
        resolve_devices("cuda:0,99")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert resolve_devices("cuda:2,0") == ("cuda:2", "cuda:0")
    assert resolve_device("cuda:2,0") == "cuda:2"
    with pytest.raises(SetupError, match="found one twice in 'cuda:1,1'"):
        resolve_devices("cuda:1,1")


def test_the_cpu_needs_no_torch():
    code = "import sys; from da_kd.teachers.device import resolve_device as r; print(r('cpu'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]


@pytest.mark.parametrize(("name", "hint"), [("x.onnx", r"; give it as 'onnx:.*x\.onnx'"), ("x.txt", r"\.$")])
def test_a_model_of_another_kind_is_told_how_to_be_named(tmp_path, name, hint):
    (tmp_path / name).write_bytes(b"model")
    with pytest.raises(WeightsError, match=rf"Expected a '\.pt' checkpoint; found {name}{hint}"):
        load_detector(tmp_path / name)
