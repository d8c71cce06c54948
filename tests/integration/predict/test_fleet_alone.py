"""A recipe with ``predict.engine: ray`` and no cluster: one is started on this machine, for this machine alone."""

import ipaddress
import signal

import numpy as np
import psutil
import pytest
from PIL import Image

import da_kd
from da_kd.events import Event, Job, Progress, StageDone
from da_kd.offline import settle_ultralytics
from da_kd.recipe import parse_recipe

pytest.importorskip("ray")


def run(place, sink, *changes):
    """Run until *predict*; return the folder of its output."""
    tree = {
        "schema": 1,
        "name": "alone",
        "device": "cpu",
        "classes": ["person"],
        "data": {"target": {"path": "target"}},
        "teachers": [{"name": "t", "weights": "w.pt", "options": {"imgsz": 64, "max_boxes": 9}}],
        "predict": {"floor": 1e-5, "shard": 2, "batch": 2},
    }
    return da_kd.run(parse_recipe(tree, changes, place), place / "runs" / "a", until="predict", job=Job(sink)).steps[0]


def listening():
    """Return the addresses that this process and those below it listen on."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [each for process in processes for each in process.net_connections("inet")]
    return {ipaddress.ip_address(each.laddr.ip) for each in found if each.status == psutil.CONN_LISTEN}


def local(address):
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def test_a_cluster_of_its_own_is_nobody_elses_and_ends_with_the_stage(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settle_ultralytics()
    from ultralytics import YOLO

    YOLO("yolo11n.yaml").save(str(tmp_path / "w.pt"))
    (tmp_path / "target").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "target" / f"{number}.png")
    before, seen = {process.pid for process in psutil.Process().children(recursive=True)}, set()

    def sink(event: Event):
        if isinstance(event, Progress) and event.task == "t":
            seen.update(listening())
            handlers.append(signal.getsignal(signal.SIGTERM))

    def stop(*_):
        """Stands for a program that asks the run to stop."""

    handlers, mine = [], signal.signal(signal.SIGTERM, stop)
    try:
        first = run(tmp_path, sink, "predict.engine=ray", "predict.workers=1")
    finally:
        signal.signal(signal.SIGTERM, mine)
    assert set(handlers) == {stop}
    assert seen
    assert all(local(address) for address in seen), seen
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    told = []
    again = run(tmp_path, told.append)
    assert again.folder == first.folder
    assert [event.reused for event in told if isinstance(event, StageDone)] == [True]
