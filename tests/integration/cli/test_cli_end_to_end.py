"""One tiny run through the command line, as a person would: finished, repeated, changed, stopped, killed, used."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from da_kd.cli import app
from da_kd.data import ScanCache, load_images
from da_kd.events import Job
from da_kd.recipe import Images

RECIPE = """\
schema: 1
name: tiny
device: cpu
classes: [RBC, WBC, Platelets]
data:
  source: {render: lab_a, split: train, count: 8}
  target: {render: lab_b, split: train, count: 8}
  target_labelled: {render: lab_b, split: train, count: 8}
  test: {render: lab_b, split: test, count: 4}
teachers:
  - {name: big, architecture: {model: yolo11n.yaml, width: 0.0625, imgsz: 64}}
teach: {epochs: 4, batch: 4}
predict: {floor: 0.001}
fuse: {keep: 0.001, drop: 0.0}
student: {model: yolo11n.yaml, width: 0.0625, imgsz: 64}
distill: {steps: 4, batch: 4}
finetune: {steps: 2, batch: 4, fraction: 0.5}
evaluate: {}
"""


def da_kd(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "da_kd", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def finished(place):
    return da_kd("run", "tiny.yaml", cwd=place)


def test_a_run_ends_with_the_ladder_and_the_report(place, finished):
    assert finished.returncode == 0, finished.stderr
    assert "✓ teach:big" in finished.stdout
    for row in ("source_only", "teacher:big", "student", "finetuned", "oracle"):
        assert any(line.startswith(row) for line in finished.stdout.splitlines()), row
    last = finished.stdout.splitlines()[-1]
    assert last.startswith("Report: ")
    assert Path(last.removeprefix("Report: ")).is_file()


def test_the_same_again_finds_nothing_to_do(place, finished):
    again = da_kd("run", "tiny.yaml", cwd=place)
    assert again.returncode == 0, again.stderr
    assert "Nothing to do: every output of this run is there already." in again.stdout
    assert "begins" not in again.stdout and "runs again" not in again.stdout
    assert again.stdout.splitlines()[-1] == finished.stdout.splitlines()[-1]


def test_plan_and_run_name_the_key_that_changed(place, finished):
    change = ("--set", "finetune.lr=0.0001")
    planned = da_kd("plan", "tiny.yaml", *change, cwd=place)
    assert planned.returncode == 0, planned.stderr
    assert "finetune.lr: 0.001 -> 0.0001" in planned.stdout
    assert "measured" in planned.stdout and "Free disk space" in planned.stdout
    changed = da_kd("run", "tiny.yaml", *change, cwd=place)
    assert "finetuned runs again: finetune.lr: 0.001 -> 0.0001" in changed.stdout
    assert "✓ student                reused" in changed.stdout
    listed = da_kd("gc", cwd=place)
    assert "finetune/" in listed.stdout and "distill/" not in listed.stdout


def here(*arguments):
    """Call it in this process, which loads the libraries once."""
    result = CliRunner().invoke(app, [str(item) for item in arguments])
    assert result.exit_code == 0, result.stderr
    return result


def test_the_students_labels_of_new_images_can_be_read_back(place, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    images = next(path for path in (place / "runs" / "store" / "data").glob("*/images"))
    boxes = tmp_path / "a.json"
    here("apply", "tiny", images, "--out", boxes, "--floor", 0.001, "--device", "cpu")
    scored = here("evaluate", "--truth", boxes, "--predictions", boxes, "--json")
    assert set(json.loads(scored.stdout)["per_class"]) == {"RBC", "WBC", "Platelets"}
    weights = next((place / "runs" / "store" / "teach").glob("*/weights.pt"))
    options = ("--floor", 0.001, "--format", "yolo", "--out", tmp_path / "set", "--device", "cpu")
    here("label", images, "--teacher", weights, *options)
    for spec in (Images(path=str(tmp_path / "a.json"), images=str(images)), Images(path=str(tmp_path / "set"))):
        found = load_images(
            spec,
            tmp_path,
            ("RBC", "WBC", "Platelets"),
            labels=True,
            cache=ScanCache(None),
            frames=tmp_path / "frames",
            job=Job(),
            name="back",
        )
        assert len(found) == len(list(images.rglob("*.jpg")))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_training_that_was_ended_goes_on_with_the_same_command(place, finished, number, code):
    name = f"ended-{int(number)}"
    arguments = (
        "run",
        "tiny.yaml",
        "--run",
        name,
        "--until",
        "teach",
        "--set",
        f"teach.epochs={12 if code == 130 else 13}",
    )
    command = [sys.executable, "-m", "da_kd", *arguments]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_epoch(place / "runs" / name / "events.jsonl", 3)
        os.kill(process.pid, number)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in complaints
    state = da_kd("status", name, cwd=place).stdout
    assert f"State: {'cancelled' if code == 130 else 'killed'}" in state
    on = da_kd(*arguments, cwd=place)
    assert on.returncode == 0, on.stderr
    assert "teach:big goes on where it was interrupted" in on.stdout
    assert "✓ teach:big" in on.stdout


def wait_for_epoch(events, epoch, patience=90.0):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        text = events.read_text() if events.is_file() else ""
        if any(f'"done": {epoch}, ' in line for line in text.splitlines() if '"epochs"' in line):
            return
        time.sleep(0.05)
    raise AssertionError(f"no epoch {epoch} within {patience} s:\n{text}")


def test_stop_ends_a_run_from_outside(place, finished):
    command = [sys.executable, "-m", "da_kd", "run", "tiny.yaml", "--run", "far", "--set", "teach.epochs=500"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_epoch(place / "runs" / "far" / "events.jsonl", 2)
        stopped = da_kd("stop", "far", cwd=place)
        assert process.wait(timeout=60) == 130
    assert stopped.returncode == 0
    assert "'far' stopped" in stopped.stdout


def test_a_human_review_pauses_with_its_own_exit_code(place, finished):
    from da_kd.stages.review.mongod import find_mongod

    if find_mongod() is None:
        pytest.skip("no mongod here")
    paused = da_kd("run", "tiny.yaml", "--run", "person", "--set", "review.mode=human", cwd=place)
    assert paused.returncode == 3, paused.stderr
    assert "da-kd review" in paused.stdout and "da-kd resume" in paused.stdout
    told = " ".join(paused.stdout.split())
    assert "http://127.0.0.1:5151" in told and "ssh -N -L 5151:127.0.0.1:5151" in told
    assert "Error" not in paused.stderr
