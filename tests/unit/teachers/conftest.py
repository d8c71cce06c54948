"""Real small pictures on the disk, one of them broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import table_of


@pytest.fixture
def picture_set(tmp_path: Path) -> Callable[..., ImageSet]:
    """Write pictures, the number in the name being the gray value, and return them as a set; broken ones by index."""

    def make(count: int, broken: tuple[int, ...] = ()) -> ImageSet:
        root = tmp_path / "images"
        root.mkdir(exist_ok=True)
        for index in range(count):
            path = root / f"{index:03d}.png"
            Picture.fromarray(np.full((8, 10 + index, 3), index, np.uint8)).save(path)
            if index in broken:
                path.write_bytes(b"junk")
        keys = [f"{index:03d}.png" for index in range(count)]
        return ImageSet(root, table_of(("x",), scan(root, keys, ScanCache(None)), {}))

    return make
