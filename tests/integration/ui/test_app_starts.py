"""Starting the app: late imports, a taken port, and words instead of tracebacks."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "ultralytics", "torchvision", "fiftyone", "pycocotools", "cv2")


def started(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_pages_are_made_without_the_heavy_libraries(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom da_kd.ui.server import make_application\n"
        "from da_kd.ui.settings import make_settings\nmake_application(make_settings(Path.cwd()))\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_a_taken_port_is_told_with_one_to_try(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = started(tmp_path, "--port", str(port))
    assert done.returncode == 2
    assert f"Try --port {port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    done = started(tmp_path, "--port", "0")
    assert done.returncode == 2
    assert "Expected to be allowed to write" in done.stderr


def test_the_options_are_told(tmp_path):
    done = started(tmp_path, "--help")
    assert done.returncode == 0
    for option in ("--host", "--port", "--auth", "--auth-file", "--data", "--allow-weights"):
        assert option in done.stdout
