"""Collects what is wrong with a data set, so that a person hears of everything at once. Knows nothing of formats."""

from __future__ import annotations

from da_kd.errors import DataError

SHOWN = 10


class Problems:
    """Mistakes found so far.

    Args:
        what: the thing that is wrong, e.g. "the labels of data.yaml".
        remedy: one sentence that says what to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        self._shown: list[str] = []
        self.count = 0

    def add(self, where: str, problem: str) -> None:
        """Note one mistake; only the first few are kept in words."""
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(f"{where}: {problem}")

    def raise_any(self) -> None:
        """Raise one error that lists the first ten mistakes and counts all.

        Raises:
            DataError: there is at least one.
        """
        if not self.count:
            return
        lines = [f"{self.what}: found {self.count} mistake{'s' if self.count != 1 else ''}. {self.remedy}"]
        lines += [f"  - {line}" for line in self._shown]
        if self.count > SHOWN:
            lines.append(f"  ... and {self.count - SHOWN} more.")
        raise DataError("\n".join(lines))
