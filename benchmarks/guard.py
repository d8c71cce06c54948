"""The guard: how often does it find labels that are broken, and how often does it cry over good ones?

    python benchmarks/guard.py [--quick] [--json FILE] [--workspace DIR] [--data DIR]

Small detectors are trained on drawn smears of one laboratory and run over target sets that lamps, lenses, cameras,
slides, other laboratories and mistakes have shifted (``guard_sets.py``); where ``--data`` (or DA_KD_DATA) names the
real images, a detector of blood cells and one of COCO's objects are run over shifted photographs too. What a set is was
fixed before any verdict was seen, by the truth of the target, which the guard never gets:

    set    broken: F1 of the kept boxes below 0.3; healthy: 0.5 or more; between: left out, and counted
    class  collapsed: recall below 0.1 where it is above 0.5 at home, or at least 5 boxes an object and precision below
           0.2; healthy: F1 of 0.5 or more; absent: fewer than 10 objects, where silence is right

Defaults were chosen on the tuning half. The held-out half has other pictures and other strengths of a shift, and one of
its panels a detector and images of its own (docs/labels.md tells how that went). ``--quick`` trains one tiny detector
on few pictures, and needs no data set. Sets of a half share pictures, and are not independent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from guard_sets import Scene, drawn, drawn_sets, photographed_sets, photographs
from rich.console import Console
from rich.table import Table

from da_kd.data import ScanCache, load_images
from da_kd.demo import CLASSES, render_set
from da_kd.detections import Detections, DetectionTable, ImageRecord, Vocabulary, table_of
from da_kd.events import Job
from da_kd.merging.matching import paired
from da_kd.recipe import Architecture, Fuse, Guard, Images, Schedule, Teacher
from da_kd.stages.fuse import Sample, fuse
from da_kd.stages.fuse.classes import class_map
from da_kd.stages.fuse.guard import COLLAPSED, Home, judge
from da_kd.teachers import adapter
from da_kd.teachers.base import Image

FLOOR, BATCH = 0.02, 16
BROKEN, HEALTHY = 0.3, 0.5
LEAST_OBJECTS = 10
ARGS = {"scale": 0.25, "flipud": 0.5}
Sets = Mapping[str, Callable[[], list[Scene]]]
# A mistake in the recipe is the same at home: thresholds that keep nothing or everything, and classes mixed up.
MISTAKES: dict[str, tuple[Fuse, int]] = {
    "keep from 0.98": (Fuse(keep={"default": 0.98}), 0),
    "keep from 0.03": (Fuse(keep={"default": 0.03}, drop={"default": 0.02}), 0),
    "classes mixed up": (Fuse(), 1),
}


@dataclass(frozen=True)
class Panel:
    """Teachers, what they say of home, and the sets they are run over.

    ``mistakes`` are the sets that are fused once more with every mistake.
    """

    name: str
    half: str
    classes: Vocabulary
    teachers: Mapping[str, Any]
    home: Sequence[Scene]
    sets: Sets
    maps: Mapping[str, str | None] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()


def main() -> int:
    """Measure, print tables, and write the rows and rates where asked."""
    asked = _arguments()
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        workspace = asked.workspace or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for panel in panels(asked, workspace, stack):
            rows += list(measure(panel))
    halves = list(dict.fromkeys(row["half"] for row in rows))
    found = {half: rates([row for row in rows if row["half"] == half]) for half in halves}
    show(rows, found)
    if asked.json:
        asked.json.write_text(json.dumps({"rates": found, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one tiny detector, few pictures, no data set")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workspace", type=Path, help="where trained detectors are kept; a folder that goes, if none")
    parser.add_argument("--data", type=Path, default=os.environ.get("DA_KD_DATA"), help="the real images")
    return parser.parse_args()


# --- detectors --------------------------------------------------------------------------------------------------------


def panels(asked: argparse.Namespace, workspace: Path, stack: contextlib.ExitStack) -> Iterator[Panel]:
    """Yield the panels one after the other, training what they need."""
    if asked.quick:
        tiny = _smears(workspace, "tiny", 0, "yolo11n.yaml", 0.125, 300, 48)
        yield _drawn_panel("tiny", "held-out", {"tiny": _open(stack, tiny)}, 16, 40)
        return
    first = _open(stack, _smears(workspace, "d0", 0, "yolo11n.yaml", 0.25, 450, 120))
    yield _drawn_panel("yolo11 a quarter wide", "tuning", {"d0": first}, 32, 100)
    second = _open(stack, _smears(workspace, "d1", 1, "yolov8n.yaml", 0.25, 450, 120))
    yield _drawn_panel("yolov8 a quarter wide", "held-out", {"d1": second}, 32, 100)
    for half in ("tuning", "held-out"):
        yield _drawn_panel("both", half, {"d1": second, "d0": first}, 32, 100)
    if asked.data:
        yield _cells(asked.data, workspace, stack)
        yield from _coco(asked.data, workspace, stack)


def _drawn_panel(name: str, half: str, teachers: Mapping[str, Any], count: int, home: int) -> Panel:
    sets = drawn_sets(half, count)
    return Panel(name, half, CLASSES, teachers, drawn("val", home), sets, mistakes=tuple(sets)[:2])


def _smears(workspace: Path, name: str, seed: int, model: str, width: float, steps: int, count: int) -> Path:
    """Return the weights of a detector trained on ``lab_a``."""
    data = workspace / f"data{seed}"
    render_set("lab_a", "train", count, seed, data)
    architecture = Architecture(model=model, width=width, imgsz=160)
    schedule = Schedule(steps=steps, batch=8, lr=0.002, args=ARGS)
    section = Images(path="data.yaml", split=("train",))
    return _train(workspace / name, architecture, schedule, section, data, CLASSES, seed)


def _train(
    folder: Path,
    architecture: Architecture,
    schedule: Schedule,
    section: Images,
    root: Path,
    classes: Vocabulary,
    seed: int = 0,
) -> Path:
    """Return the weights of a detector, trained now or earlier."""
    from da_kd.training import Setting, TrainingTask, train

    folder.mkdir(parents=True, exist_ok=True)
    images = load_images(
        section, root, classes, labels=True, cache=ScanCache(None), frames=folder, job=Job(), name="data.source"
    )
    train(TrainingTask(folder.name, architecture, None, schedule, images, Setting(seed, "cpu")), folder, Job())
    return folder / "weights.pt"


def _open(
    stack: contextlib.ExitStack, weights: Path, kind: str = "ultralytics", options: dict[str, Any] | None = None
) -> Any:
    return stack.enter_context(adapter(kind)(weights, options or {}).open("cpu", FLOOR, BATCH))


def _cells(data: Path, workspace: Path, stack: contextlib.ExitStack) -> Panel:
    """Return a detector of one real laboratory; its own validation images, shifted, are the target."""
    classes = ("WBC", "RBC", "Platelets")
    architecture = Architecture(model="yolo11n.yaml", imgsz=160)
    schedule = Schedule(steps=480, batch=8, lr=0.003, args={"flipud": 0.5})
    section = Images(path="cells/bccd", split=("train",))
    weights = _train(workspace / "c11", architecture, schedule, section, data, classes)
    given = photographs(Images(path="cells/bccd", split=("val",)), data, classes, workspace, 44)
    other = photographs(Images(path="cells/pbc", split=("train",)), data, classes, workspace, 60)
    sets = {**photographed_sets("held-out", given[1::2]), "the other laboratory": lambda: other}
    return Panel("cells", "held-out", classes, {"c11": _open(stack, weights)}, given[::2], sets)


GROUPS = {
    "person": ("person",),
    "vehicle": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "kitchen": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    "furniture": ("chair", "couch", "potted plant", "bed", "dining table", "toilet"),
}


def _coco(data: Path, workspace: Path, stack: contextlib.ExitStack) -> Iterator[Panel]:
    """Yield a detector of everyday objects, in five groups, over photographs of their own for each half."""
    maps: dict[str, str | None] = {name: group for group, names in GROUPS.items() for name in names}
    yaml = Images(path="coco128/data.yaml", split=("val",), classes={"*": None, **maps})
    given = photographs(yaml, data, tuple(GROUPS), workspace, 128)
    yolox = {"yolox": _open(stack, data / "weights" / "yolox_nano.onnx", "onnx", {"names": "coco"})}
    for half, first in (("tuning", 1), ("held-out", 3)):
        yield Panel("coco", half, tuple(GROUPS), yolox, given[::2], photographed_sets(half, given[first::4]), maps)


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(panel: Panel) -> Iterator[dict[str, Any]]:
    """Yield a row for every set of a panel."""
    home = {name: ask(teacher, panel.home, name) for name, teacher in panel.teachers.items()}
    sample = Sample("source_val", _truth(panel.home), home, held_out=True)
    for name, make in panel.sets.items():
        scenes = make()
        said = {teacher: ask(predictor, scenes, teacher) for teacher, predictor in panel.teachers.items()}
        variants = {"": (Fuse(), 0), **(MISTAKES if name in panel.mistakes else {})}
        for mistake, (config, turn) in variants.items():
            title = f"{name}, {mistake}" if mistake else name
            yield {"panel": panel.name, "half": panel.half, "set": title} | row(
                sample, said, _truth(scenes), panel.maps, config, turn
            )


def ask(predictor: Any, scenes: Sequence[Scene], name: str) -> DetectionTable:
    """Return what a teacher says of scenes."""
    found: list[Any] = []
    for start in range(0, len(scenes), BATCH):
        found += predictor.predict([Image(str(i), s.pixels) for i, s in enumerate(scenes[start : start + BATCH])])
    return _table(predictor.classes, scenes, found, (name,))


def row(
    sample: Sample,
    said: Mapping[str, DetectionTable],
    truth: DetectionTable,
    maps: Mapping[str, str | None],
    config: Fuse,
    turn: int,
) -> dict[str, Any]:
    """Return what labels of one set are worth, and what the guard says of them, with and without a home."""
    labels, at_home = (_fused(side, truth.vocabulary, maps, config, turn) for side in (said, sample.said))
    verdict = judge(labels, Home(sample, at_home), Guard())
    alone = judge(labels, None, Guard())
    own, home = quality(labels, truth), quality(at_home, sample.truth)
    f1 = _f1(*own.sum(axis=1))
    classes = {
        item.name: {"truth": _fate(own[:, i], home[:, i]), "guard": item.verdict, "counts": own[:, i].tolist()}
        for i, item in enumerate(verdict.classes)
    }
    return {
        "F1": round(f1, 3),
        "truth": "broken" if f1 < BROKEN else "healthy" if f1 >= HEALTHY else "between",
        "guard": verdict.verdict,
        "alone": alone.verdict,
        "reasons": verdict.reasons,
        "classes": classes,
        "figures": {name: [pair.source, pair.target] for name, pair in verdict.figures.items()},
        "distances": dict(verdict.distances),
    }


def quality(labels: DetectionTable, truth: DetectionTable) -> np.ndarray:
    """Return (3, C) counts by class: kept boxes that are right at IoU 0.5, kept boxes, objects."""
    counts = np.zeros((3, len(truth.vocabulary)), int)
    for image in range(len(truth)):
        boxes, objects = labels.at(image), truth.at(image)
        right = boxes.label[paired(objects, boxes)]
        for line, label in enumerate((right, boxes.label, objects.label)):
            counts[line] += np.bincount(label, minlength=counts.shape[1])
    return counts


def _fused(
    said: Mapping[str, DetectionTable], classes: Vocabulary, maps: Mapping[str, str | None], config: Fuse, turn: int
) -> DetectionTable:
    if turn:
        maps = {name: classes[(i + turn) % len(classes)] for i, name in enumerate(classes)}
    teachers = [Teacher(name=name, weights="none", classes=dict(maps)) for name in said]
    known = {t.name: class_map(t.name, said[t.name].vocabulary, classes, t.classes) for t in teachers}
    return fuse(teachers, said, known, config, classes, Job())


def _fate(own: np.ndarray, home: np.ndarray) -> str:
    right, boxes, objects = (int(value) for value in own)
    if objects < LEAST_OBJECTS:
        return "absent"
    if right < 0.1 * objects and home[0] > 0.5 * home[2]:
        return "collapsed"
    if boxes >= 5 * objects and right < 0.2 * boxes:
        return "collapsed"
    return "healthy" if _f1(right, boxes, objects) >= HEALTHY else "between"


def _f1(right: int, boxes: int, objects: int) -> float:
    return float(2 * right / (boxes + objects)) if boxes + objects else 1.0


def _truth(scenes: Sequence[Scene]) -> DetectionTable:
    return _table(scenes[0].truth.vocabulary, scenes, [scene.truth for scene in scenes])


def _table(
    vocabulary: Vocabulary, scenes: Sequence[Scene], found: Sequence[Detections], teachers: tuple[str, ...] = ()
) -> DetectionTable:
    keys = [f"{index:05}" for index in range(len(scenes))]
    sizes = [scene.pixels.shape for scene in scenes]
    records = [ImageRecord(key, "", size[1], size[0]) for key, size in zip(keys, sizes, strict=True)]
    return table_of(vocabulary, records, dict(zip(keys, found, strict=True)), teachers=teachers)


# --- telling ----------------------------------------------------------------------------------------------------------


def rates(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return counts of hits and false alarms, of sets and of classes.

    Classes are counted over sets that are not broken as a whole: there the set's own verdict speaks.
    """
    sets = Counter((row["truth"], row["guard"]) for row in rows)
    alone = Counter((row["truth"], row["alone"]) for row in rows)
    fates = [item for row in rows if row["truth"] != "broken" for item in row["classes"].values()]
    classes = Counter((item["truth"], "broken" if item["guard"] in COLLAPSED else "fine") for item in fates)
    return {
        "sets": _counted(sets, "broken", "healthy", "between"),
        "sets_without_source": _counted(alone, "broken", "healthy", "between"),
        "classes": _counted(classes, "collapsed", "healthy", "between", "absent"),
    }


def _counted(found: Counter[tuple[str, str]], *kinds: str) -> dict[str, Any]:
    """Return by kind how many there are, and how many of them the guard called broken."""
    return {
        kind: {"called": found[kind, "broken"], "of": found[kind, "broken"] + found[kind, "fine"]} for kind in kinds
    }


def show(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    """Print every set, then the rates."""
    console = Console(width=150)
    table = Table("half", "teachers", "target set", "F1", "truth", "guard", "alone", "classes: truth / guard")
    for item in rows:
        told = [
            f"{n} {c['truth']}/{c['guard']}"
            for n, c in item["classes"].items()
            if c["guard"] in COLLAPSED or c["truth"] == "collapsed"
        ]
        table.add_row(
            item["half"],
            item["panel"],
            item["set"],
            f"{item['F1']:.2f}",
            item["truth"],
            item["guard"],
            item["alone"],
            ", ".join(told),
        )
    console.print(table)
    total = Table("half", "what", "kind", "called broken", "of")
    for half, kinds in found.items():
        for what, counts in kinds.items():
            for kind, count in counts.items():
                total.add_row(half, what, kind, str(count["called"]), str(count["of"]))
    console.print(total)


if __name__ == "__main__":
    sys.exit(main())
