from __future__ import annotations

import numpy as np
import pytest

from da_kd.demo.cells import CLASSES, MOST_RED, Cell, Species, layout, paint


def one(species: Species, x: float, y: float, radius: float) -> Cell:
    return Cell(species, x, y, radius, waves=((0.08, 0.5), (0.04, 2.0)), look=7)


@pytest.mark.parametrize(("species", "radius"), [("RBC", 3.6), ("WBC", 7.0), ("Platelets", 1.5)])
@pytest.mark.parametrize("place", [(20.0, 20.0), (3.0, 38.5)])
def test_the_box_is_where_the_picture_changes(species: Species, radius: float, place: tuple[float, float]):
    specimen = paint([one(species, *place, radius)], size=200, um_per_px=0.2)
    rows, columns = np.nonzero(specimen.stains.sum(axis=-1) > 0.15)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(specimen.boxes[0] - drawn).max() <= 1.5
    assert CLASSES[specimen.classes[0]] == species


def test_a_cell_mostly_outside_is_neither_painted_nor_labelled():
    specimen = paint([one("RBC", -1.6, 20.0, 3.6)], size=200, um_per_px=0.2)
    assert len(specimen.boxes) == len(specimen.classes) == 0
    assert not specimen.stains.any()


def test_a_cell_cut_at_the_edge_keeps_the_inner_part_of_its_box():
    specimen = paint([one("RBC", 0.0, 20.0, 3.6)], size=200, um_per_px=0.2)
    x1, _, x2, _ = specimen.boxes[0]
    assert x1 == 0
    assert 16 < x2 < 21


def test_the_cell_below_shines_through():
    below, above = one("RBC", 18.0, 20.0, 3.6), one("RBC", 21.0, 20.0, 3.6)
    alone = paint([above], 200, 0.2).stains[..., 0]
    both = paint([below, above], 200, 0.2).stains[..., 0]
    assert both[100, 97] > alone[100, 97] + 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("field_um", [33.0, 41.0])
def test_a_layout_has_the_cells_of_a_smear(seed: int, field_um: float):
    cells = layout(field_um, np.random.default_rng(seed))
    count = {name: sum(cell.species == name for cell in cells) for name in CLASSES}
    assert 8 <= count["RBC"] <= MOST_RED
    assert count["WBC"] <= 2
    assert count["Platelets"] <= 9
    assert all(0 <= cell.x <= field_um and 0 <= cell.y <= field_um for cell in cells)
