"""When messages of a page go away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs gradio")

from da_kd.ui.frame import Frame


@pytest.fixture
def still(settings):
    """Return what becomes of a message when the stamp changes: '' takes it away."""

    def of(working: bool) -> Any:
        kept: list[Any] = []
        stamp = SimpleNamespace(change=lambda act, *_, **__: kept.append(act))
        Frame(settings, *[SimpleNamespace()] * 2, stamp, SimpleNamespace()).ends(SimpleNamespace(), working)
        return kept[0]

    return of


@pytest.mark.parametrize("state", ["running", "starting"])
def test_a_message_of_a_run_at_work_stays_while_it_works(still, state):
    assert still(working=True)(f"mine {state} None 1 3", "mine") != ""
    assert still(working=False)(f"mine {state} None 1 3", "mine") == ""


def test_a_message_goes_when_the_chosen_run_rests(still):
    assert still(working=True)("mine done 1.0 3 3", "mine") == ""
    assert still(working=False)("mine done 1.0 3 3", "mine") != ""


def test_a_late_look_at_the_run_chosen_before_takes_no_message_away(still):
    assert still(working=True)("old done 1.0 3 3", "mine") != ""
    assert still(working=False)("old running None 1 3", "mine") != ""
