"""Merging: how much faster than ensemble_boxes, how equal to it, and how long 100,000 images take.

    python benchmarks/fuse.py [--quick] [--json FILE]

Both sides of a ratio merge the same random images in one process, in turns; a figure is the median of the turns. Images
are merged as *fuse* merges them, many at a time; ensemble_boxes knows one image at a time. The 100,000 images (20 boxes
from each of two teachers, ten classes) are re-fused in a process of their own: two teachers' Parquet shards are read,
class maps applied, boxes merged, ``labels.parquet`` written. ``--quick`` re-fuses fewer images, marks the figure as
extrapolated, and leaves out the large images.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IOU = 0.55
TURNS = 5
SHARD = 256  # images, as *predict* writes them
CLASSES = tuple(f"class {number}" for number in range(10))


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    asked = _arguments()
    if asked.refuse:
        print(json.dumps(refuse(asked.refuse)))
        return 0
    print(f"{'boxes a teacher':>16} {'ensemble_boxes':>15} {'da_kd':>10} {'ratio':>7} {'largest difference':>19}")
    rows = {boxes: compare(boxes, asked.quick) for boxes in ((30, 100) if asked.quick else (30, 100, 300))}
    images = 20_000 if asked.quick else 100_000
    command = [sys.executable, __file__, "--refuse", str(images)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seconds = told["seconds"] * 100_000 / images
    mark = f"  (extrapolated from {images:,} images)" if images < 100_000 else ""
    print(f"re-fusing 100,000 images: {seconds:.1f} s{mark}")
    print(f"  of {images:,} images the processors spent {told['processors']:.1f} s")
    print(f"peak memory: {told['before_mb']:.0f} MB before anything is read, {told['peak_mb']:.0f} MB in all")
    print(f"peak memory of the comparison: {_peak():.0f} MB")
    figures: dict[str, Any] = {
        "ratio_ensemble_boxes": round(rows[100]["ratio"], 2),
        "max_abs_diff": max(row["difference"] for row in rows.values()),
        "refuse_100k_seconds": round(seconds, 2),
    }
    if mark:
        figures["extrapolated"] = ["refuse_100k_seconds"]
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 seconds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--refuse", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def scene(random: np.random.Generator, images: int, boxes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each of two teachers, (I, N, 4) boxes in the unit square about the same objects, (I, N) scores."""
    centre = random.uniform(0.1, 0.9, (images, boxes, 2))
    half = random.uniform(0.02, 0.1, (images, boxes, 2))
    truth = np.concatenate([centre - half, centre + half], axis=2)
    moved = [truth + random.normal(0, 0.01, truth.shape) for _ in range(2)]
    sides = [np.concatenate([np.minimum(b[..., :2], b[..., 2:]), np.maximum(b[..., :2], b[..., 2:])], 2) for b in moved]
    return [(np.clip(box, 0, 1), random.uniform(0.02, 1, (images, boxes))) for box in sides]


def compare(boxes: int, quick: bool) -> dict[str, float]:
    """Return both sides' milliseconds an image, their ratio, and the largest difference of any number."""
    images, slow = 60_000 // boxes, 8 if quick else 20
    said = scene(np.random.default_rng(boxes), images, boxes)
    theirs, ours, difference = [], [], 0.0
    for turn in range(TURNS):
        some = range(turn * slow, (turn + 1) * slow)
        seconds, wanted = _timed(lambda some=some: [_ensemble_boxes(said, image) for image in some])
        theirs.append(seconds / slow)
        seconds, found = _timed(lambda: _da_kd(said))
        ours.append(seconds / images)
        difference = max(difference, *(_difference(_of(found, i), wanted[i - some.start]) for i in some))
    ratio = statistics.median(theirs) / statistics.median(ours)
    old, new = statistics.median(theirs) * 1e3, statistics.median(ours) * 1e3
    print(f"{boxes:16} {old:12.2f} ms {new:7.3f} ms {ratio:7.1f} {difference:19.1e}", flush=True)
    return {"ratio": ratio, "difference": difference}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def _ensemble_boxes(said: list[tuple[np.ndarray, np.ndarray]], image: int) -> np.ndarray:
    """Return (M, 5) boxes and scores."""
    from ensemble_boxes import weighted_boxes_fusion

    boxes, scores = [box[image] for box, _ in said], [score[image] for _, score in said]
    found, score, _ = weighted_boxes_fusion(boxes, scores, [np.zeros(len(s)) for s in scores], iou_thr=IOU)
    return np.column_stack([found, score])


def _da_kd(said: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    """Return the merged boxes of all images, by the published rule for teachers that repeat themselves."""
    from da_kd.merging.merge import Panel, Pool, merge_pool

    images, boxes = said[0][1].shape
    pool = Pool(
        np.concatenate([box.reshape(-1, 4) for box, _ in said]),
        np.concatenate([score.reshape(-1) for _, score in said]),
        np.tile(np.repeat(np.arange(images), boxes), len(said)),
        np.zeros(images * boxes * len(said), np.int64),
        np.repeat(np.arange(len(said)), images * boxes),
    )
    panel = Panel(np.ones((2, 1), bool), np.ones((2, 1)), np.ones((images, 2), bool))
    return merge_pool(panel, pool, "wbf", IOU, "all")


def _of(merged: Any, image: int) -> np.ndarray:
    mine = merged.image == image
    return np.column_stack([merged.xyxy[mine], merged.score[mine]])


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of boxes and scores, whatever their order; infinite where their numbers differ."""
    if len(one) != len(other):
        return float("inf")
    apart = np.abs(one[:, None] - other[None]).max(axis=2)
    return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))


def refuse(images: int) -> dict[str, Any]:
    """Return the seconds and megabytes that re-fusing takes, from shards to ``labels.parquet``.

    ``processors`` are the seconds of the processors, whatever else the machine does; ``before_mb`` is the most memory
    before anything was read of what the teachers said.
    """
    from da_kd.events import Job
    from da_kd.recipe import Fuse, Teacher
    from da_kd.stages import fuse
    from da_kd.stages.predict import StoredPredictions

    teachers = [Teacher(name=name, weights="none", classes={"other": "class 0"}) for name in ("a", "b")]
    with tempfile.TemporaryDirectory() as folder:
        for number, teacher in enumerate(teachers):
            _shards(Path(folder) / teacher.name / "shards", teacher.name, images, number)
        config = Fuse(keep={"default": 0.4})

        def work() -> None:
            said = {t.name: StoredPredictions(Path(folder) / t.name) for t in teachers}
            fuse.run(teachers, said, config, CLASSES, Path(folder), Job())

        before, spent = _peak(), time.process_time()
        seconds, _ = _timed(work)
        processors = time.process_time() - spent
    return {"seconds": seconds, "processors": processors, "before_mb": before, "peak_mb": _peak()}


def _shards(folder: Path, name: str, images: int, number: int) -> None:
    """Write what a teacher said of so many images, 20 boxes each; one of its classes is joined with another."""
    from da_kd.detections import DetectionTable

    folder.mkdir(parents=True)
    vocabulary = (*CLASSES, "other")
    for begin in range(0, images, SHARD):
        count = min(SHARD, images - begin)
        boxes, score = scene(np.random.default_rng(begin), count, 20)[number]
        label = np.random.default_rng(begin).integers(0, len(vocabulary), count * 20)
        DetectionTable(
            vocabulary=vocabulary,
            key=tuple(f"folder/{begin + i:08}.jpg" for i in range(count)),
            sha=tuple(f"{begin + i:064x}" for i in range(count)),
            size=np.full((count, 2), 640, np.int32),
            reason=("",) * count,
            searched=np.ones((count, len(vocabulary)), bool),
            offsets=np.arange(count + 1, dtype=np.int64) * 20,
            xyxy=(boxes.reshape(-1, 4) * 640).astype(np.float32),
            score=score.reshape(-1).astype(np.float32),
            label=label.astype(np.int32),
            state=np.zeros(count * 20, np.int8),
            agreement=np.ones(count * 20, np.float32),
            protected=np.zeros(count * 20, bool),
            teachers=(name,),
            teacher_score=score.reshape(-1, 1).astype(np.float32),
        ).write(folder / f"{begin:08}.parquet")


def _peak() -> float:
    """Return the most memory this process had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
