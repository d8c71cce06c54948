"""Nobody changes how a training comes out without a look at the versions that the store tells trainings apart by."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("training_code", ROOT / "tools" / "training_code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_were_looked_at_since_the_training_code_changed(tool):
    kept, now = json.loads(tool.KEPT.read_text(encoding="utf-8")), tool.hashes()
    changed = sorted(path for path in kept.keys() | now.keys() if kept.get(path) != now.get(path))
    assert not changed, (
        f"{', '.join(changed)} changed. Does any training come out differently, be it in the last digit? Then raise "
        "its version (da_kd/pipeline/steps/keys.py), for those trainings alone. Either way: python "
        "tools/training_code.py"
    )


def test_only_code_counts(tool):
    one = 'def f(a):\n    """Say."""\n    return a + 1\n'
    same = '"""A file."""\n\n\ndef f(a):\n    """Say it\n    otherwise."""\n    # why\n    return a + 1  # what\n'
    assert tool.hash_of_code(one) == tool.hash_of_code(same)
    assert tool.hash_of_code(one) != tool.hash_of_code(one.replace("1", "2"))
    assert tool.hash_of_code('a = "# no comment"') != tool.hash_of_code('a = "# another"')
