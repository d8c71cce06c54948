"""Training: how much longer a step takes when labels carry weights, ignored boxes and unsearched classes.

    python benchmarks/train_step.py [--quick] [--json FILE] [--quiet]

Both sides take the same model through the same batch: images on the device, forward, loss, backward, optimiser. One has
the library's loss, the other da_kd's, with a weight for each box, ten ignored boxes an image, and half of 80 classes
unsearched in each part of a mosaic. Steps come in pairs, their order changing; the figure is the median over the pairs
of one time by the other, its interval that of the median (95 %, bootstrap). On a CPU one thread works and its processor
time counts, whatever else the machine does. Loading, which is augmenting and collating with and without regions, is
measured the same way; on a GPU it happens beside the steps. ``--quick`` takes one family per kind of head and ends
within 50 seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FAMILIES = {"yolov8n": "one-to-many", "yolo11n": "one-to-many", "yolo26n": "end-to-end", "yolov10n": "end-to-end"}
QUICK = ("yolo11n", "yolo26n")
NAMES = tuple(f"class {number}" for number in range(80))
SIZE, BATCH, IMAGES, BOXES = 320, 8, 24, 20  # of an image's boxes, half are uncertain


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    asked = _arguments()
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    if _device() == "cpu":
        import torch

        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = scene(Path(folder))
        seconds = 2.0 if asked.quick else 30.0
        loading, batch = measure_loading(images, seconds)
    seconds = 16.0 if asked.quick else 90.0
    rows = {name: measure_steps(name, batch, seconds) for name in (QUICK if asked.quick else FAMILIES)}
    if not asked.quiet:
        _print(rows, loading)
    if asked.json:
        figures = {
            "step_ratio": {name: round(row["ratio"], 4) for name, row in rows.items()},
            "interval": {name: [round(row["low"], 4), round(row["high"], 4)] for name, row in rows.items()},
            "load_ratio": round(loading["ratio"], 4),
            "device": _device(),
        }
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 seconds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args()


def _device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def scene(folder: Path) -> Any:
    """Return images of noise, each with boxes of which half are uncertain, and half of the classes searched for."""
    from PIL import Image

    from da_kd.data import ImageSet, ScanCache, scan
    from da_kd.detections import Detections, State, table_of

    chance = np.random.default_rng(0)
    keys, found = [f"{number}.png" for number in range(IMAGES)], {}
    for key in keys:
        Image.fromarray(chance.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / key)
        low, side = chance.uniform(0, 0.8, (BOXES, 2)) * SIZE, chance.uniform(0.04, 0.2, (BOXES, 2)) * SIZE
        labels = chance.integers(0, len(NAMES), BOXES)
        found[key] = Detections(NAMES, np.concatenate([low, low + side], 1), chance.uniform(0.3, 1, BOXES), labels)
    table = table_of(NAMES, scan(folder, keys, ScanCache(None)), found)
    state = np.resize(np.array([State.KEPT, State.UNCERTAIN], np.int8), len(table.state))
    searched = chance.random(table.searched.shape) < 0.5
    return ImageSet(folder, dataclasses.replace(table, state=state, searched=searched))


def measure_loading(images: Any, seconds: float) -> tuple[dict[str, float], dict[str, Any]]:
    """Return how long batches take with regions and without, and one with."""
    from ultralytics.cfg import get_cfg

    from da_kd.training import Signals
    from da_kd.training.signals import Lesson
    from da_kd.training.table_data import TableDataset

    def dataset(signals: Signals) -> Any:
        data = {"names": dict(enumerate(NAMES)), "nc": len(NAMES), "channels": 3, "da_kd": Lesson(images, signals)}
        return TableDataset(img_path="", imgsz=SIZE, batch_size=BATCH, hyp=get_cfg(), cache="ram", data=data)

    def load(data: Any, seed: int) -> Any:
        random.seed(seed)
        np.random.seed(seed)
        return data.collate_fn([data[(seed * BATCH + number) % IMAGES] for number in range(BATCH)])

    stock, ours = dataset(Signals("none", "background", "background")), dataset(Signals("score"))
    row = paired(lambda turn: load(stock, turn), lambda turn: load(ours, turn), seconds)
    return row, load(ours, 0)


def measure_steps(family: str, batch: dict[str, Any], seconds: float) -> dict[str, float]:
    """Return how long a family's steps take with the library's loss and with da_kd's."""
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.torch_utils import init_seeds, unset_deterministic

    from da_kd.training.losses import set_criterion

    init_seeds(0, deterministic=True)
    device = _device()
    model = DetectionModel(f"{family}.yaml", nc=len(NAMES), verbose=False).to(device).train()
    model.args = get_cfg()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    batch = {name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)}
    batch["img"] = batch["img"].float() / 255
    set_criterion(model, 0)
    losses = (model.init_criterion(), model.criterion)

    def step(loss: Any) -> None:
        model.criterion = loss
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=device != "cpu"):
            total, _ = model(batch)
        total.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()

    row = paired(lambda _: step(losses[0]), lambda _: step(losses[1]), seconds)
    unset_deterministic()
    return row


def paired(stock: Callable[[int], Any], ours: Callable[[int], Any], seconds: float) -> dict[str, float]:
    """Return the median ratio of paired turns within a time, its interval, and both sides' medians in milliseconds."""
    turns: list[tuple[float, float]] = []
    for side in (stock, ours):  # what is made once, is made before
        side(0)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(turns) < 3:
        turn = len(turns)
        if turn % 2:
            second, first = _timed(ours, turn), _timed(stock, turn)
        else:
            first, second = _timed(stock, turn), _timed(ours, turn)
        turns.append((first, second))
    times = np.array(turns)
    ratios = times[:, 1] / times[:, 0]
    again = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(again, axis=1), [0.025, 0.975])
    both = np.median(times, axis=0) * 1e3
    return {
        "ratio": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
        "stock_ms": float(both[0]),
        "ours_ms": float(both[1]),
        "pairs": len(turns),
    }


def _timed(work: Callable[[int], Any], turn: int) -> float:
    clock = time.process_time if _device() == "cpu" else time.perf_counter
    begin = clock()
    work(turn)
    return clock() - begin


def _print(rows: dict[str, dict[str, float]], loading: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"A training step of {BATCH} images at {SIZE} px on {_device()}")
    for column in ("", "head", "stock ms", "da_kd ms", "ratio", "95 %", "pairs"):
        table.add_column(column, justify="left" if column in ("", "head") else "right")
    for name, row in {**rows, "loading": loading}.items():
        figures = (f"{row['stock_ms']:.1f}", f"{row['ours_ms']:.1f}", f"{row['ratio']:.3f}")
        interval = f"{row['low']:.3f} .. {row['high']:.3f}"
        table.add_row(name, FAMILIES.get(name, "any"), *figures, interval, str(row["pairs"]))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
