"""A stand-in adapter answers, so that no model is loaded."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import da_kd.teachers
from da_kd.detections import Detections
from da_kd.pipeline import Run, RunState


class OneBox:
    """Sees one cell in every image."""

    classes = ("cell",)
    asked = None

    def __init__(self, weights, options):
        OneBox.asked = (weights, options)

    def fingerprint(self):
        return ""

    @contextlib.contextmanager
    def open(self, device, floor, batch):
        yield self

    def predict(self, batch):
        box = Detections(self.classes, np.array([[2, 3, 12, 13]]), np.array([0.5]), np.array([0]))
        return [box for _ in batch]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(da_kd.teachers, "adapter", lambda kind: OneBox)
    (tmp_path / "new").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (40, 30), "gray").save(tmp_path / "new" / name)
    (tmp_path / "new" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "t.pt").write_bytes(b"")
    return tmp_path


def test_label_writes_coco_and_counts_what_it_cannot_read(da_kd, place):
    result = da_kd("label", "new", "--teacher", "t.pt", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "1 of 3 images could not be read" in result.stdout and "broken.jpg" in result.stdout
    tree = json.loads((place / "labels.json").read_text())
    assert [image["file_name"] for image in tree["images"]] == ["a.png", "b.jpg", "broken.jpg"]
    assert [item["bbox"] for item in tree["annotations"]] == [[2, 3, 10, 10]] * 2


def test_nothing_is_overwritten_without_force(da_kd, place):
    (place / "labels.json").write_text("mine")
    arguments = ("label", "new", "--teacher", "t.pt", "--device", "cpu")
    result = da_kd(*arguments)
    assert result.exit_code == 2
    assert (place / "labels.json").read_text() == "mine"
    assert da_kd(*arguments, "--force").exit_code == 0


def test_label_writes_a_yolo_data_set(da_kd, place):
    arguments = ("label", "new", "--teacher", "t.pt", "--device", "cpu", "--format", "yolo", "--out", "set")
    assert da_kd(*arguments).exit_code == 0
    assert (place / "set" / "labels" / "a.txt").read_text().startswith("0 0.175 ")
    assert da_kd(*arguments).exit_code == 2
    assert da_kd(*arguments, "--force").exit_code == 0
    (place / "set" / "mine.txt").write_text("x")
    assert da_kd(*arguments, "--force").exit_code == 2  # not only ours
    assert (place / "set" / "mine.txt").exists()


def test_apply_takes_the_best_student_of_a_run_and_draws(da_kd, place, made):
    student, tuned = made("distill", seed=0), made("finetune", seed=0)
    steps = {
        name: {"stage": "", "fingerprint": output.fingerprint, "parts": {}}
        for name, output in {"student": student, "finetuned": tuned}.items()
    }
    run = Run(place / "runs" / "small")
    run.folder.mkdir(parents=True)
    run.save(RunState(state="done", steps=steps))
    result = da_kd("apply", "small", "new", "--device", "cpu", "--save-images", "pictures")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (place / "pictures").iterdir()) == ["a.png.jpg", "b.jpg"]
    drawn = np.asarray(Image.open(place / "pictures" / "b.jpg"))
    assert drawn.shape == (30, 40, 3) and drawn.std() > 1


def test_pictures_never_take_the_place_of_images(da_kd, place):
    (place / "link").symlink_to("new")
    before = (place / "new" / "b.jpg").read_bytes()
    for folder in ("new", "link", "link/../new"):
        result = da_kd("apply", "t.pt", "new", "--device", "cpu", "--save-images", folder)
        assert result.exit_code == 2
        assert "--save-images" in result.stderr and "b.jpg" in result.stderr
        assert (place / "new" / "b.jpg").read_bytes() == before
    assert not (place / "labels.json").exists()  # refused before anything was predicted


def test_pictures_are_not_written_through_links(da_kd, place):
    before = (place / "new" / "b.jpg").read_bytes()
    arguments = ("--format", "yolo", "--out", "set", "--save-images", "set/images")  # where links to the images are
    assert da_kd("apply", "t.pt", "new", "--device", "cpu", *arguments).exit_code == 0
    assert (place / "new" / "b.jpg").read_bytes() == before


def test_a_data_set_that_somebody_else_made_is_not_replaced(da_kd, place):
    theirs = {"data.yaml": "names: [a]\n", "images/1.png": "a picture", "labels/1.txt": "0 .5 .5 .2 .2\n"}
    for name, text in theirs.items():
        (place / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "theirs" / name).write_text(text)
    arguments = ("--teacher", "t.pt", "--device", "cpu", "--format", "yolo", "--out", "theirs", "--force")
    assert da_kd("label", "new", *arguments).exit_code == 2
    assert {name: (place / "theirs" / name).read_text() for name in theirs} == theirs


@pytest.mark.parametrize(
    ("images", "out"),
    [
        ("set", ("--format", "yolo", "--out", "set")),  # links to the images, which would point to themselves
        ("links", ("--format", "yolo", "--out", "set")),
        ("new", ("--out", "new/b.jpg")),
        ("list.json", ("--out", "list.json")),
    ],
)
def test_what_is_read_is_not_overwritten(da_kd, place, images, out):
    arguments = ("--teacher", "t.pt", "--device", "cpu")
    assert da_kd("label", "new", *arguments, "--format", "yolo", "--out", "set").exit_code == 0
    Image.new("RGB", (40, 30), "gray").save(place / "set" / "images" / "own.jpg")
    (place / "links").mkdir()
    (place / "links" / "1.jpg").symlink_to(place / "set" / "images" / "own.jpg")
    (place / "list.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "new/a.png"}]}))
    before = contents(place)
    result = da_kd("label", images, *arguments, *out, "--force")
    assert result.exit_code == 2
    assert "--out: expected a place apart from the images" in result.stderr
    assert contents(place) == before


def test_an_earlier_data_set_stays_where_the_new_one_cannot_be_written(da_kd, place):
    arguments = ("label", "new", "--teacher", "t.pt", "--device", "cpu", "--format", "yolo", "--out", "set", "--force")
    assert da_kd(*arguments).exit_code == 0
    before = contents(place / "set")
    Image.new("RGB", (40, 30)).save(place / "new" / "a.jpg")  # would share a label file with a.png
    assert da_kd(*arguments).exit_code == 2
    assert contents(place / "set") == before
    assert not list(place.glob(".set*"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("label", "new", "--teacher", "gone.pt"), "gone.pt"),
        (("label", "gone", "--teacher", "t.pt"), "gone"),
        (("apply", "gone", "new"), "gone"),
        (("label", "new", "--teacher", "t.pt", "--floor", "7"), "--floor"),
        (("label", "new", "--teacher", "t.pt", "--out", "new"), "new"),
        (("label", "new", "--teacher", "t.pt", "--option", "names"), "--option"),
        (("label", "new", "--teacher", "t.pt", "--option", "names=[cat"), "--option names"),
        (("label", "new", "--teacher", "t.pt", "--option", "names=2024-02-30"), "--option names"),
        (("label", "new", "--teacher", "t.pt", "--option", "names=&a [*a]"), "--option names"),
        (("label", "new", "--teacher", "onnx:~nosuchuser/t.onnx"), "'~nosuchuser' is unknown"),
        (("label", "~nosuchuser/new", "--teacher", "t.pt"), "'~nosuchuser' is unknown"),
        (("label", "x" * 300, "--teacher", "t.pt"), "which leads nowhere"),
        (("apply", "~nosuchuser/t.pt", "new"), "'~nosuchuser' is unknown"),
        (("apply", f"{'x' * 300}.pt", "new"), "which leads nowhere"),
    ],
)
def test_wrong_input_is_a_sentence(da_kd, place, arguments, word):
    result = da_kd(*arguments, "--device", "cpu")
    assert result.exit_code == 2
    assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "t.pt/labels.json"), "--out: expected a folder at t.pt; found a file"),
        (("--out", "t.pt/deep/labels.json"), "--out: expected a folder at t.pt; found a file"),
        (("--format", "yolo", "--out", "t.pt/labels"), "--out: expected a folder at t.pt; found a file"),
        (("--save-images", "t.pt"), "--save-images: expected a folder at t.pt; found a file"),
    ],
)
def test_a_file_where_a_folder_must_be_is_told_before_any_work(da_kd, place, arguments, told):
    OneBox.asked = None
    result = da_kd("apply", "t.pt", "new", "--device", "cpu", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert OneBox.asked is None


def test_weights_may_be_a_folder(da_kd, place):
    (place / "detr").mkdir()
    result = da_kd("label", "new", "--teacher", "transformers:detr", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert OneBox.asked == (Path("detr"), {})


def test_images_of_which_none_can_be_read_are_an_error(da_kd, place):
    (place / "bad").mkdir()
    (place / "bad" / "x.jpg").write_bytes(b"no image")
    result = da_kd("label", "bad", "--teacher", "t.pt", "--device", "cpu")
    assert result.exit_code == 2
    assert not (place / "labels.json").exists()


def test_options_reach_the_adapter(da_kd, place):
    arguments = ("label", "new", "--teacher", "onnx:t.pt", "--device", "cpu", "--imgsz", 320)
    options = ("--option", "names=[cat, dog]", "--option", "layout=yolox", "--option", "iou=0.5")
    result = da_kd(*arguments, *options)
    assert result.exit_code == 0, result.stderr
    assert OneBox.asked == (Path("t.pt"), {"imgsz": 320, "names": ["cat", "dog"], "layout": "yolox", "iou": 0.5})


def test_a_folder_that_is_not_there_is_told_without_a_recipe(da_kd, place):
    told = " ".join(da_kd("label", "gone", "--teacher", "t.pt", "--device", "cpu").stderr.split())
    assert "Correct the path (in a recipe 'path' or 'data.root')." in told
