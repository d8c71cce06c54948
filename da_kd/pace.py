"""How fast a task goes, judged by its last reports. Standard library only."""

from __future__ import annotations

from collections import deque


class Pace:
    """How fast one task goes, from its last reports; what came before the second report is not counted.

    The first step of a task includes what is loaded for it, and one that goes on from an earlier sitting leaps.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=40)
        self._reports = 0

    def add(self, done: int, moment: float) -> None:
        """Take a report."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
            self._reports = 0
        self._seen.append((moment, done))
        self._reports += 1
        if self._reports == 3:  # noqa: PLR2004 - two reports after the first make a rate without it
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Units a second, or None while it is unknown."""
        if len(self._seen) < 2:  # noqa: PLR2004
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    def left(self, total: int | None) -> float | None:
        """Return the seconds left at the last report, or None while they are unknown."""
        speed = self.per_second
        return (total - self._seen[-1][1]) / speed if speed and total is not None else None
