"""One finished run of the tiny demo, shared by the tests that only look at it."""

from pathlib import Path

import pytest

import da_kd
from da_kd.pipeline import RunResult

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("runs") / "demo-tiny"
    return da_kd.run(RECIPES / "demo-tiny.yaml", folder)
