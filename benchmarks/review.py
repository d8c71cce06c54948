"""Opening a review: how long 10,000 images with 10 boxes take, and how much faster than object by object.

    python benchmarks/review.py [--quick] [--quiet] [--json FILE]
    python benchmarks/review.py --choose IMAGES

``seconds_10k`` is what a person waits: from starting the program on an empty workspace until the FiftyOne App hands out
the page of the data set (FiftyOne's import, the start of database and server, and decoding every image for the queue
included). ``ratio_naive`` compares putting the same table into FiftyOne, by da_kd and object by object
(``fo.Detection``, ``add_samples``), in one process and in turns; a figure is the median of the turns. Both sides store
the same figures of a box, and the snapshot. The object-by-object side gets fewer images (it costs the same an image).
``--quick`` opens 1,000 images and marks ``seconds_10k`` as extrapolated: the others take as long as these do for the
import and the queue, both measured by themselves. ``--choose`` instead tells seconds and peak memory of choosing the
10,000 images that come in first from a table of so many, without opening images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, BOXES = 10_000, 10
CLASSES = tuple(f"class {number}" for number in range(10))
NAIVE = 250  # images a turn, on the slow side
TURNS = 3


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    asked = _arguments()
    if asked.open:
        return _open(asked.open, asked.images, asked.port)
    if asked.choose:
        return _choose(asked.choose)
    say = (lambda *_: None) if asked.quiet else print
    ours, naive = compare(1 if asked.quick else TURNS, 1000 if asked.quick else 2000)
    ratio = naive / ours
    say(f"{'':>24} {'object by object':>17} {'da_kd':>10} {'ratio':>7}")
    say(f"{'import, 1,000 images':>24} {naive * 1e3:15.2f} s {ours * 1e3:8.2f} s {ratio:7.1f}")
    figures: dict[str, Any] = {"ratio_naive": round(ratio, 2)}
    if asked.quick:
        seconds = opening(1000) + (ours + queueing(500)) * (IMAGES - 1000)
        figures |= {"seconds_10k": round(seconds, 1), "extrapolated": ["seconds_10k"]}
        say(f"{IMAGES:,} images are in and open after {seconds:.1f} s (extrapolated)")
    else:
        seconds = opening(IMAGES)
        figures["seconds_10k"] = round(seconds, 1)
        say(f"{IMAGES:,} images are in and open after {seconds:.1f} s")
        say(f"object by object, the import alone would take {naive * IMAGES:.0f} s (extrapolated from {NAIVE} images)")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 seconds")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--choose", type=int, help="only choose 10,000 of so many images")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=IMAGES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def labels(images: int) -> Any:
    """Return a table of so many images with 10 boxes each, from two teachers."""
    from da_kd.detections import DetectionTable

    random, count = np.random.default_rng(0), images * BOXES
    corner = random.uniform(0, 500, (count, 2))
    said = random.uniform(0.1, 1, (count, 2)).astype(np.float32)
    said[random.uniform(size=count) < 0.2, 1] = np.nan
    return DetectionTable(
        vocabulary=CLASSES,
        key=tuple(f"folder/{number:08}.jpg" for number in range(images)),
        sha=tuple(f"{number:064x}" for number in range(images)),
        size=np.full((images, 2), 640, np.int32),
        reason=("",) * images,
        searched=np.ones((images, len(CLASSES)), bool),
        offsets=np.arange(images + 1, dtype=np.int64) * BOXES,
        xyxy=np.concatenate([corner, corner + random.uniform(5, 120, (count, 2))], axis=1).astype(np.float32),
        score=np.nanmean(said, axis=1).astype(np.float32),
        label=random.integers(0, len(CLASSES), count).astype(np.int32),
        state=random.integers(0, 2, count).astype(np.int8),
        agreement=random.uniform(0, 1, count).astype(np.float32),
        protected=np.zeros(count, bool),
        teachers=("a", "b"),
        teacher_score=said,
    )


def _given(folder: Path, images: int) -> Any:
    from da_kd.stages.review import ReviewInput

    return ReviewInput(folder, labels(images), f"review-{images}", f"print of {images}")


def compare(turns: int, images: int) -> tuple[float, float]:
    """Return the seconds an image that da_kd's import takes, and the one object by object."""
    from da_kd.events import Job
    from da_kd.stages.review import dataset as datasets
    from da_kd.stages.review.room import open_room

    ours, naive = [], []
    with tempfile.TemporaryDirectory() as place, open_room(Path(place), Job()) as fo:
        fo.Dataset("warm").add_sample(fo.Sample("/none.jpg"))
        for turn in range(turns):
            few, many = labels(NAIVE), labels(images)
            naive.append(_timed(lambda few=few, turn=turn: _naive(fo, f"naive-{turn}", few)) / NAIVE)
            seconds = _timed(
                lambda many=many, turn=turn: datasets.import_table(
                    fo, f"ours-{turn}", many, Path(place), Job(), fingerprint=str(turn)
                )
            )
            ours.append(seconds / images)
    return statistics.median(ours), statistics.median(naive)


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _naive(fo: Any, name: str, table: Any) -> None:
    """Store a table as FiftyOne's introduction does: an object a box, an object an image."""
    dataset = fo.Dataset(name)
    samples = []
    for index, key in enumerate(table.key):
        rows = range(*table.offsets[index : index + 2])
        sample = fo.Sample(f"/{key}", metadata=fo.ImageMetadata(width=640, height=640))
        sample["sha"] = table.sha[index]
        sample["labels"] = fo.Detections(detections=[_detection(fo, table, row) for row in rows])
        sample["snapshot"] = fo.Detections(detections=[_detection(fo, table, row, full=False) for row in rows])
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    dataset.add_dynamic_sample_fields()


def _detection(fo: Any, table: Any, row: int, *, full: bool = True) -> Any:
    x1, y1, x2, y2 = (float(value) / 640 for value in table.xyxy[row])
    figures = {
        "agreement": float(table.agreement[row]),
        "protected": False,
        "round": 1,
        "score_a": float(table.teacher_score[row, 0]),
        "score_b": float(np.nan_to_num(table.teacher_score[row, 1])),
    }
    return fo.Detection(
        label=table.vocabulary[table.label[row]],
        bounding_box=[x1, y1, x2 - x1, y2 - y1],
        confidence=float(table.score[row]),
        state="kept" if table.state[row] == 0 else "uncertain",
        **(figures if full else {"of": "0" * 24, "xyxy": table.xyxy[row].tolist(), "shown": True}),
    )


def queueing(images: int) -> float:
    """Return the seconds an image that hashing it and finding its place in the queue take."""
    from da_kd.data.imageset import ImageSet
    from da_kd.data.similar import image_hashes
    from da_kd.events import Job
    from da_kd.stages.review.queue import build_queue

    with tempfile.TemporaryDirectory() as place:
        _pictures(Path(place) / "folder", images)
        table = labels(images)
        return _timed(lambda: build_queue(table, image_hashes(ImageSet(Path(place), table), Job()))) / images


def _choose(images: int) -> int:
    """Tell what it costs to choose the first images of a large set; their hashes are random numbers here."""
    import resource

    from da_kd.stages.review.choice import Standing, choose
    from da_kd.stages.review.queue import weigh

    table, random = labels(images), np.random.default_rng(0)
    hashes, none = random.integers(0, 2**64, images, np.uint64), np.zeros(images, bool)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, spent = time.perf_counter(), time.process_time()
    standing = Standing.of(table, [], none)
    choice = choose(weigh(table), standing, IMAGES, lambda rows: hashes[rows])
    seconds, spent = time.perf_counter() - begin, time.process_time() - spent
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{len(choice.new):,} of {images:,} images are chosen in {seconds:.1f} s ({spent:.1f} s of a processor);")
    print(f"{int(choice.compared.sum()):,} would be opened; {more:.0f} MB more than the table")
    return 0


def opening(images: int) -> float:
    """Return the seconds from starting a program on an empty workspace until the App hands out the data set's page."""
    from da_kd.stages.review import mongod

    port = mongod.free_port()
    with tempfile.TemporaryDirectory() as place:
        _pictures(Path(place) / "folder", images)
        begin = time.perf_counter()
        command = [sys.executable, __file__, "--open", place, "--images", str(images), "--port", str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
            while not _answers(f"http://127.0.0.1:{port}/datasets/review-{images}"):
                if child.poll() is not None:
                    sys.exit("The review ended before it was open.")
                time.sleep(0.1)
            seconds = time.perf_counter() - begin
            child.communicate(b"\n")
    return seconds


def _pictures(folder: Path, images: int) -> None:
    """Lay out the images: links to 100 different JPEG files of 640 x 640."""
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(images):
        path = folder / f"{number:08}.jpg"
        if number < 100:
            small = Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8))
            small.resize((640, 640)).save(path, quality=85)
        else:
            path.hardlink_to(folder / f"{number % 100:08}.jpg")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own address
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _open(place: Path, images: int, port: int) -> int:
    """Open a review until a line comes in; the program that is measured."""
    import select

    from da_kd.errors import Cancelled
    from da_kd.events import Job
    from da_kd.stages.review import launch_app

    def told() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    try:
        launch_app(_given(place, images), place, port, Job(cancelled=told))
    except Cancelled:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
