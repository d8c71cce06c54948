import pytest
import yaml

from da_kd.events import Job, StageDone
from da_kd.pipeline import Run, RunState, corrupt_parts, drawn_output
from da_kd.recipe import load_recipe
from da_kd.store import Store, hold


@pytest.fixture
def workspace(tmp_path, recipe, made):
    """A run that needs two outputs and two rendered sets, beside two outputs that nobody needs."""
    loaded = load_recipe(recipe)
    for spec in (loaded.data.source, loaded.data.target):
        made("data", **drawn_output(spec, loaded.seed).parts)
    made("data", render="lab_a", split="old", count=1, seed=0)
    made("teach", seed=9)
    steps = {"teach:big": {"stage": "teach", "fingerprint": made("teach", seed=0).fingerprint, "parts": {}}}
    begun = Store(tmp_path / "runs").root / "fuse" / f"{'a' * 32}.partial"
    begun.mkdir(parents=True)
    steps["fuse"] = {"stage": "fuse", "fingerprint": "a" * 32, "parts": {}}
    (Store(tmp_path / "runs").root / "predict" / f"{'b' * 32}.partial").mkdir(parents=True)
    (Store(tmp_path / "runs").root / "frames" / "0123456789abcdef").mkdir(parents=True)
    place = Run(tmp_path / "runs" / "small")
    place.keep(loaded)
    with place.taken(Job()):
        place.save(RunState(state="done", steps=steps))
    return tmp_path / "runs"


def outputs(workspace):
    return {str(path.relative_to(workspace / "store")) for path in Store(workspace).everything()}


def test_without_delete_everything_stays(da_kd, workspace):
    before = outputs(workspace)
    result = da_kd("gc")
    assert result.exit_code == 0, result.stderr
    assert "3 outputs" in result.stdout and "--delete" in result.stdout
    assert outputs(workspace) == before


def test_delete_removes_what_no_run_refers_to_and_nothing_else(da_kd, workspace):
    before = outputs(workspace)
    result = da_kd("gc", "--delete")
    assert result.exit_code == 0, result.stderr
    gone = before - outputs(workspace)
    assert len(gone) == 3
    assert sorted(name.split("/")[0] for name in gone) == ["data", "predict", "teach"]
    assert f"predict/{'b' * 32}.partial" in gone
    assert "Nothing to remove" in da_kd("gc").stdout


def test_what_somebody_is_making_stays(da_kd, workspace):
    lock = workspace / "store" / "predict" / f"{'b' * 32}.lock"
    with hold(lock, Job(), "the output"):
        assert da_kd("gc", "--delete").exit_code == 0
    assert f"predict/{'b' * 32}.partial" in outputs(workspace)


def test_what_a_run_needs_by_the_time_it_is_removed_stays(da_kd, workspace, monkeypatch):
    place = Run(workspace / "small")
    state = place.state()
    place.save(RunState(state="done"))  # nothing but the rendered sets is needed

    def shown_while_a_run_begins(table):
        place.save(state)

    monkeypatch.setattr("da_kd.cli.terminal.show", shown_while_a_run_begins)
    result = da_kd("gc", "--delete")
    assert result.exit_code == 0, result.stderr
    kept = {f"{record['stage']}/{record['fingerprint']}" for record in state.steps.values()}
    assert {name.removesuffix(".partial") for name in outputs(workspace)} >= kept
    assert result.stdout.count("needs it by now") == 2 and "Removed 3 outputs" in result.stdout


def test_a_run_that_is_only_beginning_is_waited_for(da_kd, workspace, recipe):
    before = outputs(workspace)
    place = Run(workspace / "small")
    place.keep(load_recipe(recipe))
    with place.taken(Job()) as job:
        place.save(RunState(state="running", started=1.0))
        assert da_kd("gc", "--delete").exit_code == 2
        assert outputs(workspace) == before
        job.emit(StageDone("teach", name="teach:big", reused=True))
        assert da_kd("gc", "--delete").exit_code == 0


def test_an_unreadable_record_stops_it(da_kd, workspace):
    before = outputs(workspace)
    (workspace / "small" / "run.json").write_text("{")
    assert da_kd("gc", "--delete").exit_code == 2
    assert outputs(workspace) == before


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml"])
@pytest.mark.parametrize("content", [None, "nonsense: 1"])
def test_everything_stays_where_nobody_can_say_what_a_run_needs(da_kd, workspace, name, content):
    before = outputs(workspace)
    (workspace / "small" / name).unlink()
    if content is not None:
        (workspace / "small" / name).write_text(content)
    listed, refused = da_kd("gc"), da_kd("gc", "--delete")
    assert listed.exit_code == 0 and "every output stays" in " ".join(listed.stdout.split())
    assert "Nothing to remove" in listed.stdout
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert "Nobody can say which outputs run 'small' needs" in told and name in told
    assert "Run its recipe again before 'da-kd gc --delete'" in told
    assert outputs(workspace) == before


def test_a_record_that_was_begun_anew_and_names_no_step_yet_does_not_give_its_outputs_away(da_kd, workspace):
    before, place = outputs(workspace), Run(workspace / "small")
    with place.taken(Job()) as job:
        job.emit(StageDone("teach", name="teach:big"))
        place.save(RunState(state="failed", stage="data"))  # run.json was removed, and the recipe's data is away
    assert da_kd("gc", "--delete").exit_code == 2
    assert outputs(workspace) == before


def test_what_a_recipe_has_drawn_stays_in_any_part_of_its_data(da_kd, workspace, made):
    damaged = {"by": "noise", "strength": 3}
    recipe = yaml.safe_load((workspace / "small" / "recipe.yaml").read_text())
    recipe["data"]["source_val"] = {"render": "lab_a", "split": "val", "count": 2}
    recipe["data"]["target"]["corrupt"] = damaged
    (workspace / "small" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    loaded = Run(workspace / "small").recipe()
    stays = [made("data", **drawn_output(loaded.data.source_val, loaded.seed).parts)]
    stays.append(made("data", **corrupt_parts(loaded.data.target.corrupt), images="of this target"))
    goes = made("data", corrupt="noise", strength=2, seed=0, images="of this target")
    assert da_kd("gc", "--delete").exit_code == 0
    left = outputs(workspace)
    assert {f"data/{output.fingerprint}" for output in stays} <= left
    assert f"data/{goes.fingerprint}" not in left


def test_a_folder_that_is_not_there_is_no_workspace(da_kd, tmp_path):
    result = da_kd("gc", "nonsense")
    assert result.exit_code == 2
    assert "Expected a workspace at nonsense; there is none" in " ".join(result.stderr.split())
    (tmp_path / "empty").mkdir()
    assert "there is no output in" in " ".join(da_kd("gc", "empty").stdout.split())
