"""What ``schedule.args`` may say where a teacher of torchvision is trained: names, ranges, defaults.

Names are those of ultralytics where they mean the same, so that one section ``teach`` can serve both kinds. Knows no
tensor and no image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument: its default, and the most it can be (the least is 0)."""

    default: float
    most: float


TORCHVISION_ARGS: Mapping[str, Argument] = {
    "fliplr": Argument(0.5, 1.0),  # the chance of a horizontal flip
    "flipud": Argument(0.0, 1.0),  # the chance of a vertical flip
    "scale": Argument(0.5, 0.9),  # an image is zoomed by 1 - scale to 1 + scale
    "colour": Argument(0.3, 1.0),  # how far brightness, contrast and saturation move
}


def torchvision_arg_problems(args: Mapping[str, Any], place: str) -> list[str]:
    """Return a sentence for every argument that is unknown or out of its range.

    Args:
        args: ``schedule.args``.
        place: what the schedule is called in messages.
    """
    known = ", ".join(TORCHVISION_ARGS)
    problems = []
    for name, value in args.items():
        if name not in TORCHVISION_ARGS:
            problems.append(
                f"{place}.args: training a torchvision detector has no argument '{name}'; its arguments are: {known}. "
                "Take it out, or give the teacher a 'schedule' of its own"
            )
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _most(name):
            problems.append(f"{place}.args: '{name}' must be a number from 0 to {_most(name):g}; found '{value}'")
    return problems


def _most(name: str) -> float:
    return TORCHVISION_ARGS[name].most
