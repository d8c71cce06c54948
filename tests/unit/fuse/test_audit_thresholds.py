"""Thresholds and calibration from the audited images of a review."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import Detections, DetectionTable, ImageRecord, read_table, table_of
from da_kd.events import Job
from da_kd.recipe import Fuse, Teacher, Thresholds
from da_kd.stages.fuse import Sample, run

NAMES = ("RBC",)


def scenes(images=30, junk=0.3) -> tuple[DetectionTable, DetectionTable]:
    """What a teacher says, wrong ones scoring about ``junk``, right ones about 0.75; and the truth."""
    rng, said, truth = np.random.default_rng(0), {}, {}
    records = [ImageRecord(f"{at}.png", f"sha{at}", 600, 200) for at in range(images)]
    for record in records:
        objects = np.array([[60.0 * at, 10, 60.0 * at + 40, 50] for at in range(6)])
        scores = np.concatenate([rng.normal(0.75, 0.03, 6), rng.normal(junk, 0.03, 6)])
        said[record.key] = Detections(
            NAMES, np.concatenate([objects, objects + np.array([0, 100, 0, 100])]), scores, np.zeros(12)
        )
        truth[record.key] = Detections(NAMES, objects, np.ones(6), np.zeros(6))
    return table_of(NAMES, records, said, teachers=("t",)), table_of(NAMES, records, truth)


TEACHER = Teacher(name="t", weights="t.pt")


class Told(Job):
    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__(lambda event: self.texts.append(getattr(event, "text", "")))


def fused(tmp_path, said, config, job=None, **samples):
    run([TEACHER], {"t": said}, config, NAMES, tmp_path, job or Job(), samples)
    return read_table(tmp_path / "labels.parquet")


def audit(said, truth, rows, weight=None):
    return Sample("audit", truth.take(rows), {"t": said.take(rows)}, held_out=True, weight=weight)


@pytest.mark.parametrize(
    "config",
    [
        Fuse(thresholds=Thresholds(by="audit"), keep=0.2, drop=0.05),
        Fuse(thresholds=Thresholds(by="f_beta"), fit_on="audit", keep=0.2, drop=0.05),
    ],
)
def test_the_audit_sets_the_threshold_between_wrong_and_right_boxes(tmp_path, config):
    said, truth = scenes()
    table = fused(tmp_path, said, config, audit=audit(said, truth, range(10)))
    kept = table.score[table.state == 0]
    assert len(kept) == pytest.approx(180, abs=4)
    assert kept.min() > 0.6


def test_before_any_image_is_audited_the_given_thresholds_stand_and_a_warning_says_so(tmp_path):
    said, _ = scenes()
    job = Told()
    table = fused(tmp_path, said, Fuse(thresholds=Thresholds(by="audit"), keep=0.2), job)
    assert (table.state == 0).all()
    assert any("no image of the audit is done yet" in text for text in job.texts)


def test_images_that_stand_for_more_decide_more(tmp_path):
    said, truth = scenes(junk=0.7)
    bare = dataclasses.replace(truth, state=np.where(truth.image_index < 5, 3, 0).astype(np.int8))
    keep = []
    for weight in (np.where(np.arange(10) < 5, 100.0, 1.0), np.where(np.arange(10) < 5, 1.0, 100.0)):
        table = fused(
            tmp_path, said, Fuse(thresholds=Thresholds(by="audit")), audit=audit(said, bare, range(10), weight)
        )
        keep.append(float(table.score[table.state == 0].min()))
    assert keep[0] > keep[1]


def test_calibration_can_be_fitted_on_the_audit(tmp_path):
    said, truth = scenes(junk=0.7)
    config = Fuse(calibrate="logistic", fit_on="audit")
    before = fused(tmp_path, said, config)
    after = fused(tmp_path, said, config, audit=audit(said, truth, range(20)))
    right = after.xyxy[:, 1] < 100
    assert sorted(before.score.tolist()) == sorted(said.score.tolist())  # nothing to go by yet
    assert after.score[right].mean() > before.score[right].mean() - 0.05
    assert after.score[~right].mean() < before.score[~right].mean() - 0.2
