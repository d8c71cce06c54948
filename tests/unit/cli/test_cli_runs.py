import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from da_kd.cli.words import run_folder
from da_kd.events import Job, Progress, StageStarted
from da_kd.pipeline import Run, RunState
from da_kd.recipe import load_recipe


@pytest.fixture
def run(tmp_path, recipe, made):
    """A run of which one step is made, and which was killed in the next."""
    done = made("teach", seed=0)
    place = Run(tmp_path / "runs" / "small")
    place.keep(load_recipe(recipe))
    with place.taken(Job()) as job:
        job.emit(StageStarted("teach", name="teach:big"))
        job.emit(Progress("teach", "big", 1, 3, "epochs"))
        job.emit(Progress("teach", "big", 2, 3, "epochs", "loss 1.0"))
    steps = {
        "teach:big": {"stage": "teach", "fingerprint": done.fingerprint, "parts": {}},
        "fuse": {"stage": "fuse", "fingerprint": "0" * 32, "parts": {}},
    }
    place.save(RunState(state="running", stage="teach", started=time.time() - 120, steps=steps))
    return place


def test_no_runs_say_how_to_make_one(da_kd):
    result = da_kd("ls")
    assert result.exit_code == 0
    assert "da-kd run" in result.stdout


def test_ls_shows_state_age_and_the_students_ap(da_kd, run):
    (run.folder / "report").mkdir()
    tree = {"models": {"student": {"AP": 0.4321}}}
    (run.folder / "report" / "metrics.json").write_text(json.dumps(tree))

    def line():
        result = da_kd("ls")
        assert result.exit_code == 0
        return next(line for line in result.stdout.splitlines() if line.startswith("small")).split()

    assert line() == ["small", "killed", "teach", "2", "min", "ago"]  # the report is of what was before
    run.save(replace(run.state(), state="done", stage="report"))
    assert line() == ["small", "done", "report", "2", "min", "ago", "0.432"]


def test_a_run_that_is_done_as_far_as_was_asked_says_how_to_go_on(da_kd, run):
    run.save(replace(run.state(), state="done", stage="fuse"))
    assert "Go on with: da-kd resume small" in da_kd("status", "small").stdout
    run.save(replace(run.state(), state="done", stage="report"))
    assert "Go on" not in da_kd("status", "small").stdout


def test_ls_goes_on_past_an_unreadable_run(da_kd, run):
    broken = run.workspace / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    result = da_kd("ls")
    assert result.exit_code == 0
    assert "unreadable" in result.stdout and "small" in result.stdout


def test_status_shows_steps_last_events_and_how_to_go_on(da_kd, run):
    result = da_kd("status", "small")
    assert result.exit_code == 0
    assert "State: killed, stage teach" in result.stdout
    assert "✓ teach:big" in result.stdout and "✓ fuse" not in result.stdout
    assert "2/3 epochs, loss 1.0" in result.stdout
    assert "1/3" not in result.stdout  # only the last report of a task
    assert "da-kd resume small" in result.stdout


@pytest.mark.parametrize("command", ["status", "stop", "resume", "review"])
def test_a_run_that_is_not_there_is_wrong_input(da_kd, command):
    result = da_kd(command, "nothing")
    assert result.exit_code == 2
    assert "nothing" in result.stderr


def test_stop_says_when_there_is_nothing_to_stop(da_kd, run):
    result = da_kd("stop", "small")
    assert result.exit_code == 0
    assert "nothing to stop" in result.stdout


def test_a_bare_name_is_a_run_under_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_folder("a") == Path("runs/a")
    assert run_folder("x/a") == Path("x/a")
    assert run_folder("/x") == Path("/x")
    Path("here").mkdir()
    Path("here/run.json").write_text("{}")
    assert run_folder("here") == Path("here")


def test_run_refuses_a_stage_it_does_not_know(da_kd, recipe):
    result = da_kd("run", recipe, "--until", "lunch")
    assert result.exit_code == 2
    assert "teach" in result.stderr and "lunch" in result.stderr


@pytest.mark.parametrize(("mode", "taken"), [("human", True), ("skip", False), ("auto", False)])
def test_review_says_whether_what_is_decided_is_taken(da_kd, recipe, tmp_path, monkeypatch, mode, taken):
    from da_kd.cli import review as command
    from da_kd.stages import review as stage

    Run(tmp_path / "runs" / "small").keep(load_recipe(recipe, [f"review.mode={mode}"]))
    with Run(tmp_path / "runs" / "small").taken(Job()):
        pass
    monkeypatch.setattr(command, "_given", lambda *_: None)
    monkeypatch.setattr(stage, "launch_app", lambda *_, **__: None)
    monkeypatch.setattr(stage, "take_back", lambda *_: taken_back.append(1))
    taken_back: list[int] = []
    result = da_kd("review", "small")
    assert result.exit_code == 0, result.stderr
    said = result.stdout + result.stderr
    assert ("da-kd resume small" in said) is taken
    assert taken_back == [1] * taken
    assert ("does not take what is decided" in said) is not taken
