"""Labels made anew, and weights by score: what the steps hand over for them, and which students that makes anew."""

import json

import numpy as np
import pytest

from da_kd.detections import Detections, State, table_of
from da_kd.detections import ImageRecord as Record
from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.run import run
from da_kd.pipeline.steps import build_steps
from da_kd.stages import distill
from da_kd.stages.review import journal
from da_kd.stages.review.journal import Box, Entry, image_id
from da_kd.store import Store

ONE = "{name: one, kind: coco_file, weights: one.json, options: {images: list.json}}"
TWO = (
    "{name: two, kind: coco_file, weights: two.json, options: {images: list.json}, classes: {RBC: null, WBC: null, %s}}"
)
FINE = f"teachers=[{ONE}, {TWO % 'dirt: null'}]"
COARSE = f"teachers=[{ONE}, {TWO % 'dirt: [RBC, WBC]'}]"
REFRESHED = "distill={epochs: 1, refresh: {every: 1, start: 0, share: 0.3}}"
PLACE = [1.0, 1.0, 5.0, 5.0]  # nobody says a thing there but of dirt


@pytest.fixture
def handed(recipe, world, tmp_path, monkeypatch):
    """Return a function that labels by a recipe and returns what its student's training is given."""
    dirt = [{"image_id": 0, "category_id": 3, "bbox": [1, 1, 4, 4], "score": 0.9}]
    (world / "two.json").write_text(json.dumps(dirt))

    def of(*changes):
        given = {}
        mine, store = recipe(*changes, "review.mode=skip", "finetune=null", "evaluate=null"), Store(tmp_path / "runs")
        run(mine, tmp_path / "runs" / "small", until="review")
        steps = build_steps(mine, load_inputs(mine, store, Job()), store)
        monkeypatch.setattr(distill, "run", lambda *said, **_: given.update(labels=said[2].table, refresh=said[7]))
        steps["student"].work(tmp_path, Job())
        return given["labels"], given["refresh"].relabel

    return of


def said_of(labels, *boxes):
    """Return what a student says of every image."""
    found = Detections(
        labels.vocabulary, np.array(boxes, np.float32).reshape(-1, 4), [0.9] * len(boxes), [1] * len(boxes)
    )
    records = [Record(key, sha, *size) for key, sha, size in zip(labels.key, labels.sha, labels.size, strict=True)]
    return table_of(labels.vocabulary, records, dict.fromkeys(labels.key, found))


def kept_at(labels, place):
    return labels.image_index[(labels.xyxy == place).all(axis=1) & (labels.state == State.KEPT)].tolist()


def test_a_silent_student_makes_nothing_of_a_box_of_one_of_several_classes(handed) -> None:
    labels, relabel = handed(COARSE, REFRESHED)
    assert (labels.xyxy == PLACE).all(axis=1).sum() == 2
    made = relabel(labels, said_of(labels), Job())
    assert kept_at(made, PLACE) == []
    assert (made.xyxy == PLACE).all(axis=1).sum() == 2


def test_nothing_is_added_to_images_that_a_person_completed_as_empty(handed, tmp_path) -> None:
    silent = f"teachers=[{TWO % 'dirt: WBC'}, {TWO.replace('two,', 'three,') % 'dirt: RBC'}]"
    share = REFRESHED.replace("0.3", "0.9")
    labels, relabel = handed(silent, share)
    assert kept_at(relabel(labels, said_of(labels, PLACE), Job()), PLACE) == [0, 1, 2, 3]
    journal.append(tmp_path / "runs", [Entry(sha, "complete", image_id(sha), "d") for sha in labels.sha[1:3]])
    labels, relabel = handed(silent, share)
    assert kept_at(relabel(labels, said_of(labels, PLACE), Job()), PLACE) == [0, 3]


def test_only_students_that_would_come_out_otherwise_are_made_again(recipe, steps, tmp_path) -> None:
    def again(*changes):
        return {name for name, step in steps(recipe(*changes)).items() if step.output.version > 1}

    trained = {"student", "finetuned"}
    assert not trained & again(FINE, REFRESHED)
    assert not trained & again(COARSE)
    assert trained & again(COARSE, REFRESHED) == {"student"}

    sha = load_inputs(recipe(), Store(tmp_path / "runs"), Job()).get("target").table.sha[0]
    done, added = (
        Entry(sha, "complete", image_id(sha), "d"),
        Entry(sha, "added", "x", "d", None, Box("RBC", (1, 1, 5, 5))),
    )
    journal.append(tmp_path / "runs", [done])
    assert "review.completed" in steps(recipe(FINE, REFRESHED))["student"].output.parts
    assert "review.completed" not in steps(recipe(FINE))["student"].output.parts
    journal.append(tmp_path / "runs", [added])  # now the labels tell
    assert "review.completed" not in steps(recipe(FINE, REFRESHED))["student"].output.parts


def test_weights_by_score_make_a_student_again_only_where_ground_truth_has_scores(recipe, steps, world) -> None:
    weighed = ("distill={epochs: 1, weight: score, mix: {source: 1}}", "finetune={epochs: 1, mix: {pseudo: 1}}")
    made = steps(recipe(FINE, *weighed))
    assert [made[name].output.version for name in ("student", "finetuned")] == [1, 1]

    images = [{"id": n, "file_name": f"images/{n}.png", "width": 16, "height": 16} for n in range(4)]
    categories = [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]
    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 4, 4], "score": 0.3} for n in range(4)]
    tree = {"images": images, "categories": categories, "annotations": rows}
    for name in ("source", "labelled"):
        (world / "data" / name / "scored.json").write_text(json.dumps(tree))
    scored = ("data.source.path=source/scored.json", "data.target_labelled.path=labelled/scored.json")
    made = steps(recipe(FINE, *scored, *weighed))
    assert [made[name].output.version for name in ("student", "finetuned")] == [2, 3]
    plain = steps(recipe(FINE, *scored))
    assert [plain[name].output.version for name in ("student", "finetuned")] == [1, 1]
