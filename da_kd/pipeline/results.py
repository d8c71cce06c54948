"""What a run hands back: typed figures and what became of every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from da_kd.stages.evaluate import resampling
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
        review_value: what a simulated review is worth, by order and budget; empty where that was not asked.
        differences: by row and by the row it is compared with, the paired differences in AP and AP50.
    """

    models: Mapping[str, Metrics]
    gap_recovered: Mapping[str, float | None]
    absent: Mapping[str, str]
    classes: tuple[str, ...]
    seed: int
    versions: Mapping[str, str]
    seconds: Mapping[str, float]
    review_value: tuple[Mapping[str, Any], ...] = ()
    differences: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``metrics.json`` holds."""
        return {
            "schema": 1,
            "models": {name: metrics.as_json() for name, metrics in self.models.items()},
            "gap_recovered": dict(self.gap_recovered),
            "differences": dict(self.differences),
            "resampling": {"resamples": resampling.RESAMPLES, "seed": resampling.SEED, "level": resampling.LEVEL},
            "absent": dict(self.absent),
            "classes": list(self.classes),
            "seed": self.seed,
            "versions": dict(self.versions),
            "seconds": dict(self.seconds),
            **({"review_value": [dict(point) for point in self.review_value]} if self.review_value else {}),
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
