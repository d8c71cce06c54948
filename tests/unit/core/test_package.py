"""What importing the package costs, and that the layers hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import da_kd

ROOT = Path(da_kd.__file__).parents[1]
HEAVY = ("torch", "torchvision", "ultralytics", "fiftyone", "gradio", "plotly", "cv2", "pycocotools", "matplotlib")


def loaded(code, names):
    """Return which of these packages a new interpreter has loaded after running some code."""
    told = f"import sys\n{code}\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "also"),
    [
        ("import da_kd", ("numpy", "pydantic", "yaml")),
        ("import da_kd; da_kd.load_recipe('recipes/demo.yaml')", ("numpy", "pyarrow", "PIL")),
        ("import da_kd; da_kd.run", ()),
        ("import da_kd.teachers, da_kd.teachers.ultralytics, da_kd.stages.predict, da_kd.stages.fuse", ()),
    ],
)
def test_importing_loads_nothing_heavy(code, also):
    assert loaded(code, (*HEAVY, *also)) == "[]"


def test_public_names_come_from_their_homes():
    for name in da_kd.__all__:
        assert getattr(da_kd, name) is not None
    from da_kd.pipeline import run
    from da_kd.recipe import Recipe

    assert (da_kd.run, da_kd.Recipe) == (run, Recipe)
    assert dir(da_kd) == sorted(da_kd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        da_kd.nothing  # noqa: B018


def test_the_layers_hold():
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ultralytics_is_kept_off_the_network_and_out_of_the_home(tmp_path):
    code = (
        "from da_kd.offline import settle_ultralytics; settle_ultralytics()\n"
        "import logging\n"
        "from ultralytics.utils import AUTOINSTALL, LOGGER, ONLINE, USER_CONFIG_DIR\n"
        "print(ONLINE, AUTOINSTALL, LOGGER.level == logging.ERROR, USER_CONFIG_DIR)"
    )
    place = tmp_path / "settings"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_"))}
    environment = {**clean, "HOME": str(tmp_path / "home"), "YOLO_CONFIG_DIR": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.split()[:3] == ["False", "False", "True"]
    assert done.stdout.split()[3].startswith(str(place))  # what the user set stays
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("before", ["", "import huggingface_hub.constants\n"])
@pytest.mark.parametrize(("set_", "offline"), [({}, "True"), ({"HF_HUB_OFFLINE": "0"}, "False")])
def test_transformers_is_kept_off_the_network(before, set_, offline):
    pytest.importorskip("huggingface_hub", reason="the adapter 'transformers' needs transformers (optional extra)")
    code = (
        f"{before}from da_kd.offline import settle_transformers; settle_transformers()\n"
        "import huggingface_hub; print(huggingface_hub.is_offline_mode())"
    )
    clean = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**clean, **set_}, cwd=ROOT
    )
    assert done.stdout.strip() == offline
