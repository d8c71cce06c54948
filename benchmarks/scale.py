"""Growth: seconds and peak memory of every stage that sees all images, at 1,000, 10,000 and 100,000 images.

    python benchmarks/scale.py [--quick | --full] [--only STAGE ...] [--json FILE]

Every stage runs at every size in a process of its own, on what the stage before it left: small JPEG files are drawn,
*scan* reads and hashes them, *predict* shows them to two teachers, *fuse* merges what they said, *review* puts the
labels into FiftyOne as for a person (queue and near-duplicates included), *evaluate* scores a model on all of them, and
*report* writes the page. A teacher decodes every image and answers with boxes that the image's name decides, since a
model would only cost time. What a process needs before its stage begins (imports, reading its inputs) is on nobody's
clock, and counts as memory. Seconds are those of the processors, the database's included, whatever else the machine
does; those of the clock stand in the JSON.

The exponent is the slope of log seconds over log images, from the second size on where there are three, since what a
stage does once weighs on the smallest. Memory is what the peak grows by for each image, from the smallest size to the
largest. ``--quick`` takes 500 and 2,000 images, the default 1,000 and 10,000, ``--full`` 100,000 as well (half an
hour on two cores).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"quick": (500, 2_000), "default": (1_000, 10_000), "full": (1_000, 10_000, 100_000)}
SIDE, BOXES = 64, 10  # pixels of an image, objects in it
CLASSES = ("red", "white", "plate")
TEACHERS = ("a", "b")
STEEPEST = 1.1  # exponent of the seconds
FLAT, LINEAR = 1.0, 32.0  # KB an image: names, hashes and sizes of images alone; all the boxes of a set at once
FLAT_STAGES = ("predict", "fuse")


def main() -> int:
    """Measure, print a table, and write the figures where asked; 1 where a stage grows faster than it may."""
    asked = _arguments()
    if asked.stage:
        print(json.dumps(measured(asked.stage, asked.place, asked.images)))
        return 0
    sizes = SIZES["quick" if asked.quick else "full" if asked.full else "default"]
    wanted = [name for name in STAGES if not asked.only or name in asked.only]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in STAGES}
    with tempfile.TemporaryDirectory() as place:
        for images in sizes:
            folder = Path(place) / str(images)
            folder.mkdir()
            for name in STAGES[: 1 + max(STAGES.index(name) for name in wanted)]:
                found[name].append(_child(name, folder, images))
    rows = {name: judged(name, sizes, found[name]) for name in wanted}
    show(sizes, found, rows)
    if asked.json:
        asked.json.write_text(json.dumps({"sizes": sizes, "stages": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for row in rows.values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="500 and 2,000 images")
    parser.add_argument("--full", action="store_true", help="100,000 images as well")
    parser.add_argument("--only", nargs="+", choices=STAGES, help="the stages wanted, and those they stand on")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(name: str, folder: Path, images: int) -> dict[str, float]:
    """Return the seconds and megabytes of a stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, "--place", str(folder), "--images", str(images)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    print(f"{images:>9,} {name:>9}: {figures['seconds']:8.2f} s {figures['peak_mb']:7.0f} MB", flush=True)
    return figures


def measured(name: str, place: Path, images: int) -> dict[str, float]:
    """Run a stage; return its seconds and the most memory that this process had, in MB."""
    with globals()[f"_{name}"](place, images) as work:
        begin, spent = time.perf_counter(), _processors()
        work()
        clock, seconds = time.perf_counter() - begin, _processors() - spent
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "clock": clock, "peak_mb": most / (1024**2 if sys.platform == "darwin" else 1024)}


def _processors() -> float:
    """Return the seconds that this process, and the children it waited for, had of the processors."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def judged(name: str, sizes: Sequence[int], found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return how a stage's seconds and memory grow, and whether that is within bounds."""
    seconds = [each["seconds"] for each in found]
    first = -2 if len(sizes) > 2 else 0
    exponent = math.log(seconds[-1] / seconds[first]) / math.log(sizes[-1] / sizes[first])
    growth = (found[-1]["peak_mb"] - found[0]["peak_mb"]) * 1024 / (sizes[-1] - sizes[0])
    most = FLAT if name in FLAT_STAGES else LINEAR
    passed = exponent <= STEEPEST and growth <= most
    peak = [round(each["peak_mb"], 1) for each in found]
    clock = [round(each["clock"], 3) for each in found]
    told = {"seconds": [round(each, 3) for each in seconds], "clock": clock, "peak_mb": peak}
    return {
        **told,
        "exponent": round(exponent, 3),
        "kb_an_image": round(growth, 2),
        "kb_wanted": most,
        "passed": passed,
    }


def show(sizes: Sequence[int], found: Mapping[str, Sequence[Mapping[str, float]]], rows: Mapping[str, Any]) -> None:
    """Print the table."""
    print(f"\n{'stage':>9}" + "".join(f"{f'{size:,}':>20}" for size in sizes) + f"{'exponent':>10}{'KB an image':>18}")
    for name, row in rows.items():
        cells = "".join(f"{each['seconds']:>10.2f} s{each['peak_mb']:>5.0f} MB" for each in found[name])
        wanted = f"(<= {row['kb_wanted']:.0f})"
        mark = "" if row["passed"] else "  too much"
        print(f"{name:>9}{cells}{row['exponent']:>10.2f}{row['kb_an_image']:>10.2f} {wanted:>7}{mark}")


class Seeded:
    """A teacher whose boxes are decided by an image's name; see :class:`~da_kd.teachers.Teacher`.

    Args:
        number: another number, another teacher: its boxes lie near the same objects.
    """

    by_name = True
    classes = CLASSES

    def __init__(self, number: int) -> None:
        self.number = number

    @contextmanager
    def open(self, device: str, floor: float, batch: int) -> Iterator[Seeded]:
        """Load nothing."""
        yield self

    def predict(self, batch: Sequence[Any]) -> list[Any]:
        """Return boxes near the objects, most of them with a high score."""
        return [self.about(image.key) for image in batch]

    def about(self, key: str) -> Any:
        """Return what is said of an image: the very objects where the number is 0."""
        from da_kd.detections import Detections

        seed = zlib.crc32(key.encode())
        corner, side, label = _objects(seed)
        random = np.random.default_rng((seed, self.number))
        if self.number:
            corner = corner + random.normal(0, 1, corner.shape)
        score = random.beta(4, 2, BOXES) if self.number else np.ones(BOXES)
        xyxy = np.concatenate([corner, corner + side], axis=1).clip(0, SIDE)
        return Detections(CLASSES, xyxy.astype(np.float32), score.astype(np.float32), label)


def _objects(seed: int) -> tuple[Any, Any, Any]:
    """Return the corners, sides and classes of an image's objects."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, SIDE - 16, (BOXES, 2))
    return corner, random.uniform(4, 14, (BOXES, 2)), random.integers(0, len(CLASSES), BOXES).astype(np.int32)


def _images(place: Path) -> Any:
    from da_kd.data import ImageSet, ScanCache, scan
    from da_kd.detections import table_of

    folder = place / "images"
    keys = sorted(path.name for path in folder.iterdir())
    return ImageSet(folder, table_of(CLASSES, scan(folder, keys, ScanCache(place / "scan.sqlite")), {}))


def _truth(place: Path) -> Any:
    """Return the images with their objects, taken from what *predict* read of them."""
    from da_kd.data import ImageSet
    from da_kd.detections import read_table

    return ImageSet(place / "images", read_table(place / "truth.parquet"))


@contextmanager
def _scan(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    """Draw the images, each another one."""
    from PIL import Image

    (place / "images").mkdir()
    for number in range(images):
        coarse = np.random.default_rng(number).integers(0, 255, (9, 9, 3), np.uint8)
        small = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        small.save(place / "images" / f"{number:08}.jpg", quality=80)
    yield lambda: _images(place)


@contextmanager
def _predict(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    from da_kd.events import Job
    from da_kd.recipe import Predict
    from da_kd.stages import predict

    there = _images(place)

    def work() -> None:
        for number, name in enumerate(TEACHERS, 1):
            (place / name).mkdir()
            predict.run(name, Seeded(number), Predict(), there, "cpu", place / name, Job())

    yield work


@contextmanager
def _fuse(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    from da_kd.events import Job
    from da_kd.recipe import Fuse, Teacher
    from da_kd.stages import fuse
    from da_kd.stages.predict import StoredPredictions

    def work() -> None:
        said = {name: StoredPredictions(place / name) for name in TEACHERS}
        fuse.run([Teacher(name=name, weights="-") for name in TEACHERS], said, Fuse(), CLASSES, place, Job())

    yield work


@contextmanager
def _review(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    from da_kd.detections import read_table
    from da_kd.events import Job
    from da_kd.stages.review import ReviewInput, open_for_person

    given = ReviewInput(place / "images", read_table(place / "labels.parquet"), "scale", "1")
    yield lambda: open_for_person(given, place, Job())


@contextmanager
def _evaluate(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    from da_kd.data import ImageSet
    from da_kd.detections import ImageRecord, read_table, table_of
    from da_kd.events import Job
    from da_kd.recipe import Evaluate
    from da_kd.stages import evaluate

    labels = read_table(place / "labels.parquet")
    records = [ImageRecord(key, sha, SIDE, SIDE) for key, sha in zip(labels.key, labels.sha, strict=True)]
    truth = table_of(CLASSES, records, {key: Seeded(0).about(key) for key in labels.key})
    truth.write(place / "truth.parquet")
    test, out = ImageSet(place / "images", truth), place / "student"
    out.mkdir()
    yield lambda: evaluate.run("student", Seeded(3), {}, test, Evaluate(), device="cpu", out=out, job=Job())


@contextmanager
def _report(place: Path, images: int) -> Iterator[Callable[[], Any]]:
    from da_kd.detections import read_table
    from da_kd.events import Job
    from da_kd.stages.report import ReportFacts, write_report

    figures = json.loads((place / "student" / "metrics.json").read_text(encoding="utf-8"))

    def work() -> None:
        test = _truth(place)
        rows = ("source_only", "teacher:a", "student", "oracle")
        facts = ReportFacts(
            "scale",
            "python benchmarks/scale.py",
            metrics={"models": dict.fromkeys(rows, figures), "classes": CLASSES},
            pseudo=read_table(place / "labels.parquet"),
            label_truth=test.table,
            keep=dict.fromkeys(CLASSES, 0.5),
            drop=dict.fromkeys(CLASSES, 0.1),
            truth=test.table,
            test_root=test.root,
            predictions={row: read_table(place / "student" / "predictions.parquet") for row in rows},
        )
        write_report(facts, place / "report", Job())

    yield work


STAGES = ("scan", "predict", "fuse", "review", "evaluate", "report")


if __name__ == "__main__":
    sys.exit(main())
