"""Answers are kept by the content of an image: what was said in an earlier output is copied, the rest is predicted."""

import json
import shutil

import pytest

from da_kd.detections import read_table
from da_kd.errors import Cancelled
from da_kd.events import Event, Job, Note, Progress
from da_kd.recipe import Predict
from da_kd.stages import predict
from da_kd.teachers.coco_file import CocoFileTeacher

CONFIG = Predict(shard=4, batch=2, floor=0.1, max_bad=0.5)
OLD = {f"n{tone:02}": tone for tone in range(10, 30, 2)}  # ten pictures in three shards


@pytest.fixture
def said(tmp_path):
    """Predict a set into a folder of its own; return the folder, the notes and the images counted as done."""

    def make(name, images, teacher, earlier=(), config=CONFIG):
        told: list[Event] = []
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        predict.run("t", teacher, config, images, "cpu", out, Job(told.append), earlier=earlier)
        notes = [event.text for event in told if isinstance(event, Note)]
        return out, notes, [event.done for event in told if isinstance(event, Progress)]

    return make


def shards(folder):
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}


@pytest.mark.parametrize(
    "new",
    [{"a": 1}, {"n13": 13}, {"z": 99}, {"a": 1, "n13": 13, "n15": 15, "z": 99}],
    ids=["before", "in the middle", "behind", "everywhere"],
)
def test_images_that_are_added_cost_only_themselves(grays, counter, said, new):
    old, _, _ = said("old", grays(**OLD), counter())
    images = grays(**dict(sorted({**OLD, **new}.items())))
    whole, notes, _ = said("whole", images, counter())
    assert notes == []
    teacher = counter()
    grown, notes, done = said("grown", images, teacher, [old])
    assert teacher.seen == list(new.values())
    rest = "1 is" if len(new) == 1 else f"{len(new)} are"
    assert notes == [f"10 of {10 + len(new)} images were answered before; {rest} predicted."]
    assert shards(grown) == shards(whole)
    assert done == sorted(done)
    assert done[-1] == len(images)


def test_a_set_of_known_images_opens_no_teacher(grays, counter, said):
    old, _, _ = said("old", grays(**OLD, broken=None), counter())
    renamed = {f"other-{tone}": tone for tone in reversed(OLD.values())}  # names and order differ, contents do not
    images = grays(**renamed, again=10, broken=None)
    teacher = counter()
    config = CONFIG.model_copy(update={"shard": 5})
    new, notes, _ = said("new", images, teacher, [old], config)
    assert teacher.opened == 0
    assert notes[0] == "11 of 12 images were answered before; 0 are predicted."
    whole, _, _ = said("whole", images, counter(), config=config)
    assert shards(new) == shards(whole)


def test_what_failed_before_is_tried_again(grays, counter, said):
    old, _, _ = said("old", grays(**OLD), counter(dislikes=(12, 14)))
    teacher = counter(dislikes=(14,))
    new, _, _ = said("new", grays(**OLD), teacher, [old])
    assert teacher.seen == [12, 14]
    assert [key for key, reason in zip(*reasons(new), strict=True) if reason] == ["n14.png"]


def reasons(folder):
    table = predict.read_predictions(folder)
    return table.key, table.reason


def test_several_earlier_outputs_answer_together_and_broken_ones_not_at_all(grays, counter, said):
    half = dict(list(OLD.items())[:6])
    rest = dict(list(OLD.items())[5:])
    one, _, _ = said("one", grays(**half), counter())
    two, _, _ = said("two", grays(**rest), counter())
    (two / "shards" / "00000.parquet").write_bytes(b"cut off")
    teacher = counter()
    new, _, _ = said("new", grays(**OLD), teacher, [one, one.parent / "removed", two])
    assert teacher.seen == [22, 24, 26]  # the broken shard had 20 to 26; 20 is in the other output as well
    assert shards(new) == shards(said("whole", grays(**OLD), counter())[0])


def test_answers_in_other_classes_are_not_taken(grays, counter, said):
    old, _, _ = said("old", grays(**OLD), counter(("grey",)))
    teacher = counter(("gray",))
    new, _, _ = said("new", grays(**OLD, z=99), teacher, [old])
    assert teacher.seen == [*OLD.values(), 99]
    assert predict.read_predictions(new).vocabulary == ("gray",)


def test_an_interrupted_growth_goes_on_where_it_was(grays, counter, said, tmp_path):
    old, _, _ = said("old", grays(**OLD), counter())
    images = grays(a=1, **OLD, z=99)
    whole, _, _ = said("whole", images, counter(), [old])
    new = tmp_path / "new"
    shutil.copytree(whole, new)
    for name in ("00000.parquet", "00002.parquet"):
        (new / "shards" / name).unlink()
    (new / "shards" / ".00002.parquet.7.tmp").write_bytes(b"half")  # its writer was killed
    teacher = counter()
    _, notes, _ = said("new", images, teacher, [old])
    assert teacher.seen == [1, 99]
    assert notes == [
        "1 of 3 shards were there already.",
        "10 of 12 images were answered before; 2 are predicted.",
    ]
    assert shards(new) == shards(whole)


def test_copying_can_be_stopped(grays, counter, said, tmp_path):
    old, _, _ = said("old", grays(**OLD), counter())
    out, told = tmp_path / "new", []
    out.mkdir()
    job = Job(told.append, cancelled=lambda: len([e for e in told if isinstance(e, Progress)]) == 2)
    with pytest.raises(Cancelled):
        predict.run("t", counter(), CONFIG, grays(**OLD), "cpu", out, job, earlier=[old])
    assert sorted(shards(out)) == ["00000.parquet", "00001.parquet"]


def test_an_output_that_another_run_finishes_meanwhile_still_answers(grays, counter, said, tmp_path):
    whole, _, _ = said("whole", grays(**OLD), counter())
    old, _, _ = said("old.partial", grays(**OLD), counter())
    out, teacher = tmp_path / "new", counter()
    out.mkdir()

    def finish(event):
        if isinstance(event, Note) and old.exists():  # it is told what was answered before, and nothing is copied yet
            old.rename(tmp_path / "old")

    predict.run("t", teacher, CONFIG, grays(**OLD), "cpu", out, Job(finish), earlier=[old])
    assert not old.exists()
    assert teacher.seen == []
    assert shards(out) == shards(whole)


def test_stored_predictions_are_asked_by_name(grays, said, tmp_path):
    rows = [{"image_id": "n10.png", "category_id": "cell", "bbox": [0, 0, 1, 1], "score": 0.5}]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    teacher = CocoFileTeacher(tmp_path / "said.json", {})
    old, _, _ = said("old", grays(n10=10), teacher)
    new, _, _ = said("new", grays(n10=10, twin=10), teacher, [old])
    assert read_table(new / "shards" / "00000.parquet").reason[1] == "the stored predictions do not name this image"
