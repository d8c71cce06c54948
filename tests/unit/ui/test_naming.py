"""Class names that are proposed for a new recipe."""

from __future__ import annotations

import json

import pytest

from da_kd.errors import InputError
from da_kd.ui.queries import naming


@pytest.fixture
def labelled(settings):
    """Two sets that call the same things by other names, and a folder of images alone."""
    for name, classes in (("old", ["car", "person"]), ("new", ["Cars", "tree"])):
        categories = [{"id": number, "name": item} for number, item in enumerate(classes)]
        content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": categories}
        (settings.start / f"{name}.json").write_text(json.dumps(content))
    (settings.start / "bare").mkdir()
    return settings


def test_the_source_names_the_classes(labelled):
    found = naming.propose(labelled, (), {"source": "old.json", "test": "", "target_labelled": ""}, "")
    assert found.classes == ("car", "person")
    assert found.told == ("data.source has 'car', 'person'.",)


def test_names_that_somebody_gave_stay(labelled):
    assert naming.propose(labelled, ("car",), {"source": "old.json"}, "").classes == ("car",)


def test_what_another_set_calls_otherwise_is_told_and_not_decided(labelled):
    found = naming.propose(labelled, (), {"source": "old.json", "test": "new.json"}, "")
    assert found.classes == ("car", "person")
    assert (
        "data.test has 'Cars', which is not a class: under its 'classes', if it is 'car', add 'Cars: car'"
        in "".join(found.told)
    )
    assert any("'tree: null'" in line for line in found.told)


def test_images_alone_and_what_cannot_be_read_are_told(labelled):
    found = naming.propose(labelled, (), {"source": "bare", "test": "nowhere"}, "")
    assert found.classes == ()
    assert found.told[0] == "data.source has images alone, no class names."
    assert "nothing there" in found.told[1]


def test_the_splits_of_sets_are_found_where_they_may_be_read(labelled):
    (labelled.start / "yolo").mkdir()
    (labelled.start / "yolo" / "data.yaml").write_text("train: a\nvalid: b\nnames: [car]\n")
    found = naming.splits(labelled, {"source": "yolo", "target": "bare", "test": "", "target_labelled": "/etc"})
    assert found == {"source": ("train", "valid"), "target": (), "test": ()}


@pytest.mark.parametrize("place", ["/etc", "../..", "~", "x\n"])
def test_nothing_outside_is_looked_into(labelled, place):
    with pytest.raises(InputError, match="outside the folders"):
        naming.propose(labelled, (), {"source": place}, "")


def test_nothing_to_look_into_is_told(labelled):
    with pytest.raises(InputError, match="Name labelled images or a trained teacher first"):
        naming.propose(labelled, (), {"source": ""}, "")
    with pytest.raises(InputError, match="ends in"):
        naming.propose(labelled, (), {}, "nowhere.pt")
