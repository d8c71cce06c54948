"""A batch that does not fit is halved until every device has one image left."""

from __future__ import annotations

import pytest

from da_kd.errors import SetupError
from da_kd.events import Job
from da_kd.training.memory import halved


def test_half_of_the_images_are_taken_and_it_is_said() -> None:
    told: list[str] = []
    assert halved("student", 9, Job(lambda event: told.append(getattr(event, "text", "")))) == 4
    assert "9 images at a time do not fit" in told[0]
    assert "with 4 at a time" in told[0]


@pytest.mark.parametrize(("at_once", "devices"), [(1, 1), (2, 2), (3, 2), (7, 4)])
def test_no_device_is_left_without_an_image(at_once: int, devices: int) -> None:
    with pytest.raises(SetupError, match="one image at a time"):
        halved("student", at_once, Job(), devices)


def test_devices_that_share_a_step_keep_one_image_each() -> None:
    assert halved("student", 4, Job(), devices=2) == 2


def test_what_is_left_can_be_divided_among_devices() -> None:
    told: list[str] = []
    assert halved("student", 12, Job(lambda event: told.append(getattr(event, "text", ""))), devices=4) == 4
    assert "with 4 at a time" in told[0]
