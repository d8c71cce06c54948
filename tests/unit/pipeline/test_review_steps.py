"""What the audit and the simulated reviewer decide of a run, and what of it is told."""

import pytest

from da_kd.detections import State, read_table
from da_kd.events import Job
from da_kd.pipeline import load_inputs, review_input
from da_kd.pipeline.run import run
from da_kd.pipeline.used import labels_of_pseudo
from da_kd.recipe.load import RecipeError
from da_kd.stages.review import journal
from da_kd.stages.review.journal import Box, Entry, image_id, second_look
from da_kd.store import Store

STORED = "teachers=[{name: one, kind: coco_file, weights: one.json, options: {images: list.json}}]"
ALONE = (STORED, "distill=null", "finetune=null", "evaluate=null", "data.target_labelled.path=target")


def prints(steps):
    return {name: step.output.fingerprint for name, step in steps.items()}


@pytest.mark.parametrize(
    ("mode", "change", "matters"),
    [
        ("simulate", "review.simulate.budget=7", True),
        ("simulate", "review.simulate.order=random", True),
        ("simulate", "review.simulate.error=0.5", True),
        ("simulate", "data.target_labelled.fraction=0.5", True),
        ("simulate", "review.audit.images=3", False),
        ("human", "review.audit.images=3", True),
        ("human", "review.audit.release=true", False),  # without an audit
        ("human", "review.simulate.budget=7", False),
        ("human", "data.target_labelled.fraction=0.5", False),
        ("skip", "review.audit.images=3", False),
        ("skip", "review.simulate.budget=7", False),
        ("human", "review.images=5", False),  # how many are shown at once decides nothing
        ("auto", "review.images=5", False),
    ],
)
def test_a_key_of_the_review_matters_in_its_own_mode_only(recipe, steps, mode, change, matters):
    old, new = (prints(steps(recipe(f"review.mode={mode}", *more))) for more in ((), (change,)))
    assert (old["review"] != new["review"]) == matters
    assert old["fuse"] == new["fuse"]


def test_a_simulated_review_needs_labels(recipe):
    with pytest.raises(RecipeError, match=r"review\.mode: 'simulate' needs 'data\.target_labelled'"):
        recipe("review.mode=simulate", "data.target_labelled=null", "finetune=null", "evaluate.oracle=false")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ("review.audit.images=3", "review.audit.twice=4"),
            r"twice: expected at most as many as the 3 images.*found 4",
        ),
        (("review.mode=skip", "review.simulate.budgets=[5]"), r"budgets: needs 'review\.mode: simulate'"),
        (
            ("review.simulate.budgets=[5]", "distill.patience=2", "distill.validate_on=target_dev"),
            r"equal steps; leave 'distill\.patience' out",
        ),
    ],
)
def test_what_a_review_cannot_tell_is_refused(recipe, changes, message):
    with pytest.raises(RecipeError, match=message):
        recipe(*changes)


@pytest.mark.parametrize(
    ("changes", "most"), [((), 10_000), (("review.images=5",), 5), (("review.images=null",), None)]
)
def test_the_review_gets_as_many_images_at_once_as_the_recipe_says(recipe, steps, tmp_path, changes, most):
    mine = recipe(*ALONE, *changes)
    run(mine, tmp_path / "runs" / "small", until="fuse")
    store = Store(tmp_path / "runs")
    assert review_input(mine, load_inputs(mine, store, Job()), store, steps(mine)).most == most


def test_no_image_at_once_is_refused(recipe):
    with pytest.raises(RecipeError, match=r"review\.images"):
        recipe("review.images=0")


def test_budgets_make_steps_beside_those_of_the_run_and_change_none_of_them(recipe, steps):
    one = ("review.mode=simulate", "review.simulate.budget=7")
    plain, more = (prints(steps(recipe(*one, *changes))) for changes in ((), ("review.simulate.budgets=[7, 3, 7]",)))
    assert {name: more[name] for name in plain} == plain
    names = ["queue:0", "queue:3", "random:3", "queue:7", "random:7"]
    mine = [name for name in more if name not in plain]
    assert mine == [f"value:{what}:{name}" for what in ("review", "student", "score") for name in names]
    assert more["value:review:queue:7"] == plain["review"]
    assert more["value:student:queue:7"] == plain["student"]
    assert more["value:score:queue:7"] == plain["evaluate:student"]


def test_a_second_look_is_measured_anew_and_trains_nothing_anew(recipe, steps, tmp_path):
    mine = recipe("review.mode=human", "review.audit.images=2", "review.audit.twice=1")
    before = prints(steps(mine))
    assert before == {**prints(steps(recipe("review.mode=human", "review.audit.images=2")))}
    sha = load_inputs(mine, Store(tmp_path / "runs"), Job()).get("target").table.sha[0]
    journal.append(tmp_path / "runs", [Entry(sha, "complete", image_id(sha), "small@1", probability=1.0)])
    first = prints(steps(mine))
    again = second_look(sha)
    journal.append(tmp_path / "runs", [Entry(again, "complete", image_id(again), "small@1")])
    assert {name for name, value in prints(steps(mine)).items() if value != first[name]} == {"audit"}
    assert {"audit", "review", "student"} <= {name for name, value in first.items() if value != before[name]}


def test_a_simulated_review_is_told_in_the_report(recipe):
    assert labels_of_pseudo(recipe(), None) == []
    changes = ("review.mode=simulate", "review.simulate.budget=7", "review.simulate.error=0.1")
    (note,) = labels_of_pseudo(recipe(*changes), None)
    assert "labels of data.target_labelled" in note
    assert "7 boxes" in note
    assert "10%" in note


def reviewed(tmp_path, result, steps):
    return read_table(Store(tmp_path / "runs").path(steps["review"].output) / "labels.parquet")


def test_a_simulated_review_runs_and_protects_what_it_decided(recipe, steps, tmp_path):
    mine = recipe(*ALONE, "review.mode=simulate", "review.simulate.budget=3", "fuse.keep=0.95")
    result = run(mine, tmp_path / "runs" / "small", until="review")
    table = reviewed(tmp_path, result, steps(mine))
    assert table.protected.sum() == 3
    assert set(table.state[table.protected].tolist()) <= {State.KEPT, State.DROPPED}
    assert journal.read(tmp_path / "runs") == []


def test_what_is_decided_after_the_run_was_planned_counts_from_the_next_on(recipe, steps, tmp_path):
    mine = recipe(*ALONE)
    run(mine, tmp_path / "runs" / "small", until="fuse")
    planned, store = steps(mine)["review"], Store(tmp_path / "runs")
    (sha, *_) = load_inputs(mine, store, Job()).get("target").table.sha
    box = Box("RBC", (6, 6, 10, 10))
    journal.append(tmp_path / "runs", [Entry(sha, "rejected", "l", "small@1", box)])
    store.make(planned.output, planned.work, Job())
    assert not read_table(store.path(planned.output) / "labels.parquet").protected.any()
    run(mine, tmp_path / "runs" / "small", until="review")
    assert reviewed(tmp_path, None, steps(mine)).protected.sum() == 1


def audit(tmp_path, table, images, action="accepted"):
    """A person has done these images, and every box in them is right (or wrong)."""
    for at in images:
        sha, boxes = table.sha[at], table.at(at, (State.KEPT, State.UNCERTAIN))
        entries = []
        for row, xyxy in enumerate(boxes.xyxy.tolist()):
            box = Box(table.vocabulary[boxes.label[row]], tuple(xyxy), 0.5)
            after = box if action == "accepted" else None
            entries.append(Entry(sha, action, f"{sha}-{row}", "small@1", box, after))
        entries.append(Entry(sha, "complete", image_id(sha), "small@1", probability=1.0))
        journal.append(tmp_path / "runs", entries)


def test_fuse_learns_from_the_audit_once_there_is_one_and_again_when_it_changes(recipe, steps, tmp_path):
    plain, mine = recipe(*ALONE), recipe(*ALONE, "fuse.thresholds.by=audit", "fuse.keep=0.95")
    run(mine, tmp_path / "runs" / "small", until="review")
    first, others = prints(steps(mine)), prints(steps(plain))
    table = reviewed(tmp_path, None, steps(mine))
    assert (table.state == State.UNCERTAIN).all()  # all score 0.9
    journal.append(tmp_path / "runs", [Entry(table.sha[0], "rejected", "other", "small@1", Box("RBC", (0, 0, 9, 9)))])
    assert prints(steps(mine))["fuse"] == first["fuse"]  # no image is done
    audit(tmp_path, table, [0, 1])
    second = prints(steps(mine))
    audit(tmp_path, table, [2])
    assert len({first["fuse"], second["fuse"], prints(steps(mine))["fuse"]}) == 3
    assert prints(steps(plain))["fuse"] == others["fuse"]
    run(mine, tmp_path / "runs" / "small", until="fuse")
    told = (Store(tmp_path / "runs").path(steps(mine)["fuse"].output) / "thresholds.json").read_text()
    assert '"set": "audit"' in told
    assert '"images": 3' in told
