"""The browser app: from the command to a page that can be used, a moved threshold, and a comparison of 1,000 images.

    python benchmarks/app.py [--quick] [--quiet] [--json FILE]

A project with a finished run is made (photo-like images, 640 x 480, about eight boxes each, two teachers), the app is
started over it as a person would, and a real Chromium looks at it. ``start_s`` is the time from the command until the
first page can be used, ``answer_s`` until the server answers at all. ``preview_ms`` is what a person waits after a
threshold was moved by a key until counts and pictures have changed, the median of all moves (``preview_worst_ms`` the
longest); ``handler_ms`` is the part of it that the server needs, asked without a browser. ``merge_ms`` is the same for
another merging, which fuses anew. ``compare_s`` is the time from opening the page until the first pair of pictures
stands, which counts every image; ``turn_ms`` and ``leaf_ms`` are the next image and the next page of small ones.
``stop_s``: a run that trains was started by an app that was killed since; how long a fresh app takes to stop it, from
the click until the page says so and the process is gone. ``load`` is the machine's while it was measured: figures of a
busy machine are not those of one at rest. ``--quick`` moves fewer times.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
IMAGES, LABELLED, BOXES = 120, 1000, 8
CLASSES = ("car", "person", "bicycle")
TEACHERS = ("a", "b")
CHROMIUM = Path("/usr/bin/chromium")
RECIPE = """\
schema: 1
name: bench
classes: [car, person, bicycle]
data: {root: .., target: {path: target}, test: {path: test.json, images: test}}
teachers: [{name: a, weights: ../a.json, kind: coco_file}, {name: b, weights: ../b.json, kind: coco_file}]
fuse: {keep: 0.5, drop: 0.1}
student: {model: yolo11n.yaml}
distill: {epochs: 1}
evaluate: {}
"""


WORK = """\
schema: 1
name: work
classes: [RBC, WBC, Platelets]
device: cpu
data: {source: {render: lab_a, split: train, count: 16}, target: {render: lab_b, split: train, count: 8}}
teachers: [{name: a, architecture: {model: yolo11n.yaml, width: 0.125, imgsz: 128}}]
teach: {epochs: 5000, batch: 8}
student: {model: yolo11n.yaml, width: 0.125, imgsz: 128}
distill: {epochs: 1}
"""


def main() -> int:
    """Measure, print a table, and write the figures where asked."""
    asked = _arguments()
    say = (lambda *_: None) if asked.quiet else print
    moves = 8 if asked.quick else 30
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_project(folder)
        figures = {**measure(folder, moves), **measure_stop(folder), "load": round(os.getloadavg()[0], 1)}
    for name, value in figures.items():
        say(f"{name:>18} {value:>8}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within about a minute")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def make_project(folder: Path) -> None:
    """Write images, a recipe and a finished run, as a person's project looks after *evaluate*."""
    from da_kd.detections import DetectionTable
    from da_kd.events import Job
    from da_kd.pipeline import Run, RunState, load_inputs
    from da_kd.recipe import dump_recipe, load_recipe
    from da_kd.store import Store

    random = np.random.default_rng(0)
    _draw_images(folder / "target", IMAGES, random)
    _draw_images(folder / "test", LABELLED, random)
    _write_labels(folder / "test.json", folder / "test", random)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "bench.yaml").write_text(RECIPE, encoding="utf-8")
    recipe, workspace = load_recipe(folder / "recipes" / "bench.yaml"), folder / "runs"
    sets = load_inputs(recipe, Store(workspace), Job()).sets
    target: DetectionTable = sets["target"].table
    steps: dict[str, dict[str, Any]] = {}

    def put(step: str, stage: str, tables: dict[str, DetectionTable]) -> None:
        place = workspace / "store" / stage / step.replace(":", "-")
        for name, table in tables.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            table.write(place / name)
        (place / "metrics.json").write_text("{}", encoding="utf-8")
        (place / "output.json").write_text("{}", encoding="utf-8")
        steps[step] = {"stage": stage, "fingerprint": place.name, "made": {}}

    for name in TEACHERS:
        put(f"predict:{name}", "predict", {"shards/00000.parquet": _said(target, random, 20)})
    put("fuse", "fuse", {"labels.parquet": _said(target, random, 14)})
    for row in ("source_only", "student"):
        put(f"evaluate:{row}", "evaluate", {"predictions.parquet": _said(sets["test"].table, random, 2 * BOXES)})
    run = Run(workspace / "bench")
    run.folder.mkdir(parents=True)
    (run.folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    run.save(RunState("done", "report", "", started=time.time() - 60, ended=time.time(), steps=steps))


def _draw_images(folder: Path, count: int, random: np.random.Generator) -> None:
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (24, 32, 3), np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number:05}.jpg", quality=90)


def _boxes(random: np.random.Generator, count: int) -> Any:
    corner = random.uniform(0, (560, 400), (count, 2))
    return np.concatenate([corner, corner + random.uniform(15, 80, (count, 2))], axis=1)


def _write_labels(path: Path, folder: Path, random: np.random.Generator) -> None:
    names = sorted(file.name for file in folder.iterdir())
    images = [{"id": i, "file_name": name, "width": 640, "height": 480} for i, name in enumerate(names, 1)]
    rows = [(image["id"], box) for image in images for box in _boxes(random, BOXES).tolist()]
    labels = [
        {
            "id": number,
            "image_id": image,
            "category_id": 1 + number % len(CLASSES),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for number, (image, (x1, y1, x2, y2)) in enumerate(rows, 1)
    ]
    known = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    path.write_text(json.dumps({"images": images, "annotations": labels, "categories": known}), encoding="utf-8")


def _said(table: Any, random: np.random.Generator, most: int) -> Any:
    """Return what a model may have said of images: their objects, a little off, and others."""
    from da_kd.detections import Detections, ImageRecord, table_of

    found, records = {}, []
    for index, key in enumerate(table.key):
        true = table.at(index).xyxy
        boxes = np.concatenate([true + random.normal(0, 3, true.shape), _boxes(random, most - len(true))])
        score, label = random.uniform(0.02, 1, len(boxes)), random.integers(0, len(CLASSES), len(boxes))
        found[key] = Detections(CLASSES, boxes.clip(0, (640, 480, 640, 480)), score, label)
        records.append(ImageRecord(key, table.sha[index], 640, 480))
    state = {key: np.digitize(-item.score, (-0.5, -0.1)) for key, item in found.items()}
    return table_of(CLASSES, records, found, state=state, teachers=("a",))


def measure(folder: Path, moves: int) -> dict[str, float]:
    """Start the app in a folder and return what a person waits for, in seconds and milliseconds."""
    with _browser() as page:
        begin = time.perf_counter()
        app, port = _start(folder)
        try:
            answered = _answering(f"http://127.0.0.1:{port}", begin)
            page.goto(f"http://127.0.0.1:{port}")
            page.locator("#verdict", has_text="The recipe is fine").wait_for()
            started = time.perf_counter() - begin
            found = {"start_s": round(started, 1), "answer_s": round(answered, 1)}
            page.locator("#runs", has_text="bench").wait_for()
            return {**found, **_labels(page, moves), **_handlers(port, moves), **_compare(page, moves)}
        finally:
            app.kill()
            app.wait()


def measure_stop(folder: Path) -> dict[str, float]:
    """Start a training through an app that is killed, and return how long a fresh app takes to stop it, in seconds."""
    from da_kd.pipeline import Run

    (folder / "recipes" / "bench.yaml").unlink()
    (folder / "recipes" / "work.yaml").write_text(WORK, encoding="utf-8")
    run = Run(folder / "runs" / "work")
    with _browser() as page:
        app, port = _start(folder)
        try:
            _answering(f"http://127.0.0.1:{port}", 0.0)
            page.goto(f"http://127.0.0.1:{port}")
            page.locator("#verdict", has_text="The recipe is fine").wait_for()
            page.locator("#begin").click()
            page.locator("#standing", has_text="epochs").wait_for()
            app.kill()
            app.wait()
            app, port = _start(folder)
            _answering(f"http://127.0.0.1:{port}", 0.0)
            page.goto(f"http://127.0.0.1:{port}/?run=work")
            page.locator("#standing", has_text="epochs").wait_for()
            begin = time.perf_counter()
            page.locator("#stop").click()
            page.locator("#stopped", has_text="is stopped").wait_for()
            while run.pid() is not None:
                time.sleep(0.02)
            return {"stop_s": round(time.perf_counter() - begin, 1)}
        finally:
            run.stop(0.0)
            app.kill()
            app.wait()


@contextmanager
def _browser() -> Iterator[Any]:
    """Yield a page of a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(300_000)
        yield page
        browser.close()


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the app as a person would; return its process and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL), port


def _answering(url: str, begin: float) -> float:
    while True:
        try:
            urllib.request.urlopen(url, timeout=60).close()  # noqa: S310
        except OSError:
            time.sleep(0.05)
        else:
            return time.perf_counter() - begin


def _labels(page: Any, moves: int) -> dict[str, float]:
    _open(page, "Labels")
    page.locator("#label-pictures img").nth(5).wait_for()
    page.wait_for_timeout(1500)
    slider = page.locator("#keep input[type='range']")
    slider.focus()
    moved = [
        _waited(page, ("#label-counts", "#label-pictures"), lambda: slider.press("ArrowRight")) for _ in range(moves)
    ]
    return {"preview_ms": round(statistics.median(moved)), "preview_worst_ms": round(max(moved))}


def _handlers(port: int, moves: int) -> dict[str, float]:
    """Ask the handlers of the labels without a browser, as the page does: first for all of it, then for a threshold."""
    url = f"http://127.0.0.1:{port}"
    config = json.load(urllib.request.urlopen(f"{url}/config"))  # noqa: S310

    def handler(name: str, value: str, event: str) -> int:
        component = next(item["id"] for item in config["components"] if item["props"].get(name) == value)
        return next(item["id"] for item in config["dependencies"] if [component, event] in item["targets"])

    def ask(index: int, given: list[Any]) -> float:
        begin = time.perf_counter()
        body = json.dumps({"data": given, "fn_index": index, "session_hash": "bench"}).encode()
        kind = {"content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/gradio_api/queue/join", body, kind)).close()  # noqa: S310
        said = urllib.request.urlopen(f"{url}/gradio_api/queue/data?session_hash=bench").read()  # noqa: S310
        if b'"success":true' not in said or b"<img" not in said:
            raise RuntimeError(f"A handler of the labels failed: {said[:500]!r}")
        return (time.perf_counter() - begin) * 1e3

    def moved(keep: float, iou: float) -> float:
        return ask(slider, ["bench", None, "wbf", iou, "car", None, keep, 0.1])

    ask(handler("id", "labels", "select"), ["bench", None])
    slider = handler("elem_id", "keep", "input")
    moved(0.5, 0.6)
    alone = [moved(0.3 + 0.01 * turn, 0.55) for turn in range(moves)]
    merged = [moved(0.3 + 0.01 * turn, 0.6) for turn in range(moves)]
    return {"handler_ms": round(statistics.median(alone)), "merge_ms": round(statistics.median(merged))}


def _compare(page: Any, moves: int) -> dict[str, float]:
    begin = time.perf_counter()
    _open(page, "Compare")
    page.locator("#compare-slider img").nth(1).wait_for()
    page.locator("#compare-thumbs img").nth(11).wait_for()
    opened = time.perf_counter() - begin
    page.wait_for_timeout(1000)
    turn = [_waited(page, ("#compare-where",), lambda: page.locator("body").press("ArrowRight")) for _ in range(moves)]
    leaf = [_waited(page, ("#compare-pages",), lambda: page.locator("#compare-later").click()) for _ in range(moves)]
    return {
        "compare_s": round(opened, 1),
        "turn_ms": round(statistics.median(turn)),
        "leaf_ms": round(statistics.median(leaf)),
    }


def _open(page: Any, name: str) -> None:
    page.locator("#pages [role='tab']", has_text=name).locator("visible=true").click()


_CHANGED = """places => {
  const seen = () => places.map(place => document.querySelector(place).innerHTML);
  const before = seen();
  window.waited = new Promise((done, fail) => {
    let begin = 0;
    setTimeout(() => fail(new Error("nothing changed in 20 s at " + places)), 20000);
    addEventListener("keydown", () => { begin = performance.now(); }, {once: true, capture: true});
    addEventListener("pointerdown", () => { begin = performance.now(); }, {once: true, capture: true});
    const look = () => seen().every((now, i) => now !== before[i]) ? done(performance.now() - begin)
      : requestAnimationFrame(look);
    look();
  });
}"""


def _waited(page: Any, places: tuple[str, ...], act: Callable[[], Any]) -> float:
    """Return the milliseconds from an input until every one of these places has changed, as the browser sees it."""
    page.evaluate(_CHANGED, list(places))
    act()
    found = float(page.evaluate("window.waited"))
    page.wait_for_timeout(150)
    return found


if __name__ == "__main__":
    sys.exit(main())
