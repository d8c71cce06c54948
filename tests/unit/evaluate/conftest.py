"""The reference, pycocotools by its own means, and random cases to compare with it."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable

import numpy as np
import pytest

STATS = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR100": 8}


@pytest.fixture(scope="session")
def plain() -> Callable:
    return _plain


@pytest.fixture(scope="session")
def random_case() -> Callable:
    return _random_case


def _plain(truth: dict, predictions: list, most: int = 100) -> tuple[dict[str, float | None], list[float | None]]:
    """The seven figures and AP by class, by pycocotools' own means."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = copy.deepcopy(truth)
        known.createIndex()
        if predictions:
            found = known.loadRes(copy.deepcopy(predictions))
        else:
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        scoring = COCOeval(known, found, "bbox")
        scoring.params.maxDets = [most - 2, most - 1, most]
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    precision = scoring.eval["precision"][:, :, :, 0, 2]
    classes = [precision[:, :, k] for k in range(precision.shape[2])]
    figures = {name: scoring.stats[position] for name, position in STATS.items()}
    if most != 100:  # it summarises AP at 100 boxes alone
        figures["AP"] = np.mean(precision[precision > -1]) if (precision > -1).any() else -1
    return (
        {name: None if value == -1 else value for name, value in figures.items()},
        [float(np.mean(c[c > -1])) if (c > -1).any() else None for c in classes],
    )


def _random_case(seed: int) -> tuple[dict, list]:
    """Random truth with crowds, unlabelled images and a class nobody labelled; predictions near it and elsewhere.

    Every other case lies on a coarse grid, so that overlaps and areas are often equal, or exactly at a threshold.
    """
    rng = np.random.default_rng(seed)
    grid = 16 if rng.random() < 0.5 else 0
    images = [int(i) for i in rng.permutation(1000)[: rng.integers(1, 7)]]
    classes = [int(i) for i in rng.permutation(90)[: rng.integers(1, 5)]]
    objects, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 9)):
            box = [*rng.uniform(0, 300, 2), *rng.uniform(1, 200, 2)]
            kind = int(rng.choice(classes[: max(1, len(classes) - 1)]))
            crowd = int(rng.random() < 0.15)
            objects.append({"image_id": image, "category_id": kind, "bbox": box, "iscrowd": crowd})
            for _ in range(rng.integers(0, 3)):
                near = (np.array(box) + rng.normal(0, 6, 4)).clip(0.5).tolist()
                score = round(float(rng.random()), 2)  # equal scores are common
                results.append({"image_id": image, "category_id": kind, "bbox": near, "score": score})
        for _ in range(rng.integers(0, 4)):
            box = [*rng.uniform(0, 300, 2).tolist(), *rng.uniform(1, 200, 2).tolist()]
            kind = int(rng.choice(classes))
            results.append({"image_id": image, "category_id": kind, "bbox": box, "score": float(rng.random())})
    for item in (*objects, *results) if grid else ():
        item["bbox"] = [
            grid * max(least, round(side / grid)) for side, least in zip(item["bbox"], (0, 0, 1, 1), strict=True)
        ]
    for number, item in enumerate(objects, 1):
        share = float(rng.choice([1.0, 1.0, 0.5]))  # an area may be that of a mask
        item.update(id=number, area=share * item["bbox"][2] * item["bbox"][3])
    truth = {
        "images": [{"id": i} for i in images],
        "categories": [{"id": i, "name": f"class {i}"} for i in classes],
        "annotations": objects,
    }
    return truth, results
