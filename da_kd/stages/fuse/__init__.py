"""*fuse*: maps every teacher's classes into the recipe's, merges the teachers, and sorts boxes by threshold.

Takes seconds and never runs a teacher; every score is kept, and a threshold only sets a box's state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da_kd.detections import Detections, DetectionTable, State, Vocabulary
from da_kd.events import Job
from da_kd.recipe import Fuse, Teacher
from da_kd.stages.fuse.calibration import Calibration
from da_kd.stages.fuse.classes import ClassMap, check_all_seen, class_map, hints
from da_kd.stages.fuse.guard import Home, guard, read_verdict
from da_kd.stages.fuse.measure import calibrate, choose
from da_kd.stages.fuse.merged import Fused, labels_of, merge_all
from da_kd.stages.fuse.sample import Sample
from da_kd.stages.fuse.thresholds import Cuts, Int8, fixed, thresholds
from da_kd.store import write_json

__all__ = ["Sample", "fuse", "read_cuts", "read_verdict", "run", "states", "thresholds"]


def run(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    config: Fuse,
    vocabulary: Vocabulary,
    out: Path,
    job: Job,
    samples: Mapping[str, Sample] | None = None,
) -> None:
    """Write ``labels.parquet`` into ``out``: pseudo labels with scores, agreement and states.

    Beside it ``thresholds.json`` says which thresholds they are of, and ``calibration.json``, where scores were
    calibrated, how. ``guard.json`` is what the guard thinks of them (see ``guard``).

    Args:
        teachers: the recipe's teachers, in order.
        predictions: by teacher name, what it said, over the same images.
        config: how to merge and where the thresholds lie.
        vocabulary: the recipe's classes.
        out: the output folder.
        job: where progress goes.
        samples: by name, labelled images that the same teachers were run over.

    Raises:
        DataError: a class map does not fit, no teacher can see a class, or the tables are of different images.
    """
    maps = {t.name: class_map(t.name, predictions[t.name].vocabulary, vocabulary, t.classes) for t in teachers}
    check_all_seen(maps, vocabulary)
    _tell_left_out(maps, job)
    known, curves = samples or {}, dict[str, Calibration]()
    if config.calibrate != "none":
        curves, told = calibrate(known, maps, config, job)
        write_json(out / "calibration.json", told)

    def merged(said: Mapping[str, DetectionTable], job: Job) -> Fused:
        asked = [teacher for teacher in teachers if teacher.name in said]
        return merge_all(asked, said, maps, config, vocabulary, job, curves)

    fused = merged(predictions, job)
    cuts, told = choose(fused, known, config, job, lambda sample: merged(sample.said, Job()))
    write_json(out / "thresholds.json", told)
    table = labels_of(fused, cuts, config)
    if config.guard.mode != "off":
        sample = _home(known)
        home = Home(sample, labels_of(merged(sample.said, Job()), cuts, config)) if sample else None
        table, verdict = guard(table, home, config.guard, job)
        verdict.write(out)
    table.write(out / "labels.parquet")
    counts = {state: int((table.state == state).sum()) for state in State}
    job.note(
        f"{len(table)} images: {counts[State.KEPT]} boxes kept, {counts[State.UNCERTAIN]} uncertain, "
        f"{counts[State.DROPPED]} dropped."
    )


def _home(samples: Mapping[str, Sample]) -> Sample | None:
    """Return the labelled source images that some teacher was run over."""
    known = [samples[name] for name in ("source_val", "source") if name in samples and samples[name].said]
    return known[0] if known else None


def fuse(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, DetectionTable],
    maps: Mapping[str, ClassMap],
    config: Fuse,
    vocabulary: Vocabulary,
    job: Job,
) -> DetectionTable:
    """Return the fused pseudo labels with the recipe's own thresholds and the teachers' own scores; see :func:`run`."""
    fused = merge_all(teachers, predictions, maps, config, vocabulary, job)
    return labels_of(fused, fixed(config, vocabulary), config)


def states(boxes: Detections, config: Fuse) -> Int8:
    """Return the (N,) int8 state of every box: kept at or above ``keep``, dropped below ``drop``, else uncertain."""
    return fixed(config, boxes.vocabulary).states(boxes.score, boxes.label)


def read_cuts(out: Path, vocabulary: Vocabulary) -> Cuts:
    """Return the thresholds that *fuse* used."""
    return Cuts.from_json(json.loads((out / "thresholds.json").read_text(encoding="utf-8"))["classes"], vocabulary)


def labels_used(out: Path) -> dict[str, str]:
    """Return by purpose whose labels *fuse* used, e.g. ``{'thresholds': 'target_dev (40 images)'}``."""
    found = {}
    for purpose in ("calibration", "thresholds"):
        path = out / f"{purpose}.json"
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if used := tree.get("labels"):
            found[purpose] = f"{used['set']} ({used['images']} images)"
    return found


def _tell_left_out(maps: Mapping[str, ClassMap], job: Job) -> None:
    """Say which classes go nowhere, and which of them a class of the recipe may be meant by."""
    for name, item in maps.items():
        if item.left_out:
            job.note(f"Teacher '{name}': classes that go nowhere: {', '.join(item.left_out[:10])}.")
    for hint in hints(maps):
        job.note(hint)
