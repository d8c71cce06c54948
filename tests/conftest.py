"""What all tests share: where real images may be, and a home that no library may write into."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, named by DA_KD_DATA or standing beside the checkout; tests skip without it."""
    place = Path(os.environ.get("DA_KD_DATA", ROOT.parent / "shared" / "data"))
    if not place.is_dir():
        pytest.skip(f"no real images at {place}; set DA_KD_DATA")
    return place
