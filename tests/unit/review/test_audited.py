"""The audit in the journal: its truth, its chances, what is written of it, and images that are held back."""

import dataclasses
import json

import numpy as np
import pytest

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.events import Job
from da_kd.pipeline import Run, audit_run, load_inputs, run
from da_kd.recipe import Audit, Review, Simulate
from da_kd.stages import review
from da_kd.stages.review import journal
from da_kd.stages.review.audit import compare_with_truth, figures
from da_kd.stages.review.audited import audit_digest, hold_back, second_digest, seen_twice, truth_of_audit
from da_kd.stages.review.journal import Box, Entry, image_id, second_look
from da_kd.stages.review.sample import draw
from da_kd.store import Store

NAMES = ("RBC", "WBC")
PLACE = (10.0, 10.0, 50.0, 50.0)
OTHER = (100.0, 10.0, 140.0, 50.0)


def done(sha, chance=0.5, place=None):
    return Entry(sha, "complete", image_id(sha), "run@1", probability=chance, draw=place)


def said(sha, action, label="l1", place=PLACE, name="RBC"):
    box = Box(name, place)
    before, after = None if action == "added" else box, None if action == "rejected" else box
    return Entry(sha, action, f"{sha}-{label}", "run@1", before, after)


@pytest.fixture
def labels():
    """Four images with one box each."""
    records = [ImageRecord(f"{at}.png", f"sha{at}", 200, 99) for at in range(4)]
    return table_of(NAMES, records, {r.key: Detections(NAMES, [PLACE], [0.9], [0]) for r in records})


def test_the_truth_of_an_audited_image_is_what_people_left_and_added(labels):
    entries = [
        *(said("sha0", "accepted"), said("sha0", "added", "l2", OTHER, "WBC"), done("sha0")),
        *(said("sha1", "rejected"), done("sha1")),
        said("sha2", "accepted"),  # not done
        *(said("sha3", "accepted"), done("sha3", None)),  # done, but not of the audit
    ]
    truth, chances = truth_of_audit(labels, entries)
    assert truth.key == ("0.png", "1.png")
    assert sorted(truth.at(0).label.tolist()) == [0, 1]
    assert len(truth.at(1)) == 0
    assert truth.searched.all()
    assert chances == {"sha0": 0.5, "sha1": 0.5}


def test_half_an_audit_counts_as_one_of_half_the_size(labels):
    _, chances = truth_of_audit(labels, [done("sha0")])
    assert chances == {"sha0": 0.25}


def test_an_audit_that_changes_has_another_digest_and_none_has_none(labels):
    entries = [said("sha0", "accepted"), done("sha0")]
    assert audit_digest(labels, [said("sha0", "accepted")]) == ""
    digests = [
        audit_digest(labels, changed)
        for changed in (entries, [said("sha0", "rejected"), done("sha0")], [*entries, done("sha1")])
    ]
    assert len(set(digests)) == 3
    assert audit_digest(labels, [*entries, said("sha2", "rejected")]) == digests[0]


def test_agreeing_with_an_audited_image_in_a_later_round_does_not_change_the_digest(labels):
    entries = [said("sha0", "accepted"), done("sha0")]
    later = [dataclasses.replace(entry, dataset="run@2") for entry in entries]
    assert audit_digest(labels, [*entries, *later]) == audit_digest(labels, entries)


def test_images_held_back_are_not_usable_and_keep_their_boxes(labels):
    result = hold_back(labels, {"sha1": 0.5})
    assert result.ok.tolist() == [True, False, True, True]
    assert result.xyxy.tolist() == labels.xyxy.tolist()


def given(labels, tmp_path):
    return review.ReviewInput(tmp_path, labels, "run", "print", audit=Audit(images=2))


@pytest.mark.parametrize("release", [False, True])
def test_audited_images_are_kept_out_of_training_unless_released(labels, tmp_path, release):
    entries = [said("sha0", "accepted"), done("sha0"), said("sha1", "rejected"), done("sha1")]
    journal.append(tmp_path, entries)
    config = Review(mode="human", audit=Audit(images=2, release=release))
    review.finish(config, given(labels, tmp_path), tmp_path, tmp_path, Job())
    assert read_table(tmp_path / "labels.parquet").ok.tolist() == [release, release, True, True]


def test_the_audit_measures_the_labels_and_the_reviewer(labels, tmp_path):
    entries = [said("sha0", "accepted"), done("sha0"), said("sha1", "rejected"), done("sha1")]
    journal.append(tmp_path, entries)
    review.measure(given(labels, tmp_path), tmp_path, tmp_path, Job())
    told = json.loads((tmp_path / "audit.json").read_text())
    assert told["images_audited"] == 2
    assert told["all"]["as_kept"]["precision"]["value"] == 0.5
    assert told["reviewer"]["error"]["value"] is None


def again(*entries, dataset="run@1"):
    """The same decisions, made when the images were shown a second time."""
    return [
        dataclasses.replace(
            entry,
            sha=second_look(entry.sha),
            label_id=entry.label_id.replace(entry.sha, second_look(entry.sha)),
            probability=None,
            dataset=dataset,
        )
        for entry in entries
    ]


def test_a_second_look_is_no_label_and_tells_where_the_reviewer_differs(labels, tmp_path):
    first = [said("sha0", "accepted"), done("sha0"), said("sha1", "rejected"), done("sha1")]
    second = again(said("sha0", "accepted"), done("sha0"), said("sha1", "accepted"), done("sha1"))
    journal.append(tmp_path, [*first, *second])
    review.finish(Review(mode="human"), given(labels, tmp_path), tmp_path, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.state.tolist() == [State.KEPT, State.DROPPED, State.KEPT, State.KEPT]
    review.measure(given(labels, tmp_path), tmp_path, tmp_path, Job())
    told = json.loads((tmp_path / "audit.json").read_text())
    assert told["images_audited"] == 2
    reviewer = told["reviewer"]
    assert (reviewer["images"], reviewer["decisions"], reviewer["differ"]["value"]) == (2, 2, 0.5)


def test_a_second_look_that_is_not_done_counts_nothing_and_of_two_the_later_counts(labels):
    first = [said("sha0", "accepted"), done("sha0")]
    wrong = again(said("sha0", "rejected"), done("sha0"))
    assert len(seen_twice(labels, [*first, *again(said("sha0", "accepted"))])[1]) == 0
    assert len(seen_twice(labels, again(said("sha0", "accepted"), done("sha0")))[1]) == 0
    assert second_digest(labels, first) == ""
    later = again(said("sha0", "accepted"), done("sha0"), dataset="run@2")
    _, second = seen_twice(labels, [*first, *wrong, *later])
    assert len(second.at(0)) == 1
    assert second_digest(labels, [*first, *wrong]) != second_digest(labels, [*first, *wrong, *later])


def test_a_simulated_review_leaves_labels_but_no_journal(labels, tmp_path):
    moved = table_of(NAMES, _records(labels), {"0.png": Detections(NAMES, [OTHER], [1], [1])})
    config = Simulate(budget=2, order="random")
    only_first = dataclasses.replace(moved, reason=("", "bad", "bad", "bad"))
    review.simulated(config, given(labels, tmp_path), only_first, 0, tmp_path, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.at(0).label.tolist() == [1]
    assert table.state[table.protected].tolist().count(State.KEPT) == 1
    assert journal.read(tmp_path) == []
    counts = json.loads((tmp_path / "review.json").read_text())
    assert (counts["rejected"], counts["added"]) == (1, 1)
    assert (counts["F1"], counts["class_F1"]) == (1.0, 1.0)


def _records(table):
    return [ImageRecord(key, sha, 200, 99) for key, sha in zip(table.key, table.sha, strict=True)]


def test_what_a_real_person_decided_stays_under_a_simulated_review(labels, tmp_path):
    journal.append(tmp_path, [said("sha0", "rejected")])
    truth = table_of(NAMES, _records(labels), {key: labels.at(at) for at, key in enumerate(labels.key)})
    config = Simulate(budget=0, order="random")
    review.simulated(config, given(labels, tmp_path), truth, 0, tmp_path, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.state.tolist() == [State.DROPPED, State.KEPT, State.KEPT, State.KEPT]
    assert table.protected.tolist() == [True, False, False, False]
    assert np.diff(table.offsets).tolist() == [1, 1, 1, 1]


def warnings(act) -> list[str]:
    """Return what a job is warned of."""
    events: list = []
    act(Job(events.append))
    return [event.text for event in events if getattr(event, "level", "") == "warning"]


def test_images_done_behind_a_skipped_one_do_not_measure_and_are_told_once(labels, tmp_path):
    entries = [done("sha2", place=0), done("sha0", place=2), done("sha3", place=3)]
    truth, chances = truth_of_audit(labels, entries)
    assert truth.key == ("2.png",)
    assert chances == {"sha2": 0.25}
    journal.append(tmp_path, entries)
    (told,) = warnings(lambda job: review.measure(given(labels, tmp_path), tmp_path, tmp_path, job))
    assert told.startswith("2 of 3 audited images that are done do not measure")
    assert json.loads((tmp_path / "audit.json").read_text())["images_audited"] == 1
    entries.append(done("sha1", place=1))
    assert len(truth_of_audit(labels, entries)[1]) == 4
    assert warnings(lambda job: truth_of_audit(labels, entries, job)) == []


def test_an_audit_without_a_gap_or_without_an_order_is_what_it_was(labels):
    plain = [said("sha0", "rejected"), done("sha0"), done("sha3")]
    placed = [said("sha0", "rejected"), done("sha0", place=1), done("sha3", place=0)]
    assert truth_of_audit(labels, placed)[1] == truth_of_audit(labels, plain)[1]
    assert audit_digest(labels, placed) == audit_digest(labels, plain)
    old = [done("sha0"), done("sha3", place=5)]  # of an earlier version in part
    assert warnings(lambda job: truth_of_audit(labels, old, job)) == []
    assert len(truth_of_audit(labels, old)[1]) == 2


def test_an_audit_that_goes_on_with_labels_made_anew_has_no_gap(labels):
    first = [done("sha0", place=0), done("sha1", place=1)]
    later = [
        dataclasses.replace(done("sha1", place=0), dataset="run@2"),
        dataclasses.replace(done("sha2", place=2), dataset="run@2"),
    ]
    assert set(truth_of_audit(labels, [*first, *later])[1]) == {"sha0", "sha1", "sha2"}


def test_what_is_done_behind_a_skipped_image_changes_no_digest_but_is_held_back_and_seen_twice(labels, tmp_path):
    first = [said("sha0", "accepted"), done("sha0", place=0)]
    behind = [said("sha1", "accepted"), done("sha1", place=2)]
    assert audit_digest(labels, [*first, *behind]) == audit_digest(labels, first)
    journal.append(tmp_path, [*first, *behind])
    config = Review(mode="human", audit=Audit(images=3))
    review.finish(config, given(labels, tmp_path), tmp_path, tmp_path, Job())
    assert read_table(tmp_path / "labels.parquet").ok.tolist() == [False, False, True, True]
    twice = again(said("sha1", "accepted"), done("sha1"))
    assert seen_twice(labels, [*first, *behind, *twice])[0].sha == ("sha1",)


def test_the_first_of_an_audit_measures_all_images_though_hard_ones_were_skipped():
    """The reviewer leaves out the last half of the draw but for its easy images; labels of hard ones are wrong."""
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5
    records = [ImageRecord(f"{at}.png", f"sha{at}", 200, 99) for at in range(400)]
    fused = table_of(NAMES, records, {r.key: Detections(NAMES, [PLACE], [0.9], [0]) for r in records})
    drawn = draw(fused, 200, 0)
    entries = []
    for place, at in enumerate(drawn.images.tolist()):
        if place < 100 or not hard[at]:
            entries += [said(f"sha{at}", "rejected" if hard[at] else "accepted")]
            entries += [done(f"sha{at}", float(drawn.probability[at]), place)]
    truth, chances = truth_of_audit(fused, entries)
    told = figures(compare_with_truth(fused, truth, chances))["all"]["as_kept"]["precision"]
    assert len(chances) >= 100
    assert abs(told["value"] - (1 - hard.mean())) < 0.1
    assert told["low"] < 1 - hard.mean() < told["high"]


def test_fuse_and_a_contest_of_models_tell_of_skipped_images(recipe, tmp_path):
    mine, place = recipe("fuse.thresholds.by=audit"), Run(tmp_path / "runs" / "small")
    run(mine, place.folder, until="fuse")
    (one, other) = load_inputs(mine, Store(place.workspace), Job()).get("target").table.sha
    journal.append(place.workspace, [done(one, 1.0, 0), done(other, 1.0, 2)])
    for act in (
        lambda job: run(mine, place.folder, until="fuse", job=job),
        lambda job: audit_run(place, "one", "one", "ultralytics", job),
    ):
        assert [text for text in warnings(act) if "do not measure" in text] == [
            "1 of 2 audited images that are done do not measure, since images drawn before them were skipped: complete "
            "those too, in the audit's view in 'da-kd review'."
        ]
