"""Scores weights while they are trained, on labelled images that are not the test set; as *evaluate* scores a row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.stages.evaluate.metrics import score_tables
from da_kd.teachers import adapter
from da_kd.teachers.batches import answer_batches, cut, tabulate

FLOOR = 0.001  # lowest score that counts; AP wants the whole precision-recall curve


@dataclass(frozen=True)
class Scorer:
    """Returns the AP of weights on labelled images; fit for pickling, since trainings run in other processes, too.

    Attributes:
        images: labelled images in the classes of the model.
        batch: images per forward pass.
        max_boxes: boxes per image and class that count.
    """

    images: ImageSet
    batch: int = 16
    max_boxes: int = 100

    def __call__(self, weights: Path, device: str, job: Job) -> float | None:
        """Return the AP, a fraction, or None where it is undefined; asks ``job`` whether to stop."""
        with adapter("ultralytics")(weights, {}).open(device, FLOOR, self.batch) as predictor:
            batches = cut(range(len(self.images)), self.batch)
            said = [item for part in answer_batches(predictor, self.images, batches, job) for item in part]
            found = tabulate(predictor.classes, self.images, said, "validation")
        return score_tables(self.images.table, found, self.max_boxes).AP
