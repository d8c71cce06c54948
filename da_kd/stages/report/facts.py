"""What a report is made of, and the order and names of its rows; must not know how a page looks or where a run lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from da_kd.detections import DetectionTable

TEACHER = "teacher:"
TUNED = "tune:"
EARLIER = "student@"  # the students of rounds before the last
_NAMES = {"source_only": "Source-only", "student": "Student", "finetuned": "Fine-tuned", "oracle": "Oracle"}
START = "warm_start"  # only where it is not source_only, so that no other run has to say that it is missing
NOT_RUN = "not part of this run"


@dataclass(frozen=True)
class ReportFacts:
    """Everything the page shows; whatever a run does not have is None or empty, and the page says so.

    Rows are named ``source_only``, ``warm_start`` (what students start from), ``teacher:<name>``, ``student@<round>``
    (before the last), ``student``, ``finetuned`` and ``oracle``.

    Attributes:
        title: the name of the run.
        command: what to type to make it again.
        metrics: the object that goes into ``metrics.json``: ``models`` (row to AP, AP50, ... and ``per_class``,
            fractions or None), ``gap_recovered`` (``student``, ``finetuned``), ``absent`` (row to the reason why it is
            missing), ``differences`` (row to other row to ``AP`` and ``AP50``), ``classes``, ``seed``, ``versions``,
            ``seconds`` (by stage), ``schema``.
        curves: by row, one mapping per epoch: ``epoch``, ``box_loss``, ``cls_loss``, ``dfl_loss``, maybe ``val_AP``.
        pseudo: pseudo labels with scores and states.
        label_truth: labels of images that were pseudo-labelled, to tell how right the pseudo labels are.
        keep: by class name, the score from which a pseudo label is kept.
        drop: by class name, the score below which it is dropped.
        home: by teacher, its figures on labelled source images that no teacher learned from, as in ``metrics.json``.
        guard: what the guard thinks of the pseudo labels, as it stands in ``guard.json``; None where it was off.
        restyled: a few source images, each with its copies in the target's colours after it, as files.
        truth: labels of the test images.
        test_root: the folder that the keys of ``truth`` count from.
        predictions: by row, boxes on the test images down to a low score.
        precision: by row and class, precision at the recalls 0.00, 0.01, ... 1.00, at IoU 0.50.
        skipped: set, image and reason of every image that was left out.
        review: what became of how many boxes in review.
        audit: what the audit measured, as it stands in ``audit.json``; None where there was none.
        notes: sentences the reader must not miss.
        images: how many test images to show.
        recipe_yaml: the resolved recipe.
    """

    title: str
    command: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    pseudo: DetectionTable | None = None
    label_truth: DetectionTable | None = None
    keep: Mapping[str, float] = field(default_factory=dict)
    drop: Mapping[str, float] = field(default_factory=dict)
    guard: Mapping[str, Any] | None = None
    home: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    restyled: Sequence[tuple[Path, ...]] = ()
    truth: DetectionTable | None = None
    test_root: Path | None = None
    predictions: Mapping[str, DetectionTable] = field(default_factory=dict)
    precision: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str, str]] = ()
    review: Mapping[str, int] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    images: int = 6
    recipe_yaml: str = ""

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The scored rows."""
        models: Mapping[str, Mapping[str, Any]] = self.metrics.get("models") or {}
        return models

    @property
    def absent(self) -> Mapping[str, str]:
        """The rows that are not scored, each with its reason; all the fixed rows are here or in ``models``."""
        given: Mapping[str, str] = self.metrics.get("absent") or {}
        reasons = {row: given.get(row) or NOT_RUN for row in [*_NAMES, *given] if row not in self.models}
        return {row: reasons[row] for row in in_order(reasons)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the one order that colours follow."""
        listed = tuple(self.metrics.get("classes") or ())
        tables = [table for table in (self.truth, self.pseudo, *self.predictions.values()) if table is not None]
        return tuple(dict.fromkeys([*listed, *(name for table in tables for name in table.vocabulary)]))

    def figure(self, row: str, name: str) -> float | None:
        """Return one figure of a row, None where the row or the figure is missing."""
        value = self.models.get(row, {}).get(name)
        return None if value is None else float(value)

    def interval(self, row: str, name: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a figure of a row, None where it is not known."""
        ends = (self.models.get(row, {}).get("intervals") or {}).get(name)
        return (float(ends[0]), float(ends[1])) if ends else None

    def best_teacher(self) -> str | None:
        """Return the row of the teacher with the highest AP of those with predictions, of equal ones the first."""
        rows = [row for row in in_order(self.predictions) if row.startswith(TEACHER)]
        return max(rows, key=lambda row: self.figure(row, "AP") or -1.0, default=None)


def in_order(rows: Mapping[str, Any] | set[str]) -> list[str]:
    """Return rows in the order of the ladder: source-only, teachers, students, fine-tuned, oracle, anything else."""
    fixed = list(_NAMES)

    def place(row: str) -> tuple[float, str]:
        if row == START:
            return 0.3, ""
        if row.startswith(TEACHER):
            return 0.5, "" if isinstance(rows, Mapping) else row  # a mapping keeps its own order of teachers
        if row.startswith(EARLIER):
            return 0.7, row
        return (float(fixed.index(row)), "") if row in fixed else (float(len(fixed)), row)

    return sorted(rows, key=place)


def name_of(row: str) -> str:
    """Return what a row is called on the page."""
    if row.startswith(TEACHER):
        return f"Teacher {row.removeprefix(TEACHER)}"
    if row.startswith(TUNED):
        return f"Teacher {row.removeprefix(TUNED)}, on labels of the target"
    if row.startswith(EARLIER):
        return f"Student, round {row.removeprefix(EARLIER)}"
    return "Student's start" if row == START else _NAMES.get(row, row)
