"""What a run hands back: typed figures and what became of every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da_kd.stages.evaluate.metrics import Metrics


@dataclass(frozen=True)
class StepOutcome:
    """One step of a run: its name, its stage, whether it was there before, and why it ran if it did."""

    name: str
    stage: str
    reused: bool
    why: str
    folder: Path


@dataclass(frozen=True)
class RunMetrics:
    """The figures of a run; see ``docs/metrics.md`` for ``metrics.json``, which holds the same.

    Attributes:
        models: by row (``source_only``, ``teacher:<name>``, ``student``, ``finetuned``, ``oracle``).
        gap_recovered: for ``student`` and ``finetuned``, the share of the AP between source-only and oracle.
        absent: rows that are missing, with the reason.
        classes: the recipe's classes.
        seed: the recipe's seed.
        versions: of Python, da_kd and the libraries.
        seconds: by stage, also where its output was reused.
    """

    models: Mapping[str, Metrics]
    gap_recovered: Mapping[str, float | None]
    absent: Mapping[str, str]
    classes: tuple[str, ...]
    seed: int
    versions: Mapping[str, str]
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``metrics.json`` holds."""
        return {
            "schema": 1,
            "models": {name: metrics.as_json() for name, metrics in self.models.items()},
            "gap_recovered": dict(self.gap_recovered),
            "absent": dict(self.absent),
            "classes": list(self.classes),
            "seed": self.seed,
            "versions": dict(self.versions),
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: the run's folder.
        report: the page, or None where the run ended before it.
        metrics: the figures, or None likewise.
        steps: what became of every step.
        labels: the reviewed pseudo labels (Parquet), or None.
        weights: by row, the weights file.
    """

    folder: Path
    report: Path | None
    metrics: RunMetrics | None
    steps: tuple[StepOutcome, ...]
    labels: Path | None
    weights: Mapping[str, Path]

    @property
    def did_nothing(self) -> bool:
        """Whether every output was there before."""
        return all(step.reused for step in self.steps)
