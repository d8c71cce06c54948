"""``check --deep`` tells classes that nobody sees, and words that may mean the same, as lines to paste."""

import json

import pytest
from PIL import Image

RECIPE = """\
schema: 1
name: road
classes: [motorcycle, person]
data: {{target: {{path: images}}}}
teachers:
  - {{name: coco, kind: coco_file, weights: found.json, options: {{images: list.json}}{classes}}}
  - {{name: other, kind: coco_file, weights: found.json, options: {{images: names.json}}}}
"""


@pytest.fixture
def road(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "0.png")
    for file, names in (("list.json", ["motorbike", "person"]), ("names.json", ["person", "dog"])):
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(names)]
        tree = {"images": [{"id": 1, "file_name": "0.png"}], "categories": categories}
        (tmp_path / file).write_text(json.dumps(tree))
    rows = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "score": 0.5}]
    (tmp_path / "found.json").write_text(json.dumps(rows))

    def write(classes=""):
        path = tmp_path / "road.yaml"
        path.write_text(RECIPE.format(classes=classes))
        return path

    return write


def told(result):
    """Return what was said, as one line."""
    return " ".join((result.stdout + result.stderr).split())


def test_a_class_nobody_sees_comes_with_the_line_that_mends_it(da_kd, road):
    result = da_kd("check", road(), "--deep")
    assert result.exit_code == 2
    assert "No teacher can see the class 'motorcycle'; near it: motorbike" in told(result)
    assert "teachers.coco.classes: {motorbike: motorcycle}" in told(result)
    assert da_kd("check", road(", classes: {motorbike: motorcycle}"), "--deep").exit_code == 0


def test_a_like_word_is_a_hint_and_no_mistake(da_kd, road, tmp_path):
    path = road()
    (tmp_path / "names.json").write_text((tmp_path / "names.json").read_text().replace("dog", "motorcycle"))
    result = da_kd("check", path, "--deep")
    assert result.exit_code == 0
    assert "add teachers.coco.classes: {motorbike: motorcycle}" in told(result)
