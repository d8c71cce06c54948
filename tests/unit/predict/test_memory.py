"""A teacher that has too little memory for a batch is asked for less at once."""

import pytest

from da_kd.errors import SetupError
from da_kd.events import Event, Job, Note
from da_kd.recipe import Predict
from da_kd.stages import predict
from da_kd.teachers.batches import predict_images
from da_kd.teachers.views import ViewedTeacher

TONES = {f"n{tone:02}": tone for tone in range(10, 28)}


def test_a_batch_that_does_not_fit_is_halved_once_and_for_all(grays, counter, tmp_path):
    images, told = grays(**TONES), []
    (tmp_path / "out").mkdir()
    teacher = counter(most=2)
    predict.run("t", teacher, Predict(shard=9, batch=8), images, "cpu", tmp_path / "out", Job(told.append))
    assert teacher.seen == list(TONES.values())
    assert teacher.sizes == [2, 2, 2, 2, 1] * 2  # shards of 8 + 1
    assert [event.text for event in told if isinstance(event, Note)] == [
        "8 images at a time do not fit into the memory; it goes on with 4 at a time.",
        "4 images at a time do not fit into the memory; it goes on with 2 at a time.",
    ]
    table = predict.read_predictions(tmp_path / "out")
    assert table.key == images.table.key
    assert [len(boxes) for _, boxes in table] == list(TONES.values())


def test_one_image_that_does_not_fit_is_said(grays, counter):
    with pytest.raises(SetupError, match=r"too little for n10\.png \(6 x 6 pixels\)\. Use another 'device'"):
        predict_images(counter(most=0), grays(**TONES), "t", 3, Job(), "t")


def test_a_teacher_that_looks_more_than_once_shows_fewer_views_at_a_time(grays, counter):
    teacher, told = counter(most=2), []
    with ViewedTeacher(teacher, True, (), "wbf").open("cpu", 0.01, 8) as predictor:
        table = predict_images(predictor, grays(**TONES), "t", 8, Job(told.append), "t")
    assert len(teacher.seen) == 2 * len(TONES)
    assert max(teacher.sizes) == 2
    assert [event.text for event in told if isinstance(event, Note)] == [
        "8 images at a time do not fit into the memory; it goes on with 4 at a time.",
        "4 images at a time do not fit into the memory; it goes on with 2 at a time.",
    ]
    assert table.searched.all()


def test_one_image_of_which_not_all_views_fit_is_looked_at_view_by_view(grays, counter):
    teacher = counter(most=1)
    with ViewedTeacher(teacher, True, (), "wbf").open("cpu", 0.01, 8) as predictor:
        predict_images(predictor, grays(n10=10), "t", 8, Job(), "t")
    assert teacher.seen == [10, 10]


class Broken:
    """A predictor that fails as the libraries do."""

    classes = ("x",)

    def __init__(self, error):
        self.error, self.calls = error, 0

    def predict(self, batch):
        self.calls += 1
        raise self.error


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    ],
)
def test_libraries_say_it_in_words(grays, words):
    predictor, told = Broken(RuntimeError(words)), []
    with pytest.raises(SetupError, match="at least one image"):
        predict_images(predictor, grays(**TONES), "t", 4, Job(told.append), "t")
    assert predictor.calls == 3
    assert [event.level for event in told if isinstance(event, Event)] == ["warning", "warning"]


def test_torchs_own_error_is_one_of_them(grays):
    torch = pytest.importorskip("torch")
    predictor = Broken(torch.cuda.OutOfMemoryError("of a GPU"))
    with pytest.raises(SetupError, match="at least one image"):
        predict_images(predictor, grays(n10=10), "t", 4, Job(), "t")


def test_another_error_is_not_taken_for_it(grays):
    predictor = Broken(RuntimeError("a shape is wrong"))
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        predict_images(predictor, grays(**TONES), "t", 4, Job(), "t")
    assert predictor.calls == 1
