"""Every error da_kd raises on purpose, in one tree.

    DaKdError               anything below; one sentence that says what was expected, found, and what to do
    ├── InputError          the user gave something wrong (exit code 2)
    │   ├── RecipeError     a recipe; carries every problem found, not only the first
    │   ├── DataError       a data set, an image, a label, a video
    │   └── WeightsError    a model file that is missing, unreadable or not a detector
    ├── SetupError          the machine lacks something: mongod, a package, disk, a port (exit code 2)
    ├── Busy                another process holds the run or the device (exit code 2)
    ├── Paused              the run waits for a person (exit code 3)
    └── Cancelled           a person stopped it (exit code 130)

A foreign error is wrapped where the foreign library is called. This module knows nothing else of da_kd.
"""

from __future__ import annotations

from collections.abc import Sequence


class DaKdError(Exception):
    """Base of every error below; ``exit_code`` is what the command line returns for it."""

    exit_code = 1


class InputError(DaKdError):
    """Something the user gave cannot be used."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe with one or more mistakes; ``problems`` holds one sentence for each."""

    def __init__(self, problems: Sequence[str], source: str = "the recipe") -> None:
        self.problems = tuple(problems)
        self.source = source
        count = len(self.problems)
        head = f"{source} has {count} mistake{'s' if count != 1 else ''}:"
        super().__init__("\n".join([head, *("  - " + problem.replace("\n", "\n    ") for problem in self.problems)]))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[str, ...], str]]:
        """Return how to make it again, in another process."""
        return type(self), (self.problems, self.source)


class DataError(InputError):
    """A data set, image, label or video that cannot be used as it is."""


class WeightsError(InputError):
    """A model file that is missing, unreadable or not a detector."""


class SetupError(DaKdError):
    """The machine lacks something a stage needs."""

    exit_code = 2


class Busy(DaKdError):  # noqa: N818 - a state of the world, not a mistake
    """Another process holds the lock of a run or of a device."""

    exit_code = 2


class Paused(DaKdError):  # noqa: N818 - no mistake
    """The run waits for a person; the message says where to go and how to go on."""

    exit_code = 3


class Cancelled(DaKdError):  # noqa: N818 - no mistake
    """A person stopped the work; what was finished stays, and the same command goes on from there."""

    exit_code = 130
