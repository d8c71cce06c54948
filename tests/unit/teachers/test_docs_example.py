"""The adapter that docs/teachers.md shows is installed as a stranger's package would be, and run."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "teachers.md").read_text(encoding="utf-8")

RUN = """
import sys
import numpy as np
from da_kd.teachers import Failure, Image, adapter

teacher = adapter("bright")(sys.argv[1], {"name": "star"})
pixels = np.zeros((61, 97, 3), np.uint8)
black = pixels.copy()
pixels[20:30, 40:55] = 250
with teacher.open("cpu", 0.02, 4) as predictor:
    seen, nothing, failed = predictor.predict([Image("a", pixels), Image("b", pixels // 2), Image("c", black)])
assert predictor.classes == seen.vocabulary == ("star",)
assert seen.xyxy.tolist() == [[40, 20, 55, 30]], seen
assert len(nothing) == 0
assert failed == Failure("the image is black")
assert adapter("bright")(sys.argv[1], {}).fingerprint() != teacher.fingerprint()
try:
    adapter("bright")(sys.argv[1], {"colour": "red"})
except Exception as error:
    print(error)
"""


def block(language, title):
    (found,) = re.findall(rf"```{language}\n# {re.escape(title)}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_example_is_short_and_runs_as_a_package_of_its_own(tmp_path):
    code, project = block("python", "bright_teacher.py"), block("toml", "pyproject.toml")
    assert len(code.strip().splitlines()) < 40
    group, entry = re.search(r'entry-points\."(.+?)"\]\n(.+)', project).groups()
    name, _, target = entry.replace('"', "").partition(" = ")
    (tmp_path / "bright_teacher.py").write_text(code)
    info = tmp_path / "bright_teacher-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bright-teacher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    (tmp_path / "level.txt").write_text("200")
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "level.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Teacher adapter 'bright' has no option 'colour'; its options are: name" in done.stdout


def test_every_option_of_every_adapter_is_on_the_page():
    from da_kd.teachers import coco_file, onnx, torchvision, transformers, ultralytics

    for module in (coco_file, onnx, torchvision, transformers, ultralytics):
        kind = module.__name__.rpartition(".")[2]
        section = PAGE.split(f"\n## {kind}\n")[1].split("\n## ")[0]
        assert [option for option in module._OPTIONS if f"`{option}`" not in section] == []
