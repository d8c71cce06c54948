from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.data import probe, read_image
from da_kd.errors import DataError

RED_LEFT = np.zeros((20, 30, 3), np.uint8)
RED_LEFT[:, :10, 0] = 255


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("verify", [True, False])
def test_exif_orientation_turns_size_and_pixels(tmp_path: Path, suffix: str, verify: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(RED_LEFT).save(path, exif=exif)
    pixels = read_image(path)
    assert pixels.shape == (30, 20, 3)
    assert pixels[2, 10, 0] > 200  # what was left is now on top
    assert pixels[25, 10, 0] < 50
    assert probe(path, verify=verify)[1:] == (20, 30, "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_has_the_size_that_is_read(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    Image.fromarray(RED_LEFT).save(path, exif=exif)
    height, width = read_image(path).shape[:2]
    assert probe(path)[1:3] == (width, height)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_is_scaled_by_its_full_range(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16)).save(path)
    assert read_image(path)[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "print.tif"
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(path)
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


def test_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(RED_LEFT).quantize(4)
    path = tmp_path / "palette.png"
    image.save(path, transparency=bytes([0, 255, 128, 7]))
    assert np.array_equal(read_image(path), RED_LEFT)


@pytest.mark.parametrize(("mode", "colour"), [("L", 9), ("1", 1), ("RGBA", (1, 2, 3, 0)), ("LA", (9, 0))])
def test_other_modes_become_rgb(tmp_path: Path, mode: str, colour: int | tuple[int, ...]) -> None:
    path = tmp_path / "image.png"
    Image.new(mode, (5, 4), colour).save(path)
    pixels = read_image(path)
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0, 0] == {"L": 9, "1": 255, "RGBA": 1, "LA": 9}[mode]


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((3, 4), np.float32)).save(path)
    assert "floating-point" in probe(path).reason


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated(tmp_path: Path, picture, suffix: str) -> None:
    path = picture(tmp_path / f"cut.{suffix}", (200, 150))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert probe(path).reason == "truncated"
    assert probe(path).sha
    with pytest.raises(DataError, match=r"cut.* found: truncated"):
        read_image(path)


def test_zero_bytes_text_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    assert probe(tmp_path / "empty.jpg") == ("", 0, 0, "empty file")
    assert probe(tmp_path / "text.jpg").reason == "not an image"
    assert probe(tmp_path / "none.jpg").reason == "missing file"
    with pytest.raises(DataError, match="empty file"):
        read_image(tmp_path / "empty.jpg")


def test_hash_is_of_the_content(tmp_path: Path, picture) -> None:
    a, b, c = (picture(tmp_path / f"{n}.png", seed=s) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert probe(a).sha == probe(b).sha != probe(c).sha
    assert len(probe(a).sha) == 32


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp"])
def test_a_file_cut_anywhere_has_a_reason(tmp_path: Path, picture, suffix: str) -> None:
    path = picture(tmp_path / f"cut.{suffix}", (64, 48))
    data = path.read_bytes()
    for length in (1, 3, 20, 40, len(data) // 3, len(data) - 30):
        path.write_bytes(data[:length])
        assert probe(path).reason


def test_another_library_that_replaces_pillows_door_is_not_asked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("would install packages"))
    (tmp_path / "text.jpg").write_text("hello")
    assert probe(tmp_path / "text.jpg").reason == "not an image"


def test_too_many_pixels(tmp_path: Path, picture, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "too many" in probe(picture(tmp_path / "big.png")).reason


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from PIL import Image
from da_kd.data.images import probe
Image.init()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, resource.RLIM_INFINITY))
print(tuple(probe(Path(sys.argv[1]))))
"""


def test_too_little_memory_says_nothing_about_the_file(tmp_path: Path) -> None:
    Image.new("L", (14_000, 10_000)).save(tmp_path / "large.png", compress_level=1)
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "large.png")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "('', 0, 0, 'too little memory to read it')"
    assert probe(tmp_path / "large.png").reason == ""
