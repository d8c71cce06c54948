"""Predicting: throughput beside a bare loop and beside ultralytics' own, and memory at 1,000 and 50,000 images.

    python benchmarks/predict.py [--quick] [--quiet] [--json FILE]

All sides answer for the same rendered files with the same seeded, untrained YOLO11n, at the same batch size and floor,
in one process, in turns; a figure is the median over the turns of the ratio within a turn (above 1: *predict* is
faster). *predict* is the stage itself, its shards written. The bare loop reads and letterboxes a batch, calls the fused
model, runs NMS and scales the boxes back, one thing after the other, and keeps nothing; ``prepared`` is that loop with
all images read and letterboxed before the clock starts, for the reader. Ultralytics' side is ``predict(stream=True)``
over a list of the files. Loading the model is on nobody's clock.

Memory is the peak of a process of its own that scans a folder and predicts it with a tiny YOLO. ``--quick`` ends within
50 seconds: fewer images, as many turns as there is time for, and no memory, so ``rss_growth_mb`` is not in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16
SIDE = 640  # pixels of the files
IMGSZ = 320  # of the model's input; a small one, so that what is not the model weighs more
DRAWN = 48  # distinct pictures; the files are copies of them
FLOOR = 0.02
CANDIDATES = 0.05  # share of its places in an image where the untrained model is set to see something
WANTED = {"bare": ">= 0.95", "ultralytics": ">= 1.00"}  # ratios
TURNS, QUICK_SECONDS = 7, 40  # no turn begins that would end after so long
FEW, MANY = 1_000, 50_000  # images for the memory measurement
FEW_SIDE, FEW_IMGSZ = 96, 64  # pixels of their files, and of their model


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    asked = _arguments()
    if asked.peak:
        print(json.dumps(peak(asked.folder)))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if asked.quick:
            speed = throughput(place, 128, ("predict", *WANTED), TURNS, began + QUICK_SECONDS)
            memory = {}
        else:
            speed = throughput(place, 256, ("predict", *WANTED, "prepared"), TURNS)
            memory = {size: measured_peak(place / f"{size}", size) for size in (FEW, MANY)}
    figures = {f"ratio_{name}": round(speed["ratios"][name][0], 3) for name in WANTED}
    if memory:
        figures["rss_growth_mb"] = round(memory[MANY]["peak_mb"] - memory[FEW]["peak_mb"], 1)
    if not asked.quiet:
        show(speed, memory, figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 seconds")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def draw(folder: Path, count: int, side: int) -> Path:
    """Write so many JPEG files of distinct content, which are ``DRAWN`` rendered pictures; return their folder."""
    from da_kd.demo import render_set

    render_set("lab_b", "all", min(DRAWN, count), 0, folder / "drawn", size=side)
    files = [path.read_bytes() for path in sorted((folder / "drawn" / "images" / "all").iterdir())]
    images = folder / "images"
    images.mkdir()
    for index in range(count):  # bytes after the end of a JPEG are another content with the same pixels
        (images / f"{index:06d}.jpg").write_bytes(files[index % len(files)] + index.to_bytes(4, "big"))
    return images


def weights(path: Path, imgsz: int, images: Path, architecture: str = "yolo11n.yaml") -> Path:
    """Write a seeded, untrained YOLO whose class scores are shifted until ``CANDIDATES`` of its places pass ``FLOOR``.

    Args:
        path: the file to write.
        imgsz: the side of the model's input.
        images: the folder of the files, some of which are counted on.
        architecture: the library's name of the model.
    """
    import torch
    from ultralytics import YOLO

    pixels, _ = _letterboxed([str(path) for path in sorted(images.iterdir())[:8]], imgsz)
    sample = np.ascontiguousarray(pixels[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32) / 255
    torch.manual_seed(0)
    yolo = YOLO(architecture)
    head = yolo.model.model[-1]
    with torch.inference_mode():
        scores = yolo.model.eval()(torch.from_numpy(sample))[0][:, 4:].amax(1)
    wanted = torch.quantile(scores.flatten(), 1 - CANDIDATES)
    shift = torch.logit(torch.tensor(FLOOR)) - torch.logit(wanted)
    with torch.no_grad():
        for branch in head.cv3:
            branch[-1].bias += shift
    yolo.save(str(path))
    return path


def throughput(
    place: Path, count: int, names: tuple[str, ...], turns: int, deadline: float = float("inf")
) -> dict[str, Any]:
    """Return each side's images a second and boxes an image, and the ratios of *predict* to the other sides.

    Args:
        place: a folder to work in.
        count: how many images.
        names: the sides to measure.
        turns: how often each side is measured.
        deadline: by the monotonic clock; no turn begins that would not end before it, except the first.
    """
    from da_kd.data import ImageSet, ScanCache, scan
    from da_kd.detections import table_of
    from da_kd.offline import settle_ultralytics

    folder = draw(place / "speed", count, SIDE)
    keys = sorted(path.name for path in folder.iterdir())
    images = ImageSet(folder, table_of(("x",), scan(folder, keys, ScanCache(None)), {}))
    settle_ultralytics()
    file = weights(place / "model.pt", IMGSZ, folder)
    bare, theirs, ours = Bare(file), Ultralytics(file, place / "list.txt"), Ours(file, images, place / "out")
    sides = {"predict": ours.run, "bare": bare.run, "ultralytics": theirs.run, "prepared": bare.run_prepared}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    boxes: dict[str, int] = {}
    for name in names:
        sides[name](images.paths[:BATCH])  # warm: threads, kernels, memory
    if "prepared" in names:
        bare.prepare(images.paths)
    longest = 0.0
    while len(seconds["predict"]) < turns and (not longest or time.monotonic() + longest < deadline):
        turn = len(seconds["predict"])
        began = time.monotonic()
        for place_in_turn in range(len(names)):
            name = names[(turn + place_in_turn) % len(names)]
            begin = time.perf_counter()
            boxes[name] = sides[name](images.paths)
            seconds[name].append(time.perf_counter() - begin)
        longest = max(longest, time.monotonic() - began)
    boxes["predict"] = ours.boxes()
    ours.close()
    return {
        "ratios": {name: _ratio(seconds[name], seconds["predict"]) for name in names if name != "predict"},
        "rates": {name: count / statistics.median(taken) for name, taken in seconds.items()},
        "boxes": {name: found / count for name, found in boxes.items()},
        "images": count,
        "turns": len(seconds["predict"]),
    }


def _ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Return the median, the lowest and the highest of the ratios within a turn."""
    each = [other / own for other, own in zip(theirs, ours, strict=True)]
    return statistics.median(each), min(each), max(each)


def device() -> str:
    """Return where models run."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


class Ours:
    """*predict* with a teacher that is open already."""

    def __init__(self, file: Path, images: Any, out: Path) -> None:
        from da_kd.teachers.ultralytics import UltralyticsTeacher

        self.images, self.out, self.runs = images, out, 0
        self._stack = ExitStack()
        teacher = UltralyticsTeacher(file, {"imgsz": IMGSZ})
        self._predictor = self._stack.enter_context(teacher.open(device(), FLOOR, BATCH))
        self.close = self._stack.close

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[Any]:
        """Hand out the loaded model; see :class:`~da_kd.teachers.Teacher`."""
        yield self._predictor

    def run(self, paths: Sequence[Path]) -> int:
        """Run the stage on the first images into a new folder; the boxes are counted in it later."""
        from da_kd.events import Job
        from da_kd.recipe import Predict
        from da_kd.stages import predict

        images = self.images.take(range(len(paths)))
        self.runs += 1
        out = self.out / str(self.runs)
        out.mkdir(parents=True)
        predict.run("ours", self, Predict(floor=FLOOR, batch=BATCH), images, device(), out, Job())
        return 0

    def boxes(self) -> int:
        """Return the number of boxes of the last run."""
        from da_kd.stages.predict import read_predictions

        return len(read_predictions(self.out / str(self.runs)).xyxy)


class Bare:
    """The loop one would write by hand."""

    def __init__(self, file: Path) -> None:
        import torch
        from ultralytics.nn.autobackend import AutoBackend  # fuses, and lays the weights out as the library does

        self.model = AutoBackend(str(file), device=torch.device(device()), verbose=False).eval()
        self._prepared: list[tuple[np.ndarray, list[tuple[int, ...]]]] = []

    def _batches(self, paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, list[tuple[int, ...]]]]:
        for start in range(0, len(paths), BATCH):
            yield _letterboxed([str(path) for path in paths[start : start + BATCH]])

    def run(self, paths: Sequence[Path]) -> int:
        """Read, letterbox, predict; return the number of boxes."""
        return sum(self._answer(*batch) for batch in self._batches(paths))

    def prepare(self, paths: Sequence[Path]) -> None:
        """Read and letterbox what :meth:`run_prepared` predicts."""
        self._prepared = list(self._batches(paths))

    def run_prepared(self, paths: Sequence[Path]) -> int:
        """Predict images that were read and letterboxed before; return the number of boxes."""
        return sum(self._answer(*batch) for batch in self._prepared)

    def _answer(self, pixels: np.ndarray, shapes: list[tuple[int, ...]]) -> int:
        import torch
        from ultralytics.utils.nms import non_max_suppression
        from ultralytics.utils.ops import scale_boxes

        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device()).permute(0, 3, 1, 2).flip(1).contiguous().float().div_(255)
            found = non_max_suppression(self.model(batch), FLOOR, 0.7, max_det=300)
            kept = 0
            for boxes, shape in zip(found, shapes, strict=True):
                boxes[:, :4] = scale_boxes(batch.shape[2:], boxes[:, :4], shape)
                kept += len(boxes.cpu().numpy())
        return kept


class Ultralytics:
    """The library's own way to predict files without keeping everything: it reads a list of them batch by batch."""

    def __init__(self, file: Path, names: Path) -> None:
        from ultralytics import YOLO

        self.model, self.names = YOLO(str(file)), names

    def run(self, paths: Sequence[Path]) -> int:
        """Predict the files; return the number of boxes."""
        self.names.write_text("\n".join(map(str, paths)), encoding="utf-8")
        asked = {"batch": BATCH, "imgsz": IMGSZ, "conf": FLOOR, "iou": 0.7, "max_det": 300, "device": device()}
        results = self.model.predict(str(self.names), stream=True, rect=False, verbose=False, **asked)
        return sum(len(result.boxes.data.cpu().numpy()) for result in results)


def _letterboxed(paths: list[str], imgsz: int = IMGSZ) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Return (I, imgsz, imgsz, 3) BGR pixels and the shapes of the files."""
    import cv2
    from ultralytics.data.augment import LetterBox

    read = [cv2.imread(path) for path in paths]
    scale = LetterBox((imgsz, imgsz), auto=False)
    return np.stack([scale(image=pixels) for pixels in read]), [pixels.shape for pixels in read]


def _peak_mb() -> float:
    """Return the most memory this process had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024**2 if sys.platform == "darwin" else 1024)


def measured_peak(place: Path, count: int) -> dict[str, float]:
    """Return the megabytes and seconds of a process of its own that takes a recipe through *predict*."""
    place.mkdir()
    draw(place, count, FEW_SIDE)
    command = [sys.executable, __file__, "--peak", "--folder", str(place)]
    begin = time.perf_counter()
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    return {**json.loads(told.stdout.splitlines()[-1]), "seconds": time.perf_counter() - begin}


def peak(place: Path) -> dict[str, float]:
    """Return the peak of this process over a run until *predict*, and how much of it was there before."""
    import da_kd
    from da_kd.offline import settle_ultralytics
    from da_kd.recipe import parse_recipe

    settle_ultralytics()
    file = weights(place / "tiny.pt", FEW_IMGSZ, place / "images")
    tree = {
        "schema": 1,
        "name": "memory",
        "classes": ["x"],
        "data": {"root": str(place), "target": {"path": "images"}},
        "teachers": [{"name": "tiny", "weights": str(file), "options": {"imgsz": FEW_IMGSZ}, "classes": {}}],
        "predict": {"floor": FLOOR, "batch": BATCH},
    }
    before = _peak_mb()
    da_kd.run(parse_recipe(tree, (), place), place / "runs" / "memory", until="predict")
    return {"before_mb": before, "peak_mb": _peak_mb()}


def show(speed: dict[str, Any], memory: dict[int, dict[str, float]], figures: dict[str, float]) -> None:
    """Print the machine and the two tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(machine())
    title = f"{speed['images']} files of {SIDE} px, YOLO11n at {IMGSZ} px, batches of {BATCH}"
    table = Table(title=f"{title}; medians of {speed['turns']} turns")
    for column in ("side", "images a second", "boxes an image", "ratio", "lowest", "highest", "wanted"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, rate in speed["rates"].items():
        ratio = [f"{value:.3f}" for value in speed["ratios"].get(name, ())]
        table.add_row(name, f"{rate:.1f}", f"{speed['boxes'][name]:.1f}", *(ratio or [""] * 3), WANTED.get(name, ""))
    console.print(table)
    if not memory:
        console.print(f"memory at {FEW:,} and {MANY:,} images: not measured, it takes the full run")
        return
    table = Table(title=f"peak memory of a run until predict, files of {FEW_SIDE} px, YOLO11n at {FEW_IMGSZ} px")
    for column in ("images", "MB before", "MB at the peak", "seconds"):
        table.add_column(column, justify="right")
    for count, told in memory.items():
        table.add_row(f"{count:,}", f"{told['before_mb']:.0f}", f"{told['peak_mb']:.0f}", f"{told['seconds']:.0f}")
    console.print(table)
    console.print(f"growth from {FEW:,} to {MANY:,} images: {figures['rss_growth_mb']:.0f} MB (at most 100 wanted)")


def machine() -> str:
    """Return what this was measured on."""
    import torch
    import ultralytics

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.machine()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), {gpu}; "
        f"Python {platform.python_version()}, torch {torch.__version__} with {torch.get_num_threads()} threads, "
        f"ultralytics {ultralytics.__version__}"
    )


if __name__ == "__main__":
    sys.exit(main())
