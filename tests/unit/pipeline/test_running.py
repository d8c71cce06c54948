"""Real runs up to the review, with stored predictions for teachers: what is made, reused, and written down."""

import json

import pytest

import da_kd
from da_kd.detections import State, read_table
from da_kd.errors import Cancelled, DataError, InputError, RecipeError
from da_kd.events import Event, Job, Progress, StageDone, StageStarted
from da_kd.pipeline import Run, load_inputs, plan, resume
from da_kd.pipeline.reporting import collect_metrics, make_report
from da_kd.pipeline.steps import build_steps
from da_kd.store import Store

STEPS = ["predict:one", "fuse", "review"]


@pytest.fixture
def lean(recipe):
    """The recipe with stored predictions alone."""

    def make(*changes):
        one = "teachers=[{name: one, kind: coco_file, weights: one.json, options: {images: list.json}}]"
        return recipe(one, "finetune=null", "evaluate=null", *changes)

    return make


def test_a_run_makes_its_steps_once(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    told: list[Event] = []
    result = da_kd.run(lean(), folder, until="review", job=Job(told.append))
    assert [step.name for step in result.steps] == STEPS
    assert not result.did_nothing
    table = read_table(result.labels)
    assert table.score.tolist() == pytest.approx([0.9] * 4)
    assert (table.state == State.KEPT).all()
    assert [event.name for event in told if isinstance(event, StageStarted)] == STEPS
    again = da_kd.run(lean(), folder, until="review")
    assert again.did_nothing
    assert again.labels == result.labels
    state = Run(folder).state()
    assert (state.state, list(state.steps)[:3]) == ("done", STEPS)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    done = [(line["name"], line["reused"]) for line in lines if line["kind"] == StageDone.kind]
    assert done == [(name, reused) for reused in (False, True) for name in STEPS]


def test_a_second_run_shares_what_is_the_same_and_says_why_the_rest_is_not(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    da_kd.run(lean(), folder, until="review")
    other = da_kd.run(lean("fuse.keep=0.95"), tmp_path / "runs" / "second", until="fuse")
    assert [(step.name, step.reused, step.why) for step in other.steps] == [
        ("predict:one", True, ""),
        ("fuse", False, ""),  # this run never had another
    ]
    changed = da_kd.run(lean("fuse.keep=0.96"), folder, until="review")
    assert [(step.name, step.reused, step.why) for step in changed.steps] == [
        ("predict:one", True, ""),
        ("fuse", False, "fuse.keep.default: 0.5 -> 0.96"),
        ("review", False, "fuse changed"),
    ]
    assert (read_table(changed.labels).state == State.UNCERTAIN).all()
    assert Run(folder).recipe().fuse.keep == {"default": 0.96}


def test_what_is_refused_before_any_work_leaves_a_finished_run_as_it_was(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    da_kd.run(lean(), folder, until="review")
    before = {name: (folder / name).read_text() for name in ("run.json", "recipe.yaml")}
    with pytest.raises(DataError):
        da_kd.run(lean("data.target.path=nowhere"), folder, until="review")
    assert {name: (folder / name).read_text() for name in before} == before


def test_a_run_that_was_refused_before_it_ever_worked_says_why(lean, tmp_path):
    place = Run(tmp_path / "runs" / "first")
    for path in ("nowhere", "elsewhere"):
        with pytest.raises(DataError):
            da_kd.run(lean(f"data.target.path={path}"), place.folder, until="review")
        state = place.state()
        assert (state.state, state.stage) == ("failed", "data") and path in state.message
        assert place.recipe().data.target.path == path


def test_a_run_is_at_its_last_stage_also_where_all_was_there(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    for _ in range(2):
        da_kd.run(lean(), folder, until="review")
        assert Run(folder).state().stage == "review"


def test_a_plan_tells_what_a_run_would_do(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    _, before = plan(lean(), folder)
    assert [(step.name, step.reused) for step in before] == [*((name, False) for name in STEPS), ("student", False)]
    assert all(step.seconds > 0 and not step.measured for step in before)
    assert not folder.exists()
    da_kd.run(lean(), folder, until="review")
    _, after = plan(lean("fuse.iou=0.6"), folder)
    assert [(step.name, step.reused, step.why) for step in after] == [
        ("predict:one", True, ""),
        ("fuse", False, "fuse.iou: 0.55 -> 0.6"),
        ("review", False, "fuse changed"),
        ("student", False, ""),  # it was never made, so nothing changed since
    ]
    assert [step.measured for step in after] == [True, True, True, False]


def test_a_stopped_run_says_so_and_goes_on(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    told: list[Event] = []

    def in_fuse() -> bool:
        return any(isinstance(event, Progress) and event.task == "merging" for event in told)

    with pytest.raises(Cancelled):
        da_kd.run(lean(), folder, until="review", job=Job(told.append, in_fuse))
    state = Run(folder).state()
    assert (state.state, state.stage) == ("cancelled", "fuse")
    assert "goes on from here" in state.message
    result = resume(folder, until="review")
    assert [(step.reused, step.why) for step in result.steps][:2] == [
        (True, ""),
        (False, "goes on where it was interrupted"),
    ]
    assert Run(folder).state().state == "done"


def test_a_failed_run_says_why(lean, world, tmp_path):
    for index in range(4):
        (world / "data" / "target" / "images" / f"{index}.png").write_bytes(b"junk")
    with pytest.raises(DataError, match="unreadable"):
        da_kd.run(lean(), tmp_path / "runs" / "first")
    state = Run(tmp_path / "runs" / "first").state()
    assert (state.state, state.stage) == ("failed", "data")
    assert "found 4 of 4" in state.message
    assert state.ended >= state.started


def test_a_stricter_max_bad_is_asked_of_predictions_that_are_there(lean, world, tmp_path):
    listed = json.loads((world / "list.json").read_text())
    del listed["images"][3]
    (world / "list.json").write_text(json.dumps(listed))
    (world / "one.json").write_text(json.dumps(json.loads((world / "one.json").read_text())[:3]))
    da_kd.run(lean("predict.max_bad=0.25"), tmp_path / "runs" / "first", until="review")
    with pytest.raises(DataError, match=r"at most 20% unreadable target images; found 1 of 4 \(images/3\.png: "):
        da_kd.run(lean("predict.max_bad=0.2"), tmp_path / "runs" / "second", until="review")
    again = da_kd.run(lean("predict.max_bad=0.25"), tmp_path / "runs" / "second", until="review")
    assert again.did_nothing


def test_a_report_is_written_anew_where_the_labels_it_judges_by_changed(lean, world, tmp_path):
    place, store = Run(tmp_path / "runs" / "first"), Store(tmp_path / "runs")
    given = lean()
    da_kd.run(given, place.folder, until="review")

    def report():
        inputs = load_inputs(given, store, Job())
        steps = build_steps(given, inputs, store)
        return make_report(given, place, inputs, steps, store, collect_metrics(given, steps, store), Job())[1]

    assert [report().reused for _ in range(2)] == [False, True]
    (world / "data" / "labelled" / "labels" / "0.txt").write_text("")
    assert [report().reused for _ in range(2)] == [False, True]


def test_a_stage_that_does_not_exist_is_refused(lean, tmp_path):
    folder = tmp_path / "runs" / "first"
    with pytest.raises(InputError, match=r"Expected one of the stages teach, .*; found 'train'"):
        da_kd.run(lean(), folder, until="train")
    assert not folder.exists()
    da_kd.run(lean(), folder, until="predict")
    with pytest.raises(InputError, match="found 'train'"):
        resume(folder, until="train")
    with pytest.raises(InputError, match="there is none"):
        resume(tmp_path / "nowhere")


def test_what_would_end_a_later_training_is_told_before_the_first_step(lean, tmp_path):
    wrong = lean("distill.args={moasic: 1}")
    with pytest.raises(RecipeError, match=r"distill\.args: 'moasic'"):
        da_kd.run(wrong, tmp_path / "runs" / "first")
    assert not list((tmp_path / "runs").glob("store/*/*/output.json"))
    da_kd.run(wrong, tmp_path / "runs" / "first", until="fuse")


def test_a_class_that_no_source_label_teaches_is_refused(recipe, tmp_path):
    changes = ("classes=[RBC, WBC, Dog]", "teachers=[{name: own, architecture: {imgsz: 64}}]")
    with pytest.raises(DataError, match=r"data\.source: expected labels for every class .* found none for 'Dog'"):
        da_kd.run(recipe(*changes), tmp_path / "runs" / "first")
