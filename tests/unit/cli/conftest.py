"""The command line called in this process, a small recipe, and workspaces made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from da_kd.cli import app
from da_kd.store import Output, Store

RECIPE = """\
schema: 1
name: small
classes: [RBC, WBC, Platelets]
data:
  source: {render: lab_a, split: train, count: 4}
  target: {render: lab_b, split: train, count: 4}
teachers:
  - {name: big, architecture: {model: yolo11n.yaml, imgsz: 64}}
teach: {steps: 4}
"""


@pytest.fixture
def da_kd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Call ``da-kd`` in an empty folder; the result has exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DA_KD_DEBUG", raising=False)

    def call(*arguments: object, input: str | None = None) -> Any:
        return CliRunner().invoke(app, [str(item) for item in arguments], input=input)

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Output]:
    """Put a finished output into the store of ``runs``."""

    def make(stage: str, **parts: Any) -> Output:
        from da_kd.events import Job

        output = Output(stage, parts)
        Store(tmp_path / "runs").make(output, lambda folder, job: _fill(folder), Job())
        return output

    return make


def _fill(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(b"x" * 1000)
