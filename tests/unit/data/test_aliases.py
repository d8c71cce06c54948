"""Words that may mean the same are suggested, best first, and never taken."""

import pytest

from da_kd.data.aliases import nearest, plain, same_meaning
from da_kd.data.classes import map_classes
from da_kd.errors import DataError

COCO = ("person", "bicycle", "motorcycle", "airplane", "tv", "couch", "dining table", "potted plant", "traffic light")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("motorbike", "motorcycle"),
        ("aeroplane", "airplane"),
        ("tvmonitor", "tv"),
        ("sofa", "couch"),
        ("diningtable", "dining table"),
        ("Dining_Table", "dining table"),
        ("pottedplant", "potted plant"),
        ("Traffic-Lights", "traffic light"),
        ("pedestrian", "person"),
        ("bike", "bicycle"),
        ("PERSONS", "person"),
    ],
)
def test_another_word_for_a_class_is_found_both_ways(name, wanted):
    assert same_meaning(name, COCO) == [wanted]
    assert nearest(name, COCO)[0] == wanted
    assert name in same_meaning(wanted, [*COCO, name])


@pytest.mark.parametrize(("name", "wanted"), [("RBC", "red blood cells"), ("WBC", "Leukocyte"), ("Platelets", "PLT")])
def test_cells_have_two_names_as_well(name, wanted):
    assert same_meaning(name, ("red blood cells", "Leukocyte", "PLT")) == [wanted]


def test_the_same_name_is_no_other_word():
    assert same_meaning("person", COCO) == []
    assert nearest("zebra", ("gras", "gnu")) == []


def test_a_double_s_is_no_plural():
    assert plain("wine glass") == "wineglass"
    assert plain("Cars") == plain("car") == "car"
    assert plain("s") == "s"


def test_a_set_with_another_word_is_refused_with_the_word_that_is_meant():
    with pytest.raises(DataError, match=r"class 'motorbike' of data.source .* did you mean 'motorcycle'"):
        map_classes(("motorbike",), {}, COCO, "data.source")
