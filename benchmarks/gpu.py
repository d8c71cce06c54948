"""On a GPU: predicting beside the bare forward and ultralytics' own, and a training step beside the stock trainer's.

    python benchmarks/gpu.py [--json FILE] [--minutes 8]
    python benchmarks/gpu.py --device cpu --quick       # shows that it runs, not how fast a GPU is

Needs torch, torchvision, numpy, OpenCV, ultralytics and what ultralytics needs, and this checkout; nothing else that
da_kd depends on. Ends within the minutes given: what there is no time for is left out, and named. Images are JPEG files
of 640 pixels, models are seeded and untrained, their scores shifted until a usual number of boxes comes out.

``forward`` is the fused model alone, its input on the device: in 32 bits, in 16, with channels last, compiled.
``decode`` is reading the files with so many threads. ``predict`` is a teacher over the files as *predict* asks it,
without writing shards, beside ``ultralytics`` (``predict(stream=True)`` over a list of the files), in turns, both in 32
and in 16 bits; a figure is the median over the turns. ``step`` is forward, loss, backward and optimiser with the
library's loss and with ours (weights, ignored boxes, unsearched classes), in pairs; its interval is that of the median
ratio (95 %).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "ultralytics": "ultralytics",
}
SIDE, FLOOR = 640, 0.02
SIZES = {True: (64, 4, 320, "yolo11n.yaml"), False: (2048, 64, 640, "yolo11s.yaml")}  # images, batch, input, model
TURNS = 5


def main() -> int | str:
    """Measure, print the tables, and write the figures where asked; a sentence where something is missing."""
    asked = _arguments()
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    absent = [wheel for module, wheel in NEEDED.items() if importlib.util.find_spec(module) is None]
    if absent:
        return f"Expected {', '.join(NEEDED.values())}; not installed: {', '.join(absent)}. Install: pip install " + (
            " ".join(absent)
        )
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if asked.device != "cpu" and not torch.cuda.is_available():
        return (
            f"Expected a GPU; torch {torch.__version__} sees none here. Run this where there is one, or see that it "
            "runs at all with: python benchmarks/gpu.py --device cpu --quick"
        )
    from da_kd.offline import settle_ultralytics

    settle_ultralytics()
    clock = Clock(asked.minutes * 60)
    with tempfile.TemporaryDirectory() as place:
        figures = {"machine": machine(asked.device), **measured(Path(place), asked.device, asked.quick, clock)}
    figures |= {"left_out": clock.left_out, "seconds": round(clock.spent, 1)}
    show(figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda:0", "cpu"), default="cuda:0")
    parser.add_argument("--quick", action="store_true", help="a small model and few images; ends within two minutes")
    parser.add_argument("--minutes", type=float, default=8.0, help="ends before so many are over")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


class Clock:
    """Knows how much time is left, and what was left out for lack of it.

    Args:
        seconds: in all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._began = seconds, time.perf_counter()
        self.left_out: list[str] = []

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    def allows(self, name: str, seconds: float) -> bool:
        """Return whether there is time for a part that takes so long; note its name where there is not."""
        if self.spent + seconds <= self._seconds:
            return True
        self.left_out.append(name)
        return False


def machine(device: str) -> dict[str, Any]:
    """Return what the figures belong to."""
    import torch
    import ultralytics

    name = torch.cuda.get_device_name(0) if device != "cpu" else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "ultralytics": ultralytics.__version__, "python": platform.python_version()}
    return {"device": name, "cores": os.cpu_count(), **versions}


def measured(place: Path, device: str, quick: bool, clock: Clock) -> dict[str, Any]:
    """Return the figures of all parts that there is time for."""
    from predict import weights

    count, batch, imgsz, model = SIZES[quick]
    images = drawn(place / "images", count)
    file = weights(place / "model.pt", imgsz, images.root, model)
    long = 2.0 if quick else 5.0
    setting = {"images": count, "batch": batch, "imgsz": imgsz, "model": model}
    found: dict[str, Any] = {"setting": setting, "decode": decoding(images, long, quick)}
    found["forward"] = forward(file, imgsz, batch, device, long, clock, compiled=not quick)
    if clock.allows("predict", 60):
        found["predict"] = predicting(file, images, batch, imgsz, device, place, 2 if quick else TURNS, clock)
    for family in ("yolo11n", "yolo26n"):
        if clock.allows(f"step of {family}", 45):
            found.setdefault("step", {})[family] = stepping(family, place, 4.0 if quick else 20.0)
    return found


def drawn(folder: Path, count: int) -> Any:
    """Return an image set of so many JPEG files of distinct content."""
    import numpy as np
    from PIL import Image

    from da_kd.data import ImageSet, ScanCache, scan
    from da_kd.detections import table_of

    folder.mkdir()
    keys = [f"{number:05}.jpg" for number in range(count)]
    random, pictures = np.random.default_rng(0), []
    for number, key in enumerate(keys):
        if number < 64:
            coarse = Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / key, quality=90)
            pictures.append((folder / key).read_bytes())
        else:  # bytes after the end of a JPEG are another content with the same pixels
            (folder / key).write_bytes(pictures[number % 64] + number.to_bytes(4, "big"))
    return ImageSet(folder, table_of(("x",), scan(folder, keys, ScanCache(None)), {}))


def decoding(images: Any, seconds: float, quick: bool) -> dict[str, float]:
    """Return the images a second that are read, by the number of threads."""
    from concurrent.futures import ThreadPoolExecutor

    from da_kd.data import read_image

    cores, rates = os.cpu_count() or 1, {}
    for threads in sorted({1, min(8, cores), min(32, cores)} if not quick else {1, cores}):
        with ThreadPoolExecutor(threads) as pool:
            rates[str(threads)] = rate(lambda part, pool=pool: list(pool.map(read_image, part)), images.paths, seconds)
    return rates


def rate(work: Callable[[Sequence[Path]], Any], paths: Sequence[Path], seconds: float) -> float:
    """Return the paths a second that are worked on, 64 at a time, for about so many seconds."""
    done, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds or not done:
        start = done % max(1, len(paths) - 63)
        work(paths[start : start + 64])
        done += min(64, len(paths))
    return round(done / passed, 1) if passed >= seconds else round(done / (time.perf_counter() - begin), 1)


def forward(
    file: Path, imgsz: int, batch: int, device: str, seconds: float, clock: Clock, *, compiled: bool
) -> dict[str, float]:
    """Return the images a second of the fused model alone, by how it computes."""
    kinds = {"32 bits": (False, False, False)}
    if device != "cpu":
        kinds |= {"16 bits": (True, False, False), "16 bits, channels last": (True, True, False)}
        if compiled:
            kinds["16 bits, channels last, compiled"] = (True, True, True)
    else:
        kinds["32 bits, channels last"] = (False, True, False)
    rates = {}
    for name, kind in kinds.items():
        if clock.allows(f"forward in {name}", 120 if kind[2] else 4 * seconds):
            try:
                rates[name] = _forward(file, imgsz, batch, device, seconds, *kind)
            except Exception as error:  # a compiler that is missing says so in ways of its own
                clock.left_out.append(f"forward in {name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    return rates


def _forward(
    file: Path, imgsz: int, batch: int, device: str, seconds: float, half: bool, last: bool, compiled: bool
) -> float:
    import torch
    from ultralytics import YOLO

    model = YOLO(str(file)).model.fuse(verbose=False).eval().to(device)
    given = torch.rand(batch, 3, imgsz, imgsz, device=device)
    model, given = (model.half(), given.half()) if half else (model.float(), given)
    if last:
        model, given = model.to(memory_format=torch.channels_last), given.to(memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model

    def settle() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    with torch.inference_mode():
        for _ in range(3):
            run(given)
        settle()
        done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            run(given)
            settle()
            done += batch
        return round(done / (time.perf_counter() - begin), 1)


def predicting(
    file: Path, images: Any, batch: int, imgsz: int, device: str, place: Path, turns: int, clock: Clock
) -> dict[str, Any]:
    """Return the images a second of da_kd and of ultralytics over files, and the ratio within a turn."""
    from ultralytics import YOLO

    from da_kd.events import Job
    from da_kd.teachers.batches import predict_images
    from da_kd.teachers.ultralytics import UltralyticsTeacher

    listed = place / "list.txt"
    listed.write_text("\n".join(map(str, images.paths)), encoding="utf-8")
    found: dict[str, Any] = {}
    for name, half in (("32 bits", False), ("16 bits", True))[: 1 if device == "cpu" else 2]:
        theirs, more = YOLO(str(file)), {"half": True} if half else {}
        asked = {"batch": batch, "imgsz": imgsz, "conf": FLOOR, "iou": 0.7, "max_det": 300, "device": device, **more}

        def stock(theirs: Any = theirs, asked: dict[str, Any] = asked) -> int:
            results = theirs.predict(str(listed), stream=True, rect=False, verbose=False, **asked)
            return sum(len(result.boxes.data.cpu().numpy()) for result in results)

        with UltralyticsTeacher(file, {"imgsz": imgsz, **more}).open(device, FLOOR, batch) as predictor:

            def ours(predictor: Any = predictor) -> int:
                return len(predict_images(predictor, images, "t", batch, Job(), "t").xyxy)

            found[name] = _turns(name, ours, stock, len(images), turns, clock)
    return found


def _turns(
    name: str, ours: Callable[[], int], stock: Callable[[], int], count: int, turns: int, clock: Clock
) -> dict[str, Any]:
    boxes = {"da_kd": ours() / count, "ultralytics": stock() / count}  # once before the clock starts
    pairs: list[tuple[float, float]] = []
    for turn in range(turns):
        if pairs and not clock.allows(f"turns of predict in {name} from {turn} on", sum(pairs[-1])):
            break
        first, second = (_seconds(work) for work in ((ours, stock) if turn % 2 == 0 else (stock, ours)))
        pairs.append((first, second) if turn % 2 == 0 else (second, first))
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    each = [theirs / own for own, theirs in pairs]
    return {
        "da_kd": round(count / mine, 1),
        "ultralytics": round(count / other, 1),
        "ratio": round(statistics.median(each), 3),
        "lowest": round(min(each), 3),
        "highest": round(max(each), 3),
        "boxes_an_image": {side: round(number, 2) for side, number in boxes.items()},
        "turns": len(pairs),
    }


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def stepping(family: str, place: Path, seconds: float) -> dict[str, float]:
    """Return milliseconds of a training step with the library's loss and with ours, and their ratio."""
    from train_step import measure_loading, measure_steps, scene

    folder = place / family
    folder.mkdir()
    _, batch = measure_loading(scene(folder), 0.5)
    return {name: round(value, 4) for name, value in measure_steps(family, batch, seconds).items()}


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the tables, line by line."""
    setting = figures["setting"]
    yield ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    yield ", ".join(f"{name} {value}" for name, value in setting.items()) + f", files of {SIDE} px"
    yield f"{'':>44}{'images/s':>10}"
    for threads, value in figures["decode"].items():
        yield f"{'decode, threads: ' + threads:>44}{value:>10.1f}"
    for name, value in figures["forward"].items():
        yield f"{'forward, ' + name:>44}{value:>10.1f}"
    for name, row in figures.get("predict", {}).items():
        yield f"{'predict, ' + name:>44}{row['da_kd']:>10.1f}"
        yield f"{'ultralytics, ' + name:>44}{row['ultralytics']:>10.1f}"
        ratio = f"{row['ratio']:.3f} ({row['lowest']:.3f} to {row['highest']:.3f}), {row['turns']} turns"
        yield f"{'predict beside ultralytics':>44}  {ratio}"
        if name in figures["forward"]:
            yield f"{'predict beside the bare forward':>44}  {row['da_kd'] / figures['forward'][name]:.3f}"
    for name, row in figures.get("step", {}).items():
        ratio = f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['pairs']} pairs"
        times = f"{row['stock_ms']:.1f} ms stock, {row['ours_ms']:.1f} ms ours"
        yield f"{'step, ' + name:>44}  {times}, {ratio}"
    yield from (f"left out: {name}" for name in figures["left_out"])
    yield f"{figures['seconds']:.0f} s in all"


def show(figures: dict[str, Any]) -> None:
    """Print the tables."""
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    sys.exit(main())
