"""Pictures drawn on the fly, and one short way to load a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, load_images
from da_kd.events import Event, Job
from da_kd.recipe import Images


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write a picture with content of its own for every seed."""

    def write(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def load(tmp_path: Path, events: list[Event]) -> Callable[..., ImageSet]:
    """Load a set from ``tmp_path`` with the classes given."""

    def run(*classes: str, labels: bool = True, **spec: Any) -> ImageSet:
        return load_images(
            Images(**spec),
            tmp_path,
            classes,
            labels=labels,
            cache=ScanCache(None),
            frames=tmp_path / ".frames",
            job=Job(events.append),
            name="data.source",
        )

    return run
