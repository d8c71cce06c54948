"""Names beside a plot of curves: none on another, none further from its line than it has to be."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.bench import plot


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.2))
def test_places_are_apart_and_as_near_as_may_be(values, gap):
    values = sorted(values)
    places = plot.apart(values, gap)
    assert all(high - low >= gap - 1e-9 for low, high in itertools.pairwise(places))
    assert sum(places) == pytest.approx(sum(values))
    if all(high - low >= gap for low, high in itertools.pairwise(values)):
        assert places == pytest.approx(values)


def test_names_of_lines_that_are_close_do_not_stand_on_each_other(tmp_path, monkeypatch):
    def row(name, value, **more):
        return {"name": name, "interval": {"value": value, "low": None, "high": None}, "AP": [value], **more}

    rows = [row(f"at {x}", x / 10, line="curve", x=x) for x in (1, 2)]
    rows += [row(f"level {value}", value, line=None, x=None) for value in (0.172, 0.175, 0.18)]
    boxes = []

    def saved(figure, stem):
        figure.canvas.draw()
        boxes.extend(text.get_window_extent() for text in figure.axes[0].texts)
        return []

    monkeypatch.setattr(plot, "_saved", saved)
    plot.draw({"name": "t", "title": "t", "scored_on": "test", "x": "images", "rows": rows}, tmp_path / "plot")
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
