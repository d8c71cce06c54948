import io
import os
import signal

import pytest
from rich.console import Console

from da_kd.cli import progress, stopping
from da_kd.cli.progress import LiveDisplay, Pace, PlainLines
from da_kd.cli.words import age, duration, rate, size
from da_kd.events import Figures, Note, Progress, StageDone, StageStarted


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_plain_lines_come_at_most_every_five_seconds():
    lines, clock = [], Clock()
    plain = PlainLines(lines.append, clock)
    for done in range(101):
        clock.now = done * 0.2
        plain.take(Progress("predict", "big", done, 100, "images", time=clock.now))
    assert len(lines) == 4
    assert lines[0] == "  predict: big 25/100 images, 5.0 images/s, 15 s left"


def test_who_knows_better_how_long_it_takes_is_believed():
    lines, clock = [], Clock()
    plain = PlainLines(lines.append, clock)
    for done in range(61):
        clock.now = done * 0.1
        plain.take(Progress("bench", "runs", done, 100, "runs", "one; two", left=600.0, time=clock.now))
    assert lines == ["  bench: runs 50/100 runs, 10 min left, one; two"]


def test_plain_lines_say_how_steps_begin_and_end():
    lines = []
    plain = PlainLines(lines.append)
    plain.take(StageStarted("teach", name="teach:big"))
    plain.take(StageDone("teach", name="teach:big", seconds=75))
    plain.take(StageStarted("fuse", name="fuse", why="fuse.iou: 0.5 -> 0.6"))
    plain.take(StageDone("fuse", name="fuse", seconds=3, reused=True))
    plain.take(Note("fuse", level="warning", text="odd"))
    assert [" ".join(line.split()) for line in lines] == [
        "- teach:big begins",
        "✓ teach:big done in 1 min 15 s",
        "- fuse runs again: fuse.iou: 0.5 -> 0.6",
        "✓ fuse reused (took 3.0 s)",
        "! odd",
    ]


def test_the_pace_leaves_out_what_comes_before_the_first_step_and_a_leap():
    pace = Pace()
    pace.add(0, 0.0)
    assert pace.per_second is None
    pace.add(50, 60.0)  # went on from epoch 49, after a minute of loading
    pace.add(52, 64.0)
    assert pace.per_second == pytest.approx(0.5)
    assert pace.left(60) == pytest.approx(16.0)


def test_the_live_display_shows_rate_time_left_and_figures(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=110, highlight=False)
    monkeypatch.setattr(progress, "out", screen)
    with LiveDisplay() as display:
        display.take(StageStarted("teach", name="teach:big", why="teach.steps: 4 -> 8"))
        for done in range(4):
            display.take(Progress("teach", "big", done, 10, "epochs", "loss 1.5", time=1e10 + done))
        display.take(Figures("teach", task="big", step=3, values={"box_loss": 1.25}))
        display._live.refresh()
        display.take(StageDone("teach", name="teach:big", seconds=4))
    said = screen.file.getvalue()
    for words in ("runs again: teach.steps: 4 -> 8", "3/10 epochs", "1.0 epochs/s", "left", "box_loss 1.25", "done in"):
        assert words in said


def test_the_first_signal_asks_and_the_second_ends(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with stopping.stoppable() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    assert "Stopping..." in capsys.readouterr().err


def test_a_terminal_that_is_gone_asks_too_and_nohup_is_respected(capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with stopping.stoppable() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert asked()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stopping.stoppable() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().err == ""


def test_numbers_in_words():
    assert [duration(value) for value in (0.44, 12.4, 60, 61, 7500)] == [
        "0.4 s",
        "12 s",
        "1 min",
        "1 min 1 s",
        "2 h 5 min",
    ]
    assert [size(value) for value in (0, 2e3, 5e6, 12.34e9)] == ["0 B", "2 kB", "5 MB", "12.3 GB"]
    assert [rate(value, "x") for value in (250, 2.5, 0.05)] == ["250 x/s", "2.5 x/s", "3.0 x/min"]
    assert [age(100 - back, 100) for back in (3, 90)] == ["just now", "1 min ago"]
    assert age(0, 3 * 86400) == "3 days ago"
