"""What is kept beside a training while it runs."""

import json
from pathlib import Path

import pytest

from da_kd.training import sittings
from da_kd.training.sittings import Sittings, read_curves


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A training of which two epochs are safe, and a third was not saved."""
    lines = [json.dumps({"epoch": epoch}) + "\n" for epoch in (1, 2, 3)]
    (tmp_path / "curves.jsonl").write_text("".join(lines))
    (tmp_path / "resume.pt").touch()
    monkeypatch.setattr(sittings, "read_checkpoint", lambda path: {"epoch": 1, "stopper": {"best_epoch": 0}})
    return tmp_path


def test_a_training_that_goes_on_knows_the_epochs_that_are_safe(begun):
    assert Sittings(begun).take_up() == 2
    assert read_curves(begun) == [{"epoch": 1}, {"epoch": 2}]
    again = Sittings(begun)
    again.take_up()
    assert again.resumed_from == (2,)
    assert sorted(path.name for path in begun.iterdir()) == ["curves.jsonl", "resume.pt", "sittings.json"]


def test_curves_are_never_lost_where_a_training_is_taken_up_again(begun, monkeypatch):
    def half(path, text):
        with path.open("w") as file:
            file.write(text[:5])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "write_text", half)
        Sittings(begun).take_up()
    assert [record["epoch"] for record in read_curves(begun)] == [1, 2, 3]
