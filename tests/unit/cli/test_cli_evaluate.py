import json

import pytest

MORE = ["intervals", "errors", "confusion"]


@pytest.fixture
def files(tmp_path):
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50]}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "annotations": [{"id": 1, **box}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "said.json").write_text(json.dumps([{**box, "score": 0.9}]))
    return ("--truth", "truth.json", "--predictions", "said.json")


def test_json_is_one_object_and_nothing_else(da_kd, files):
    result = da_kd("evaluate", *files, "--json")
    assert result.exit_code == 0, result.stderr
    tree = json.loads(result.stdout)
    assert list(tree) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "per_class", *MORE]
    assert tree["AP"] == pytest.approx(1.0) and tree["APs"] is None
    assert set(tree["per_class"]) == {"cell"}


def test_the_table_shows_every_figure(da_kd, files):
    result = da_kd("evaluate", *files)
    assert result.exit_code == 0
    assert "AP of cell" in result.stdout and "1.000" in result.stdout
    assert "AP50 lost" in result.stdout and "duplicate" in result.stdout


def test_files_that_do_not_fit_are_a_sentence(da_kd, files, tmp_path):
    (tmp_path / "said.json").write_text("{}")
    result = da_kd("evaluate", *files, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "said.json" in result.stderr


def test_usage_errors_have_exit_code_2(da_kd):
    assert da_kd("evaluate").exit_code == 2
    assert da_kd("nonsense").exit_code == 2
