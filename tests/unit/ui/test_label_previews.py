"""What page 3 shows under other settings is what *fuse* makes of them: merging, thresholds, lonely boxes, guard."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, ImageRecord, State, table_of
from da_kd.errors import InputError
from da_kd.events import Job
from da_kd.recipe import load_recipe
from da_kd.stages import fuse
from da_kd.ui.pages import labels as page
from da_kd.ui.queries import labels
from da_kd.ui.queries.labels import Merging
from da_kd.ui.queries.sets import inputs_of

CLASSES = ("cat", "dog")
IMAGES = 14
RECIPE = """\
schema: 1
name: demo
classes: [cat, dog]
data: {root: ROOT, target: {path: away}, source_val: {path: home.json, images: home}}
teachers:
  - {name: a, weights: a.pt, class_weights: {dog: 3.0}}
  - {name: b, weights: b.pt}
fuse: {keep: 0.5, drop: 0.1, FUSE}
"""
OFF = "guard: {mode: 'off'}"
RULES = {
    "plain": OFF,
    "lonely demoted": f"lonely: demote, {OFF}",
    "lonely dropped": f"lonely: drop, {OFF}",
    "calibrated": f"calibrate: logistic, {OFF}",
    "computed": f"thresholds: {{by: quantile, quantile: 0.4}}, {OFF}",
    "guarded": "guard: {mode: warn, demote: true}",
}


def said(keys, shas, random, dogs=0.8):
    """Return what a teacher may have said of images of 100 pixels: three cats and a dog each, and as much nonsense."""
    found, records = {}, []
    for key, sha in zip(keys, shas, strict=True):
        true = np.array([[10, 10, 40, 40], [50, 50, 80, 80], [10, 60, 40, 90], [60, 10, 90, 40]], float)
        wrong = random.uniform(0, 60, (4, 2))
        xyxy = np.concatenate([true + random.normal(0, 1, true.shape), np.concatenate([wrong, wrong + 25], axis=1)])
        score = np.concatenate([random.uniform(0.4, 1, 3), random.uniform(0, dogs, 1), random.uniform(0.02, 0.6, 4)])
        label = np.array([0, 0, 0, 1, *random.integers(0, 2, 4)], np.int32)
        found[key] = Detections(CLASSES, xyxy.clip(0, 100).astype(np.float32), score.astype(np.float32), label)
        records.append(ImageRecord(key, sha, 100, 100))
    return table_of(CLASSES, records, found)


@pytest.fixture
def make(settings, run, finished):
    """Return a run with predictions of two teachers, at home as well, and the labels that *fuse* made of them."""

    def made(rules):
        random = np.random.default_rng(3)
        for name in ("away", "home"):
            (settings.start / name).mkdir()
            for number in range(IMAGES):
                pixels = random.integers(0, 255, (100, 100, 3), np.uint8)
                Image.fromarray(pixels).save(settings.start / name / f"{number:02}.png")
        corners = [(10, 10, 1), (50, 50, 1), (10, 60, 1), (60, 10, 2)]
        boxes = [
            {"id": 1 + 4 * image + at, "image_id": image + 1, "category_id": kind, "bbox": [x, y, 30, 30]}
            for image in range(IMAGES)
            for at, (x, y, kind) in enumerate(corners)
        ]
        names = [{"id": at + 1, "file_name": f"{at:02}.png", "width": 100, "height": 100} for at in range(IMAGES)]
        kinds = [{"id": at + 1, "name": name} for at, name in enumerate(CLASSES)]
        tree = {"images": names, "annotations": boxes, "categories": kinds}
        (settings.start / "home.json").write_text(json.dumps(tree))
        (run.folder / "recipe.yaml").write_text(RECIPE.replace("ROOT", str(settings.start)).replace("FUSE", rules))
        sets = inputs_of(run).sets
        for teacher in ("a", "b"):
            for step, name in (("", "target"), (":source_val", "source_val")):
                table = sets[name].table
                place = finished(f"predict:{teacher}{step}", "predict") / "shards"
                place.mkdir()
                dogs = 0.8 if name == "source_val" else 0.3  # on the target, dogs are hardly seen
                said(table.key, table.sha, random, dogs).write(place / "00000.parquet")
        as_fused(run, run.recipe(), finished("fuse", "fuse"))
        return run

    return made


def as_fused(run, recipe, out):
    """Let the stage make the labels of a run with a recipe, and return them."""
    names = [teacher.name for teacher in recipe.teachers]
    there = {name: labels.predictions_at(labels.outputs(run)[f"predict:{name}"]) for name in names}
    home = {name: labels.predictions_at(labels.outputs(run)[f"predict:{name}:source_val"]) for name in names}
    sample = fuse.Sample("source_val", inputs_of(run).sets["source_val"].table, home, held_out=True)
    fuse.run(recipe.teachers, there, recipe.fuse, recipe.classes, out, Job(), {"source_val": sample})
    return labels.table_at(out / "labels.parquet")


def same(one, other):
    columns = ("xyxy", "score", "label", "state", "searched", "agreement", "offsets")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_the_runs_own_settings_show_its_own_labels(make, rules):
    run = make(rules)
    shown = labels.preview(run, labels.cuts_of(run), labels.merging_of(run))
    assert same(shown.table, labels.fused(run))
    assert shown.rows.tolist() == list(range(IMAGES)) and shown.of == IMAGES


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_other_settings_show_what_the_run_would_make_of_them(make, tmp_path, rules):
    run, merging = make(rules), Merging("nms", 0.4)
    cuts = {"cat": (0.7, 0.2), "dog": (0.35, 0.05)}
    shown = labels.preview(run, cuts, merging)
    recipe = load_recipe(run.folder / "recipe.yaml", labels.changes(run, cuts, merging)[1::2])
    (tmp_path / "out").mkdir()
    assert same(shown.table, as_fused(run, recipe, tmp_path / "out"))


def test_the_guards_verdict_follows_a_threshold(make):
    run = make(RULES["guarded"])
    own, merging = labels.cuts_of(run), labels.merging_of(run)
    before, after = (labels.preview(run, cuts, merging) for cuts in (own, {**own, "dog": (0.05, 0.01)}))
    assert before.verdict.demoted == ("dog",) and after.verdict.demoted == ()
    dogs = after.table.label == 1
    assert not (before.table.state[before.table.label == 1] == State.KEPT).any()
    assert (after.table.state[dogs] == State.KEPT).any()
    assert "lost, not trained on" in page._guard(before.verdict)
    assert "not trained on" not in page._guard(after.verdict)


def test_of_a_large_set_some_images_stand_for_all(make, monkeypatch):
    run = make(RULES["plain"])
    monkeypatch.setattr(labels, "_MOST", 5 * 16)  # boxes of both teachers in five images
    monkeypatch.setattr(labels, "_FEWEST", 2)
    shown = labels.preview(run, labels.cuts_of(run), Merging("nms", 0.45))
    assert shown.rows.tolist() == [0, 3, 6, 9, 13] and shown.of == IMAGES
    assert [shown.table.key[at] for at in (0, 4)] == ["00.png", "13.png"]
    assert "Of 5 of 14 target images" in page._counts(shown)


def test_predictions_that_are_gone_are_told(make):
    run = make(RULES["plain"])
    (labels.outputs(run)["predict:b"] / "output.json").unlink()
    with pytest.raises(InputError, match="predictions of teacher 'b' are not there"):
        labels.preview(run, labels.cuts_of(run), Merging("nms", 0.5))


def test_thresholds_that_cross_are_refused(make):
    run = make(RULES["plain"])
    with pytest.raises(InputError, match="lie under"):
        labels.preview(run, {"cat": (0.2, 0.3), "dog": (0.5, 0.1)}, labels.merging_of(run))
