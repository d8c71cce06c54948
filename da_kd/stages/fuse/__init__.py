"""*fuse*: maps every teacher's classes into the recipe's, merges the teachers, and sorts boxes by threshold.

Takes seconds and never runs a teacher; every score is kept, and a threshold only sets a box's state. However large the
set, what was said of ``AT_ONCE`` images is in memory at a time, and of all images no more than a number a box: labels
are written part by part, and where thresholds or the guard need to know the whole set first, boxes are merged, or
labels read, a second time. How the set is cut changes no label, no threshold and no verdict.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.detections import DetectionTable, State, Vocabulary
from da_kd.events import Job
from da_kd.recipe import Fuse, Teacher
from da_kd.stages.fuse.calibration import Calibration
from da_kd.stages.fuse.classes import ClassMap, check_all_seen, class_map, hints
from da_kd.stages.fuse.guard import Home, Verdict, demote, guard, read_verdict
from da_kd.stages.fuse.guard_figures import Side, Tally
from da_kd.stages.fuse.measure import calibrate, choose, scores_of
from da_kd.stages.fuse.merged import Fused, in_parts, labels_of, merge_all
from da_kd.stages.fuse.sample import Sample
from da_kd.stages.fuse.thresholds import Cuts, fixed, thresholds
from da_kd.stages.predict import Predictions
from da_kd.store import write_json
from da_kd.tables import read_parts, writing

AT_ONCE = 512  # images; more are no faster, and every one of them costs memory

__all__ = ["Sample", "class_map", "fuse", "read_cuts", "read_verdict", "run", "thresholds"]


def run(
    teachers: Sequence[Teacher],
    predictions: Mapping[str, Predictions],
    config: Fuse,
    vocabulary: Vocabulary,
    out: Path,
    job: Job,
    samples: Mapping[str, Sample] | None = None,
    at_once: int = AT_ONCE,
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
        at_once: how many images are in memory at a time.

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

    def merged(said: Mapping[str, DetectionTable]) -> Fused:
        asked = [teacher for teacher in teachers if teacher.name in said]
        return merge_all(asked, said, maps, config, vocabulary, Job(), curves)

    def all_merged(task: str) -> Iterator[Fused]:
        return (merged(said) for said in in_parts(predictions, at_once, task, job))

    def judged(target: Side) -> Verdict:
        sample = _home(known)
        home = Home(sample, labels_of(merged(sample.said), cuts, config)) if sample else None
        return guard(target, vocabulary, home, config.guard, job)

    names, scores = list(maps), lambda: scores_of(all_merged("scores"), config, len(vocabulary))
    cuts, told = choose(names, vocabulary, scores, known, config, job, lambda sample: merged(sample.said))
    write_json(out / "thresholds.json", told)
    parts = (labels_of(fused, cuts, config) for fused in all_merged("merging"))
    read, counts = _write_labels(out, parts, Tally(len(vocabulary)), judged if config.guard.mode != "off" else None)
    job.note(
        f"{read} images: {counts[State.KEPT]} boxes kept, {counts[State.UNCERTAIN]} uncertain, "
        f"{counts[State.DROPPED]} dropped."
    )
    if not any(counts):
        job.warn(
            "The teachers found no box of the recipe's classes from 'predict.floor' on: train them longer, or lower it."
        )


def _write_labels(
    out: Path, parts: Iterable[DetectionTable], tally: Tally, judged: Callable[[Side], Verdict] | None
) -> tuple[int, list[int]]:
    """Write labels that come in parts, and what the guard thinks of them; return what :func:`_write` does."""
    draft = out / ".merged.parquet"
    try:
        read, counts = _write(draft, parts, tally)
        if judged is not None:
            verdict = judged(tally.side())
            verdict.write(out)
            if verdict.demoted:
                read, counts = _write(draft, (demote(part, verdict)[0] for part in read_parts(draft)))
        os.replace(draft, out / "labels.parquet")
    finally:
        draft.unlink(missing_ok=True)
    return read, counts


def _write(path: Path, parts: Iterable[DetectionTable], tally: Tally | None = None) -> tuple[int, list[int]]:
    """Write parts into one file, counting in ``tally``; return how many images were read, and boxes of each state."""
    read, counts = 0, np.zeros(len(State), np.int64)
    with writing(path) as add:
        for part in parts:
            add(part)
            read += int(part.ok.sum())
            counts += np.bincount(part.state, minlength=len(State))
            if tally is not None:
                tally.add(part)
    return read, counts.tolist()


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
