"""How runs stand, read from records, events and logs."""

from __future__ import annotations

import json
import os
import time

import pytest

from da_kd.pipeline import Run, RunState
from da_kd.store import write_json
from da_kd.ui import markup, processes
from da_kd.ui.queries.facts import facts_of
from da_kd.ui.queries.runs import outputs, recent_runs, standing
from da_kd.ui.standing import side_work, stages, standing_line

NOT_OURS = {"pid": 2**22 + 1, "ticks": 1, "arguments": ["run", "x.yaml"], "began": 0.0}


@pytest.fixture
def running(run, tmp_path):
    """A run that a process works on: this one, which holds its lock."""
    import fcntl

    run.save(RunState("running", "distill", started=time.time() - 10))
    with (run.folder / "lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (run.folder / "lock").write_text(json.dumps({"pid": os.getpid()}))
        yield run


def test_no_run_is_an_empty_list(settings):
    assert recent_runs(settings.workspace) == []


def test_an_unreadable_record_does_not_hide_the_other_runs(run, settings):
    broken = settings.workspace / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    states = {row.name: row.state for row in recent_runs(settings.workspace)}
    assert states == {"demo": "done", "broken": "unreadable"}


def test_a_run_whose_process_died_before_it_worked_says_why(settings):
    run = Run(settings.workspace / "new")
    run.folder.mkdir(parents=True)
    write_json(run.folder / "launch.json", NOT_OURS)
    (run.folder / "launch.log").write_text("Error: x.yaml has 1 mistake:\n  - nonsense: no such key\n")
    now = standing(run)
    assert now.state == "failed"
    assert "nonsense: no such key" in now.refused
    assert [row.state for row in recent_runs(settings.workspace)] == ["failed"]
    assert "nonsense" in standing_line(now)


def test_a_change_of_a_finished_run_that_is_refused_leaves_it_done_and_says_why(run):
    run.save(RunState("done", "report", started=time.time() - 10, ended=time.time() - 5))
    write_json(run.folder / "launch.json", NOT_OURS | {"began": time.time()})
    (run.folder / "launch.log").write_text("Error: x.yaml has 1 mistake:\n  - nonsense: no such key\n")
    now = standing(run)
    assert (now.state, now.pid) == ("done", None)
    assert "The last start came to nothing: x.yaml has 1 mistake" in standing_line(now)


def test_a_run_that_goes_on_starts_until_its_process_has_written_so(running):
    mine = {"pid": os.getpid(), "ticks": processes.started(os.getpid()), "arguments": ["run", "x.yaml"]}
    running.save(RunState("done", "report", started=time.time() - 10, ended=time.time() - 5))
    write_json(running.folder / "launch.json", mine | {"began": time.time() - 1})
    assert standing(running).state == "starting"  # it holds the run; the record is of the last sitting
    assert standing(running).stamp.startswith("starting ")
    write_json(running.folder / "launch.json", mine | {"began": time.time() - 20})
    assert standing(running).state == "done"


def test_an_older_launch_says_nothing_about_a_run_that_went_on_in_a_terminal(run):
    write_json(run.folder / "launch.json", NOT_OURS)
    assert standing(run).state == "done"


def test_a_run_says_how_far_it_is_and_how_fast(running, tell):
    now = time.time()
    for second, done in enumerate((0, 10, 20, 30)):
        tell("progress", task="student", done=done, total=100, unit="images", note="loss 1.2", time=now - 4 + second)
    found = standing(running)
    assert found.task is not None
    assert (found.task.done, found.task.total, found.task.share) == (30, 100, 0.3)
    assert found.task.per_second == pytest.approx(10, rel=0.1)
    assert found.task.left == pytest.approx(7, rel=0.1)
    assert found.pid == os.getpid()
    line = standing_line(found)
    assert 'aria-valuenow="30"' in line and "images/s" in line


def test_events_of_an_earlier_sitting_do_not_count(running, tell):
    tell("progress", task="student", done=5, total=10, unit="epochs", note="", time=time.time() - 3600)
    assert standing(running).task is None


def test_a_run_that_waits_for_a_device_says_for_whom(running, tell):
    tell("stage_started", name="student")
    tell("note", level="info", text="Waiting for process 7, which uses the device cpu.")
    assert "process 7" in standing(running).waiting
    tell("progress", task="student", done=1, total=2, unit="epochs", note="")
    assert standing(running).waiting == ""


def test_warnings_are_told_once(running, tell):
    tell("note", level="warning", text="Careful.")
    tell("note", level="warning", text="Careful.")
    assert standing(running).warnings == ("Careful.",)


def test_half_a_line_of_events_is_left_out(running, tell):
    tell("progress", task="student", done=1, total=2, unit="epochs", note="")
    with (running.folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "progress", "done"')
    assert standing(running).task is not None


def test_steps_are_done_when_their_output_is_there(run, finished):
    folder = finished("evaluate:student", "evaluate")
    assert outputs(run) == {"evaluate:student": folder}
    now = standing(run)
    assert now.steps == {"evaluate:student": "done"} and now.stages == {"evaluate": "done"}
    assert "evaluate" in stages(now)


def test_the_facts_are_those_of_the_figures_on_the_disk(run, finished):
    figures = {"AP": 0.3, "AP50": 0.5, "AP75": 0.2, "APs": None, "APm": None, "APl": None, "AR100": 0.4}
    for row, ap in (("source_only", 0.1), ("student", 0.3), ("oracle", 0.5)):
        tree = {**figures, "AP": ap, "per_class": {"cat": ap, "dog": None}}
        (finished(f"evaluate:{row}", "evaluate") / "metrics.json").write_text(json.dumps(tree))
    facts = facts_of(run)
    assert facts.figure("student", "AP") == 0.3
    assert facts.metrics["gap_recovered"]["student"] == pytest.approx(0.5)
    assert facts.absent["teacher:a"] == "not evaluated yet" and "finetune" in facts.absent["finetuned"]
    assert facts.classes == ("cat", "dog")


def test_intervals_differences_and_curves_are_shown_where_they_were_computed(run, finished):
    figures = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"), 0.4)
    for row in ("source_only", "student"):
        folder = finished(f"evaluate:{row}", "evaluate")
        tree = {**figures, "per_class": {"cat": 0.4}, "intervals": {"AP": [0.3, 0.5]} if row == "student" else {}}
        (folder / "metrics.json").write_text(json.dumps(tree))
        drawn = {"seed": 0, "level": 0.95, "AP": [0.4, 0.5, 0.6], "AP50": [0.4, 0.5, 0.6]}
        detail = {"curves": {"cat": [1.0, 0.5]}, "resamples": drawn}
        (folder / "detail.json").write_text(json.dumps(detail) if row == "student" else "cut off")
    facts = facts_of(run)
    assert facts.interval("student", "AP") == (0.3, 0.5)
    assert facts.interval("source_only", "AP") is None
    assert facts.precision == {"student": {"cat": [1.0, 0.5]}}
    assert facts.metrics["differences"] == {}  # of one of the two, nothing was drawn


def test_curves_come_from_finished_trainings_and_from_all_sittings_of_the_one_under_way(running, finished):
    (finished("teach:big", "teach") / "training.json").write_text(json.dumps({"curves": [{"epoch": 1, "box_loss": 2}]}))
    state = running.state()
    running.save(
        RunState(**{**state.__dict__, "steps": {**state.steps, "student": {"stage": "distill", "fingerprint": "none"}}})
    )
    begun = running.workspace / "store" / "distill" / "none.partial"
    begun.mkdir(parents=True)
    lines = [json.dumps({"epoch": epoch, "box_loss": 4.0 - epoch}) + "\n" for epoch in (1, 2)]
    (begun / "curves.jsonl").write_text("".join(lines) + '{"epoch": 3, "box')  # the last line is half-written
    curves = facts_of(running).curves
    assert [step["box_loss"] for step in curves["teacher:big"]] == [2]
    assert [step["box_loss"] for step in curves["student"]] == [3.0, 2.0]


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("  m.onnx: the same\nModel card: runs/x/export/MODEL.md\n", "All done."),
        ("exporting onnx 1/3\n", "It ended before it was done."),
        ("Stopped. What was finished stays.\n", "It ended before it was done."),
        ("", "It ended before it was done."),
        ("Error: no such model\n", "no such model"),
    ],
)
def test_work_beside_a_run_is_done_only_where_it_said_so(log, told):
    last = processes.Launch(2**22 + 1, "1", ("export", "x"), 0.0)
    assert told in side_work(last, log, "Busy.", "All done.", "Model card: ")
    assert (told == "All done.") == ("All done." in side_work(last, log, "Busy.", "All done.", "Model card: "))


def test_nothing_from_outside_becomes_markup():
    bad = "<script>alert(1)</script>"
    for made in (
        markup.error(bad),
        markup.note(bad),
        markup.fine(bad),
        markup.empty(bad, bad),
        markup.typed(bad, bad),
        markup.tiles([(bad, bad, bad)]),
        markup.legend({bad: '"><script>'}),
        markup.pictures([('"><script>', bad, bad)]),
        markup.log(bad, bad),
        markup.title(bad, bad),
        markup.section(bad, bad),
        markup.link(bad, '"><script>'),
        markup.badge(bad),
    ):
        assert "<script>" not in made
