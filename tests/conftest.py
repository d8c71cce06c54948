"""What all tests share: where real images may be, and a home that no library may write into."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from PIL import Image as Picture

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import table_of
from da_kd.teachers import Image

ROOT = Path(__file__).parents[1]

# Where nobody watches, property tests try the same examples every time; at a desk they go on looking for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by the tier whose folder it lies in."""
    for item in items:
        if "integration" in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, named by DA_KD_DATA or standing beside the checkout; tests skip without it."""
    place = Path(os.environ.get("DA_KD_DATA", ROOT.parent / "shared" / "data"))
    if not place.is_dir():
        pytest.skip(f"no real images at {place}; set DA_KD_DATA")
    return place


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


def picture(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return (height, width, 3) pixels with soft and hard edges, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Picture.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((width, height), Picture.Resampling.BILINEAR))
    for _ in range(4):
        left, top = rng.integers(0, width - 3), rng.integers(0, height - 3)
        pixels[top : top + height // 3, left : left + width // 4] = rng.integers(0, 256, 3)
    return pixels


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image]:
    """Return images of any size, by width, height and seed."""
    return lambda width, height, seed=0: Image(f"{width}x{height}-{seed}.png", picture(width, height, seed))
