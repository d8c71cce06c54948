"""A review through the command line, as a person does it: paused, opened in part, decided, closed, taken back."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.stages.review.ports import free_port
from da_kd.stages.review.program import find_mongod

IMAGES = 6
RECIPE = """\
schema: 1
name: stored
device: cpu
classes: [RBC, WBC]
data: {target: {path: images}}
teachers:
  - {name: one, kind: coco_file, weights: one.json, options: {images: list.json}}
fuse: {keep: 0.5, drop: 0.1}
review: {mode: human, images: 3}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(IMAGES)]
    categories = [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]
    (tmp_path / "list.json").write_text(json.dumps({"images": images, "categories": categories}))
    rows = [{"image_id": n, "category_id": 1, "bbox": [6, 6, 9, 9], "score": 0.9 - n / 20} for n in range(IMAGES)]
    (tmp_path / "one.json").write_text(json.dumps(rows))
    (tmp_path / "stored.yaml").write_text(RECIPE)
    return tmp_path


def da_kd(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "da_kd", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)


def accept_rest(port: int) -> int:
    """Press 'accept the rest of this view' in the App; return how many boxes that were."""
    body = {"operator_uri": "@da-kd/review/accept_rest", "dataset_name": "stored", "params": {"score": 0.0}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/operators/execute", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as reply:  # noqa: S310 - our own address
        return json.load(reply)["result"]["count"]


@pytest.mark.skipif(find_mongod() is None, reason="no mongod here")
def test_what_is_decided_in_the_app_of_the_command_is_in_the_labels_of_the_run(place):
    paused = da_kd("run", "stored.yaml", "--run", "person", cwd=place)
    assert paused.returncode == 3, paused.stderr
    told = " ".join((paused.stdout + paused.stderr).split())
    assert "http://127.0.0.1:5151" in told
    assert "ssh -N -L 5151:127.0.0.1:5151" in told
    assert "3 of 6 images are in this review" in told

    port = free_port()
    command = [sys.executable, "-m", "da_kd", "review", "person", "--port", str(port), "--images", "4"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            said = iter(program.stdout.readline, "")
            begun = []
            assert any(f"http://127.0.0.1:{port}/datasets/stored" in (begun.append(line) or line) for line in said)
            assert "4 of 6 images are in this review" in " ".join("".join(begun).split())
            assert accept_rest(port) == 4
            program.send_signal(signal.SIGINT)
            rest = " ".join("".join(said).split())
            assert program.wait(timeout=300) == 0, rest
        finally:
            program.kill()
    assert "4 new decision(s)" in rest
    assert "snapshot 1 of what was decided" in rest
    assert "da-kd resume person" in rest

    resumed = da_kd("resume", "person", "--until", "review", cwd=place)
    assert resumed.returncode == 0, resumed.stderr
    (path,) = place.glob("runs/store/review/*/review.json")
    figures = json.loads(path.read_text())
    assert (figures["images"], figures["kept"], figures["accepted"], figures["rejected"]) == (6, 6, 4, 0)
    assert len(list((place / "runs/journal/snapshots").rglob("*.json"))) == 1
