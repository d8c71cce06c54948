"""Teachers of two kinds in one run: one learns only some classes, one looks at several views."""

import da_kd
from da_kd.detections import read_table
from da_kd.events import Job, Note
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


def test_one_teacher_goes_on_with_labels_and_another_ends_its_boxes_by_the_edges(tmp_path):
    small = {"width": 0.125, "imgsz": 64}
    tree = {
        "name": "fitted",
        "device": "cpu",
        "classes": ["RBC", "WBC", "Platelets"],
        "data": {
            "source": {"render": "lab_a", "split": "train", "count": 12},
            "source_val": {"render": "lab_a", "split": "val", "count": 6},
            "target": {"render": "lab_b", "split": "train", "count": 6},
            "target_labelled": {"render": "lab_b", "split": "train", "count": 6},
        },
        "teachers": [
            {"name": "tuned", "architecture": small, "finetune": {"epochs": 2, "batch": 2, "fraction": 0.5}},
            {"name": "edged", "architecture": small, "match_edges": True, "views": {"flip": True}},
        ],
        "teach": {"epochs": 2, "batch": 4},
        "fuse": {"keep": 0.0, "drop": 0.0},
        "predict": {"floor": 0.001},
    }
    told = []
    runs = tmp_path / "runs"
    result = da_kd.run(parse_recipe(tree, (), tmp_path), runs / "first", until="fuse", job=Job(told.append))
    steps = {step.name: step.folder for step in result.steps}
    assert [name for name in steps if name.endswith(("tuned", "edged"))] == [
        "teach:tuned", "tune:tuned", "teach:edged", "edges:edged", "predict:tuned", "predict:edged"
    ]  # fmt: skip
    said = [event.text for event in told if isinstance(event, Note)]
    assert any(text.startswith("Teacher 'tuned' went on with 3 labelled target images") for text in said)
    before, after = (read_weights(steps[name]) for name in ("teach:tuned", "tune:tuned"))
    assert set(before) == set(after)
    assert any((before[name] != after[name]).any() for name in before)
    assert (steps["edges:edged"] / "edges.json").is_file()
    judged = {text.split("'")[1] for text in said if "by the edges" in text or "stay as they are" in text}
    assert judged == {"RBC", "WBC", "Platelets"}


def read_weights(folder):
    """Return what was trained, by name."""
    from da_kd.teachers.ultralytics import load_detector

    return {name: value.float() for name, value in load_detector(folder / "weights.pt").model.state_dict().items()}
