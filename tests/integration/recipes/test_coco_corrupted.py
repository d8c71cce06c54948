"""The recipe of damaged photographs, and the benchmark that makes a table of it, on a few of COCO's images."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

import da_kd

ROOT = Path(da_kd.__file__).parents[1]
FEW = 0.03  # of 128 images


@pytest.fixture
def benchmark(monkeypatch, tmp_path, real_data):
    """The benchmark, with a recipe of a few images."""
    for part in ("coco128", "weights"):
        if not (real_data / part).is_dir():
            pytest.skip(f"needs {part} below DA_KD_DATA")
    monkeypatch.setenv("DA_KD_DATA", str(real_data))
    spec = importlib.util.spec_from_file_location("corruptions", ROOT / "benchmarks" / "corruptions.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "corruptions", module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    recipe = yaml.safe_load((ROOT / "recipes" / "coco_corrupted.yaml").read_text())
    for name in ("target", "target_labelled", "test"):
        recipe["data"][name]["fraction"] = FEW
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr(module, "RECIPE", tmp_path / "few.yaml")
    return module


def test_damage_costs_a_teacher_what_the_table_says(benchmark, tmp_path, monkeypatch, capsys):
    place = tmp_path / "runs"
    asked = ["corruptions.py", "--by", "noise", "--strengths", "3", "--workspace", str(place)]
    monkeypatch.setattr("sys.argv", asked)
    assert benchmark.main() == 0
    tree = json.loads((place / "bench" / "corruptions" / "bench.json").read_text())
    clean, noise = tree["rows"]
    assert [row["images"] for row in tree["rows"]] == [4, 4]
    assert set(clean["ways"]) == {"plain", "views", "merged"}
    for way in clean["ways"]:
        assert noise["ways"][way]["AP"] < 0.5 * clean["ways"][way]["AP"]
        assert noise["ways"][way]["recall"] < clean["ways"][way]["recall"]
    assert clean["ways"]["plain"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert tree["command"] == "python benchmarks/corruptions.py --by noise --strengths 3"
    assert [panel["x"] for panel in tree["panels"]] == [[0, 3]]
    assert (place / "bench" / "corruptions" / "plot.png").is_file()
    assert len(tree["sittings"]) == 1

    table = (place / "bench" / "corruptions" / "table.md").read_bytes()
    capsys.readouterr()
    assert benchmark.main() == 0  # only reads
    assert (place / "bench" / "corruptions" / "table.md").read_bytes() == table
    assert len(json.loads((place / "bench" / "corruptions" / "bench.json").read_text())["sittings"]) == 1
