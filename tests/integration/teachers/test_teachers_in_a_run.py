"""Teachers of two kinds in one run: one learns only some classes, one looks at several views."""

import da_kd
from da_kd.detections import read_table
from da_kd.recipe import parse_recipe


def test_a_teacher_that_does_not_know_a_class_has_no_say_in_it(tmp_path):
    tree = {
        "name": "kinds",
        "device": "cpu",
        "classes": ["RBC", "WBC", "Platelets"],
        "data": {
            "source": {"render": "lab_a", "split": "train", "count": 4},
            "target": {"render": "lab_b", "split": "train", "count": 3},
        },
        "teachers": [
            {"name": "yolo", "architecture": {"width": 0.125, "imgsz": 64}, "views": {"scales": [1.5]}},
            {
                "name": "tv",
                "kind": "torchvision",
                "architecture": {"model": "fasterrcnn_mobilenet_v3_large_320_fpn", "imgsz": 64},
                "learns": ["WBC"],
            },
        ],
        "teach": {"epochs": 1, "batch": 2, "args": {"flipud": 0.5}},
        "fuse": {"keep": 0.0, "drop": 0.0},
        "predict": {"floor": 0.001},
    }
    runs = tmp_path / "runs"
    da_kd.run(parse_recipe(tree, (), tmp_path), runs / "first", until="fuse")
    (labels,) = runs.glob("store/fuse/*/labels.parquet")
    fused = read_table(labels)
    assert fused.teachers == ("yolo", "tv")
    shards = {read_table(path).teachers: read_table(path) for path in runs.glob("store/predict/*/shards/*.parquet")}
    assert shards[("tv",)].vocabulary == ("WBC",)
    assert shards[("yolo",)].vocabulary == ("RBC", "WBC", "Platelets")
    assert len(fused.label) > 0
    known = fused.label == 1
    assert (fused.agreement[~known] == 1).all()  # where one teacher is able, its word is all there is
