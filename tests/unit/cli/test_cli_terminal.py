"""Words that look like markup come out as they are."""

from __future__ import annotations

from da_kd.cli import terminal


def test_a_name_in_brackets_stands_in_a_table_as_it_is(capsys):
    table = terminal.new_table("model", "AP")
    for name in ("car [night]", "x [/y]"):
        table.add_row(name, "0.5")
    terminal.show(table)
    told = capsys.readouterr().out
    assert "car [night]" in told and "x [/y]" in told
