"""The report tells the thresholds that were used, and whose labels they were chosen by."""

import json

import pytest

from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.reporting import _edges, _scales, _thresholds
from da_kd.pipeline.used import labels_of_pseudo
from da_kd.store import Store


def test_the_thresholds_that_were_used_are_told(recipe, steps, tmp_path):
    made = recipe("fuse.thresholds.by=source_distribution", "fuse.keep=0.3", folder=tmp_path / "world")
    made = made.model_copy(update={"teachers": made.teachers[:1]})
    built = steps(made)
    assert _thresholds(made, {}, "keep") == {"RBC": 0.3, "WBC": 0.3}  # nothing is made yet
    store = tmp_path / "runs" / "store"
    for name in ("predict:one", "fuse"):
        out = store / built[name].output.stage / built[name].output.fingerprint
        out.mkdir(parents=True)
        built[name].work(out, Job())
    done = {"fuse": out}
    assert _thresholds(made, done, "keep") == pytest.approx({"RBC": 0.9, "WBC": 0.9})  # all scores are the same
    assert _thresholds(made, done, "drop")["RBC"] == 0.4 * _thresholds(made, done, "keep")["RBC"]
    assert labels_of_pseudo(made, out) == ["Pseudo labels: thresholds by the labels of data.source (4 images)."]


def test_used_target_labels_are_called_so(recipe, tmp_path):
    tree = {"labels": {"set": "target_dev", "images": 12}}
    (tmp_path / "calibration.json").write_text(json.dumps(tree))
    (told,) = labels_of_pseudo(recipe(), tmp_path)
    assert told.startswith(
        "Pseudo labels: calibration by the labels of data.target_dev (12 images); these are labels of"
    )
    assert labels_of_pseudo(recipe(), None) == []


def test_held_out_images_that_teachers_learned_from_are_told(recipe, tmp_path):
    made = recipe("data.source_val={path: source, fraction: 0.5}", folder=tmp_path / "world")
    (note,) = load_inputs(made, Store(tmp_path / "runs"), Job()).notes
    assert note.startswith("2 images of data.source_val are also in data.source (same content)")
    apart = recipe("data.source_val={path: labelled}", folder=tmp_path / "world")
    assert list(load_inputs(apart, Store(tmp_path / "runs"), Job()).notes) == []


def test_target_images_that_are_learned_from_and_chosen_by_are_told(recipe, tmp_path):
    made = recipe("data.target_dev={path: labelled, fraction: 0.5}", folder=tmp_path / "world")
    (note,) = load_inputs(made, Store(tmp_path / "runs"), Job()).notes
    assert note.startswith("2 images of data.target_dev are also in data.target_labelled (same content)")


def test_labels_that_nothing_is_fitted_on_decide_no_pseudo_labels(recipe, steps):
    own = "teachers=[{name: own, architecture: {imgsz: 64}}]"  # stored predictions are of the target's images alone

    def fused(*changes):
        built = steps(recipe(own, "data.target_dev={path: labelled}", *changes))
        return built["fuse"].output.fingerprint, [name for name in built if name.endswith(":target_dev")]

    plain = steps(recipe(own))["fuse"].output.fingerprint
    assert fused() == (plain, [])
    assert fused("fuse.calibrate=logistic", "fuse.fit_on=source_val", "data.source_val={path: source}")[1] == []
    fitted, asked = fused("fuse.thresholds.by=f_beta")
    assert fitted != plain and asked == ["predict:own:target_dev"]


def test_an_input_size_that_was_matched_is_told(recipe, tmp_path):
    made = recipe("teachers.own.match_scale=true")
    (tmp_path / "scale.json").write_text('{"ratio": 1.318, "trained_px": 320, "input_px": 256}')
    (told,) = _scales(made, {"adapt:own": tmp_path})
    assert told == (
        "Teacher 'own' looks at the target at 256 px, trained at 320 px: its objects are 1.32 times as large as the "
        "source's (match_scale; no label was used)."
    )
    (tmp_path / "scale.json").write_text('{"ratio": null, "trained_px": 320, "input_px": 320}')
    (told,) = _scales(made, {"adapt:own": tmp_path})
    assert "too few objects" in told
    assert _scales(made, {}) == []


def test_boxes_that_were_moved_are_told(recipe, tmp_path):
    made = recipe("teachers.own.match_edges=true")
    figures = {"home": -0.02, "away": -0.05, "pull": 0.25, "follows": True}
    tree = {"WBC": figures, "RBC": {**figures, "follows": False}}
    (tmp_path / "edges.json").write_text(json.dumps(tree))
    (told,) = _edges(made, {"edges:own": tmp_path})
    assert told == (
        "Teacher 'own': its boxes on the target were moved by the edges in the pictures; width and height changed by: "
        "WBC -6.0% (match_edges; no label of the target was used)."
    )
    tree = {"WBC": {**figures, "labels_of_target": 4}, "RBC": {**figures, "labels_of_target": 0}}
    (tmp_path / "edges.json").write_text(json.dumps(tree))
    own = recipe("teachers.own.match_edges=target_dev", "data.target_dev={path: target}")
    (told,) = _edges(own, {"edges:own": tmp_path})
    assert "WBC -6.0%, RBC -6.0% (match_edges; as data.target_dev shows for WBC)" in told
    (tmp_path / "edges.json").write_text("{}")
    (told,) = _edges(made, {"edges:own": tmp_path})
    assert "none, for want of evidence" in told
    assert _edges(made, {}) == []
