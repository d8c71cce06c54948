"""The app as a process of its own over a small project, and a real browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RECIPE = """\
schema: 1
name: small
device: cpu
classes: [RBC, WBC, Platelets]
data:
  source: {render: lab_a, split: train, count: 8}
  target: {render: lab_b, split: train, count: 8}
  target_labelled: {render: lab_b, split: train, count: 8}
  test: {render: lab_b, split: test, count: 14}
teachers:
  - {name: big, architecture: {model: yolo11n.yaml, width: 0.0625, imgsz: 64}}
teach: {epochs: 24, batch: 4}
predict: {floor: 0.001}
fuse: {keep: 0.002, drop: 0.001}
student: {model: yolo11n.yaml, width: 0.0625, imgsz: 64}
distill: {epochs: 3, batch: 4}
finetune: {steps: 2, batch: 4, fraction: 0.5}
evaluate: {oracle: false}
report: {images: 2}
"""


@dataclass
class App:
    """A running app: the folder it was started in, and how to ask it."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    headers: dict[str, str] = field(default_factory=dict)
    log: Path = Path()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Return status, content and headers of one request; nothing is followed."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(self.url + path, body, given)  # noqa: S310
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=300) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def call(self, index: int, data: list[Any], session: str = "attack") -> str:
        """Call a handler by its index, as anybody can; return everything the server says of it."""
        body = json.dumps({"data": data, "fn_index": index, "session_hash": session, "event_data": None}).encode()
        status, said, _ = self.ask("/gradio_api/queue/join", body, content_type="application/json")
        if status != 200:
            return said.decode()
        _, events, _ = self.ask(f"/gradio_api/queue/data?session_hash={session}")
        return events.decode()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> None:
        return None


def _start_app(folder: Path, *arguments: str, **environment: str) -> App:
    """Start the app in a folder and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / f"app-{port}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--port", str(port), *arguments],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
    app = App(folder, port, process, log=log)
    end = time.monotonic() + 300  # other work may hold the machine
    while time.monotonic() < end and process.poll() is None:
        try:
            app.ask("/")
        except OSError:
            time.sleep(0.1)
        else:
            return app
    process.kill()
    pytest.fail(f"the app did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def start_app() -> Callable[..., App]:
    """Start the app in a folder, with arguments of its own."""
    return _start_app


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder as a person has it, with a recipe and two that differ from it in little."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "small.yaml").write_text(RECIPE)
    for steps in (3, 4):  # what these change, only fine-tuning and its score depend on
        changed = RECIPE.replace("finetune: {steps: 2", f"finetune: {{steps: {steps}")
        (folder / "recipes" / f"steps-{steps}.yaml").write_text(changed.replace("name: small", f"name: steps-{steps}"))
    return folder


@pytest.fixture(scope="module")
def app(project) -> Iterator[App]:
    pytest.importorskip("gradio", reason="needs gradio")
    running = _start_app(project)
    yield running
    running.kill()
