import json

import pytest

from da_kd.cli import probes
from da_kd.cli.probes import Check


@pytest.fixture
def found(monkeypatch):
    checks = [Check("Python", "ok", "3.11"), Check("gradio", "warn", "not installed", "pip install it")]
    monkeypatch.setattr(probes, "all_checks", lambda workspace: checks)
    return checks


def test_a_warning_is_no_failure(da_kd, found):
    result = da_kd("doctor")
    assert result.exit_code == 0
    assert "pip install it" in result.stdout


def test_a_failure_has_exit_code_2_and_json_says_which(da_kd, found):
    found.append(Check("cv2", "fail", "libGL.so.1: cannot open", "reinstall it"))
    result = da_kd("doctor", "--json")
    assert result.exit_code == 2
    tree = json.loads(result.stdout)
    assert tree["ok"] is False
    assert tree["checks"][-1] == {
        "name": "cv2",
        "status": "fail",
        "found": "libGL.so.1: cannot open",
        "remedy": "reinstall it",
    }


def test_a_library_that_does_not_load_is_reported_with_its_last_words():
    check = probes._library("torch", "raise ImportError('operator is missing')", "install another")
    assert (check.status, check.remedy) == ("fail", "install another")
    assert "operator is missing" in check.found


def test_a_library_that_takes_its_process_down_is_reported():
    check = probes._library("cv2", "import os; os.abort()", "reinstall it")
    assert check.status == "fail" and check.found


def test_a_full_disk_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(probes.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e8})())
    check = probes._disk(tmp_path / "not" / "there")
    assert check.status == "fail" and "da-kd gc" in check.remedy


def test_a_missing_database_server_comes_with_a_remedy(monkeypatch):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("DA_KD_MONGOD", "/nowhere/mongod")
    check = probes._mongod()
    assert check.status == "warn" and "DA_KD_MONGOD" in check.remedy
