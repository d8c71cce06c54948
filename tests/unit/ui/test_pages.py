"""What pages show and tell where no browser is needed to see it."""

from __future__ import annotations

import json
import subprocess

import pytest

from da_kd.errors import InputError
from da_kd.pipeline import Run, RunState

pytest.importorskip("gradio", reason="needs gradio")

from da_kd.ui.pages import start, train


def test_the_training_under_way_is_drawn_first_and_what_is_not_drawn_is_named(run, finished):
    curves = [{"epoch": 1, "box_loss": 2.0}]
    for name in "abcdef":
        (finished(f"teach:{name}", "teach") / "training.json").write_text(json.dumps({"curves": curves}))
    state = run.state()
    steps = {**state.steps, "student": {"stage": "distill", "fingerprint": "none", "made": {}}}
    run.save(RunState(**{**state.__dict__, "steps": steps}))
    begun = run.workspace / "store" / "distill" / "none.partial"
    begun.mkdir(parents=True)
    (begun / "curves.jsonl").write_text(json.dumps(curves[0]) + "\n")
    drawn, below = train._drawn(run)
    assert [title for _, title in drawn] == ["Student, 1 epochs", *(f"Teacher {name}, 1 epochs" for name in "abcde")]
    assert "Not drawn here, but in the report: Teacher f." in below


def test_a_list_of_runs_says_where_there_are_more(settings, monkeypatch):
    monkeypatch.setattr("da_kd.ui.pages.start.MOST_LISTED", 2)
    for number in range(3):
        place = Run(settings.workspace / f"run-{number}")
        place.folder.mkdir(parents=True)
        place.save(RunState("done"))
        shown = start._runs(settings)
        assert ("the latest 2 of 3 runs" in shown) == (number == 2)


def test_a_check_that_takes_too_long_is_told_in_a_sentence(settings, recipe_text, monkeypatch):
    def too_long(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", too_long)
    asked = start._Asked.read(settings, recipe_text.replace("ROOT", "."), "demo.yaml", "mine", "report")
    with pytest.raises(InputError, match=r"within 10 minutes; it did not.*'da-kd check .*--deep' in a terminal"):
        asked.check_deep()
