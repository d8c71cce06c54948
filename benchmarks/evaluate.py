"""Evaluation: how much faster than plain pycocotools, in how much memory, and whether to the same last digit.

    python benchmarks/evaluate.py [--quick] [--json FILE]

Random boxes on 5,000 images, 100 found boxes each, 80 classes, about 7 objects an image. Each side scores the same two
COCO JSON files in a process of its own, reading them included: pycocotools evaluates, accumulates and summarises; da_kd
reads, checks and scores. What da_kd tells beside the figures (intervals from 1,000 resamples, types of errors, curves)
is timed apart. ``--quick`` takes 1,500 images. It fails (exit code 1) where the figures differ or da_kd takes longer.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
FOUND, CLASSES, OBJECTS = 100, 80, 7


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(_measured(asked.side, *asked.files)))
        return 0
    images = 1500 if asked.quick else 5000
    with tempfile.TemporaryDirectory() as folder:
        files = _write(Path(folder), images)
        told = {side: _in_a_process(side, files) for side in SIDES}
    print(f"{images:,} images, {FOUND} boxes each, {CLASSES} classes")
    print(f"{'':>28} {'seconds':>8} {'peak MB':>8} {'AP':>20}")
    for side, one in told.items():
        print(f"{side:>28} {one['seconds']:>8.1f} {one['rss_mb']:>8.0f} {one['figures'][0]!r:>20}")
    plain, own = told["pycocotools"], told["da_kd"]
    same = plain["figures"] == own["figures"]
    ratio = plain["seconds"] / own["seconds"]
    print(f"da_kd takes 1 / {ratio:.1f} of the time; the figures {'are equal to the last digit' if same else 'DIFFER'}")
    if asked.json:
        figures = {
            "ratio_pycocotools": round(ratio, 2),
            "ratio_with_intervals": round(plain["seconds"] / told["da_kd, with intervals"]["seconds"], 2),
            "rss_mb": round(own["rss_mb"]),
            "pycocotools_rss_mb": round(plain["rss_mb"]),
            "identical": same,
            "images": images,
        }
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if same and ratio >= 1 else 1


def _plain(truth: Path, found: Path) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        scoring = COCOeval(known, known.loadRes(str(found)), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return [float(value) for value in scoring.stats[: len(FIGURES)]]


def _own(truth: Path, found: Path) -> list[float]:
    from da_kd.stages.evaluate.metrics import read_truth_and_predictions, score_coco

    metrics = score_coco(*read_truth_and_predictions(truth, found))
    return [getattr(metrics, name) for name in FIGURES]


def _with_intervals(truth: Path, found: Path) -> list[float]:
    from da_kd.stages.evaluate.metrics import evaluate_coco, read_truth_and_predictions

    metrics = evaluate_coco(*read_truth_and_predictions(truth, found)).metrics
    return [getattr(metrics, name) for name in FIGURES]


SIDES = {"pycocotools": _plain, "da_kd": _own, "da_kd, with intervals": _with_intervals}


def _measured(side: str, truth: Path, found: Path) -> dict[str, Any]:
    """Return what one side says, and what it took in this process."""
    began = time.perf_counter()
    figures = SIDES[side](truth, found)
    seconds = time.perf_counter() - began
    return {"figures": figures, "seconds": seconds, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _in_a_process(side: str, files: tuple[Path, Path]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, *map(str, files)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def _write(folder: Path, images: int) -> tuple[Path, Path]:
    """Write random ground truth, and predictions half of which lie near an object."""
    rng = np.random.default_rng(0)
    objects: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        count = 1 + rng.poisson(OBJECTS - 1)
        boxes = _boxes(rng, count)
        kinds = rng.integers(0, CLASSES, count)
        crowd = rng.random(count) < 0.01
        for box, kind, many in zip(boxes.tolist(), kinds.tolist(), crowd.tolist(), strict=True):
            item = {"id": len(objects) + 1, "image_id": image, "category_id": kind + 1, "bbox": box}
            objects.append({**item, "area": box[2] * box[3], "iscrowd": int(many)})
        whose, near = rng.integers(0, count, FOUND), rng.random(FOUND) < 0.5
        shaken = boxes[whose] + rng.normal(0, 0.1, (FOUND, 4)) * boxes[whose][:, [2, 3, 2, 3]]
        found = np.where(near[:, None], shaken, _boxes(rng, FOUND))
        found[:, 2:] = found[:, 2:].clip(1)
        said = np.where(near & (rng.random(FOUND) < 0.9), kinds[whose], rng.integers(0, CLASSES, FOUND))
        score = (rng.random(FOUND) * np.where(near, 1.0, 0.5)).round(4)
        for box, kind, value in zip(found.tolist(), said.tolist(), score.tolist(), strict=True):
            results.append({"image_id": image, "category_id": kind + 1, "bbox": box, "score": value})
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 640} for i in range(1, images + 1)],
        "categories": [{"id": kind + 1, "name": f"class {kind}"} for kind in range(CLASSES)],
        "annotations": objects,
    }
    files = folder / "truth.json", folder / "found.json"
    for path, content in zip(files, (truth, results), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    return files


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return random left, top, width, height of objects of all sizes, in pixels."""
    return np.hstack([rng.uniform(0, 500, (count, 2)), np.exp(rng.normal(4, 1, (count, 2))).clip(4, 400)])


if __name__ == "__main__":
    sys.exit(main())
