"""Two models on the images that a person audited."""

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from da_kd.cli import app
from da_kd.detections import State, read_table
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.pipeline import Run, audit_run, run
from da_kd.recipe import dump_recipe
from da_kd.stages.review import journal
from da_kd.stages.review.journal import Box, Entry, image_id, second_look
from da_kd.store import Store

TEACHERS = (
    "teachers=[{name: one, kind: coco_file, weights: one.json, options: {images: list.json}},"
    "{name: two, kind: coco_file, weights: two.json, options: {images: list.json}}]"
)


@pytest.fixture
def place(recipe, steps, world, tmp_path):
    """A run of two stored teachers, of which the second finds nothing in three images of four; all are audited."""
    rows = json.loads((world / "two.json").read_text())
    (world / "two.json").write_text(json.dumps(rows[:1]))
    mine = recipe(TEACHERS, "distill=null", "finetune=null", "evaluate=null")
    run(mine, tmp_path / "runs" / "small", until="fuse")
    labels = read_table(Store(tmp_path / "runs").path(steps(mine)["fuse"].output) / "labels.parquet")
    for at, sha in enumerate(labels.sha):
        boxes = labels.at(at, (State.KEPT, State.UNCERTAIN))
        box = Box(labels.vocabulary[boxes.label[0]], tuple(boxes.xyxy[0].tolist()), 0.5)
        done = Entry(sha, "complete", image_id(sha), "small@1", probability=0.5)
        journal.append(tmp_path / "runs", [Entry(sha, "accepted", sha, "small@1", box, box), done])
    return Run(tmp_path / "runs" / "small")


def test_the_model_that_finds_more_has_the_better_recall(place):
    told = audit_run(place, "one", "two", "ultralytics", Job())
    assert told["models"] == {"first": "two", "second": "one"}
    assert (told["all"]["recall"]["first"], told["all"]["recall"]["second"]) == (0.25, 1)
    assert told["all"]["recall"]["difference"]["value"] == 0.75
    assert told["all"]["AP50"]["second"] == 1
    assert json.loads((place.folder / "audit.json").read_text()) == told


def test_the_command_line_shows_it_and_writes_json(place):
    shown = CliRunner().invoke(app, ["audit", str(place.folder), "--model", "one", "--against", "two"])
    assert shown.exit_code == 0
    assert "4 audited images" in shown.output + shown.stderr
    told = CliRunner().invoke(app, ["audit", str(place.folder), "--model", "one", "--against", "two", "--json"])
    assert json.loads(told.stdout)["all"]["recall"]["second"] == 1


def test_how_often_the_reviewer_errs_is_told_beside_the_figures(place):
    first = journal.read(place.workspace)
    assert audit_run(place, "one", "two", "ultralytics", Job())["reviewer"]["images"] == 0
    again = [
        dataclasses.replace(e, sha=second_look(e.sha), label_id=f"2:{e.label_id}", probability=None) for e in first
    ]
    journal.append(place.workspace, again)
    reviewer = audit_run(place, "one", "two", "ultralytics", Job())["reviewer"]
    assert (reviewer["images"], reviewer["error"]["value"]) == (4, 0)
    shown = CliRunner().invoke(app, ["audit", str(place.folder), "--model", "one", "--against", "two"])
    assert "The reviewer errs in 0.0% of decisions" in " ".join((shown.output + shown.stderr).split())


@pytest.mark.parametrize(
    ("model", "against", "told"),
    [
        ("tow", None, "Expected one of one, two, or a file of weights; found 'tow'"),
        (None, None, "Expected a trained student"),
    ],
)
def test_a_model_that_is_not_there_is_told(place, model, against, told):
    with pytest.raises(InputError, match=told):
        audit_run(place, model, against, "ultralytics", Job())


def test_a_teacher_that_is_not_trained_yet_is_told_with_what_trains_it(place, recipe):
    mine = recipe("distill=null", "finetune=null", "evaluate=null")
    (place.folder / "recipe.yaml").write_text(dump_recipe(mine))
    told = f"Teacher 'own' of the run 'small' is not trained yet; 'da-kd resume {place.folder} --until teach' trains it"
    with pytest.raises(InputError, match=told):
        audit_run(place, "one", "own", "ultralytics", Job())


def test_without_an_audit_nothing_is_compared(place):
    journal.path_of(place.workspace).unlink()
    with pytest.raises(InputError, match="none is done yet"):
        audit_run(place, "one", "two", "ultralytics", Job())
