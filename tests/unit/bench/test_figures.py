"""The table's figures against those of outputs written by hand; what is marked, and what is told below."""

import csv
import importlib.util
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from da_kd.bench.figures import _recovered, seconds_of, tree_of
from da_kd.bench.files import note_sitting, read_tree_of, write_all, write_measured
from da_kd.bench.page import page
from da_kd.bench.table import as_csv, markdown, sentences

ROOT = Path(__file__).parents[3]
APS = {"source": (0.2, 0.4), "student": (0.5, 0.5), "oracle": (0.7, 0.9)}


@pytest.fixture
def tree(grid, cells, finished):
    """Return the tree of a grid whose cells have these APs."""

    def make(aps=APS, steps=None, **keys):
        found = cells(**keys)
        for cell in found:
            finished(cell, aps[cell.row.name][cell.seed], (steps or {}).get(cell.row.name, {}))
        return tree_of(grid(**keys).grid, found, final=False)

    return make


def row(tree, name):
    return next(row for row in tree["rows"] if row["name"] == name)


def test_figures_are_those_of_the_outputs(tree):
    found = tree(gap={"low": "source", "high": "oracle"})
    assert row(found, "source")["AP"] == [0.2, 0.4]
    assert row(found, "student")["difference"]["value"] == pytest.approx(0.5 - 0.3)
    assert row(found, "student")["recovered"]["value"] == pytest.approx((0.5 - 0.3) / (0.8 - 0.3))
    assert row(found, "source")["beside_defaults"]["value"] == pytest.approx(0.3 - 0.5)
    assert (row(found, "source")["steps"], row(found, "source")["teacher_steps"]) == ([8, 8], [0, 0])
    assert (row(found, "student")["steps"], row(found, "student")["teacher_steps"]) == ([8, 8], [6, 6])
    assert [row(found, name)["labels"] for name in APS] == [{}, {}, {"data.target_labelled": 8}]
    lines = [line for line in markdown(found).splitlines() if line.startswith("| ")]
    assert lines[2].startswith("| source | 0.300 [0.")
    assert "] | 0.200, 0.400 | 0.300 | 0.300 | 0.300 | 0.300 |" in lines[2]
    assert "| 40% [" in lines[3] and lines[3].endswith("| 8 + 6 | 0 |")


def test_the_share_of_the_gap_in_ap50_stands_beside_the_one_in_ap(tree):
    found = tree(gap={"low": "source", "high": "oracle"})
    for name, values in {"source": [0.4, 0.6], "student": [0.8, 0.8], "oracle": [0.8, 1.0]}.items():
        row(found, name)["AP50"] = values
    head, _, *lines = (line.split(" | ") for line in markdown(found).splitlines() if line.startswith("| "))
    assert [line[head.index("of AP50")] for line in lines] == ["", "75%", ""]
    row(found, "oracle")["AP50"] = [0.4, 0.6]
    assert "| - | 8 + 6 |" in markdown(found)  # no gap there


def recovered(grid, gaps):
    """Return what a row recovers of a gap of 0.1, of which resamples have these; it wins 0.05 in each."""
    low, gaps = np.full(len(gaps), 0.3), np.array(gaps)
    drawn = {"source": low, "student": low + 0.05, "oracle": low + gaps}
    keys = {"gap": {"low": "source", "high": "oracle"}}
    return _recovered("student", grid(**keys).grid, {"source": 0.3, "student": 0.35, "oracle": 0.4}, drawn)


def test_a_resample_with_next_to_no_gap_moves_no_interval_away_from_its_value(grid):
    found = recovered(grid, [*np.linspace(0.08, 0.12, 999), 1e-9])
    assert found["value"] == pytest.approx(0.5)
    assert 0.4 < found["low"] < found["value"] < found["high"] < 0.65


def test_where_many_resamples_have_no_gap_there_is_no_interval_of_what_is_recovered(grid):
    few, many = (recovered(grid, [*[0.0] * none, *np.linspace(0.08, 0.12, 1000 - none)]) for none in (25, 26))
    assert few["low"] < few["value"] < few["high"]
    assert many == {"value": few["value"], "low": None, "high": None}


def test_one_line_a_row_and_seed_for_spreadsheets(tree):
    lines = list(csv.DictReader(io.StringIO(as_csv(tree()))))
    assert [(line["row"], line["seed"], float(line["AP"])) for line in lines][:3] == [
        ("source", "0", 0.2), ("source", "1", 0.4), ("student", "0", 0.5)
    ]  # fmt: skip
    assert [line["target_labels"] for line in lines] == ["0", "0", "0", "0", "8", "8"]


def test_a_row_of_fewer_classes_is_scored_on_all_of_the_tables(grid, cells, finished):
    left = {f"data.{name}.classes": {"Platelets": None} for name in ("source", "target_labelled", "test")}
    part = {"name": "part", "model": "source_only", "set": {"classes": ["WBC", "RBC"], **left}}
    rows = [part, {"name": "all", "model": "source_only"}]
    found = cells(rows)
    for cell in found:
        finished(cell, 1.0)  # all that it knows
    tree = {**tree_of(grid(rows).grid, found, final=False), "duplicates": []}
    assert tree["classes"] == ["RBC", "WBC", "Platelets"]
    assert row(tree, "all")["AP"] == [1.0, 1.0]
    assert row(tree, "part")["AP"] == pytest.approx([2 / 3, 2 / 3])
    assert {name: values[0] for name, values in row(tree, "part")["per_class"].items()} == {
        "RBC": pytest.approx(1.0), "WBC": pytest.approx(1.0), "Platelets": 0.0
    }  # fmt: skip
    assert row(tree, "all")["difference"]["value"] == pytest.approx(1 / 3)
    assert row(tree, "all")["difference"]["low"] > 0.2
    assert "part knows no Platelets, which counts as an AP of 0 there." in markdown(tree)
    assert "all knows no" not in markdown(tree)
    assert as_csv(tree).count("part,") == 2


def test_unequal_steps_are_marked_and_said(tree):
    found = tree(steps={"source": {"source_only": 6}})
    assert [row["name"] for row in found["rows"] if row["unequal"]] == ["source"]
    assert row(found, "source")["steps"] == [6, 6]
    assert "| source (!)" in markdown(found)
    assert any(one.startswith("(!) Not the same number of steps as the others (8") for one in sentences(found))


def test_an_oracle_has_its_own_steps_and_says_how_it_ended(tree):
    found = tree(steps={"oracle": {"oracle": 2}})
    assert not row(found, "oracle")["unequal"]
    ended = {"best": None, "last": 1, "most": 2, "by_itself": True, "validation": []}
    assert row(found, "oracle")["stopped"][0] == ended
    assert "trained until its own validation stopped improving; took epoch 1 of 1" in markdown(found)


def test_an_oracle_that_may_not_be_done_is_told(tree):
    found = tree()
    assert "(o) oracle: its own schedule; took epoch 2 of 2, the most it was allowed (2): it may" in markdown(found)
    assert "validation" not in markdown(found)


def test_an_oracle_shows_the_course_of_its_own_validation(grid, cells, finished):
    found = cells()
    for cell in found:
        curves = [{"epoch": epoch, "val_AP": 0.1 * epoch} for epoch in (1, 2)]
        finished(cell, APS[cell.row.name][cell.seed], curves=curves)
    told = markdown(tree_of(grid().grid, found, final=False))
    assert "it may not be done (its own validation AP after 1, 2 epochs: 0.100, 0.200);" in told


def test_rows_that_beat_the_defaults_are_named(tree):
    found = tree({"source": (0.6, 0.6), "student": (0.5, 0.5), "oracle": (0.7, 0.9)})
    told = markdown(found)
    assert "| source (+) |" in told
    assert "(+) Above the defaults, which are therefore not the best here: source +0.100 [" in told
    row(found, "source")["beside_defaults"] |= {"low": -0.05}
    assert "(+) Above the defaults by less than its interval: source +0.100 [-0.050" in markdown(found)


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (4, "(+) Above the defaults, which are therefore not the best here: source +0.100 ["),
        (12, "Above the defaults on other terms: source +0.100 ["),
    ],
)
def test_a_row_of_fewer_steps_beats_the_defaults_and_one_of_more_does_so_on_other_terms(tree, taken, said):
    steps = {"source": {"source_only": taken}}
    told = markdown(tree({"source": (0.6, 0.6), "student": (0.5, 0.5), "oracle": (0.7, 0.9)}, steps))
    assert said in told
    assert ("(more steps)" in told) == (taken > 8)
    assert "oracle +" not in told  # it is the gap's end


def test_teachers_and_rows_of_more_labels_are_named_with_what_they_have_more(grid, cells, finished):
    rows = [
        {"name": "student", "model": "student", "defaults": True},
        {"name": "teacher", "model": "teacher:big"},
        {"name": "labels", "model": "oracle", "set": {"evaluate.oracle_schedule": {"steps": 8, "batch": 4}}},
    ]
    found = cells(rows)
    for cell in found:
        finished(cell, {"student": 0.4, "teacher": 0.6, "labels": 0.8}[cell.row.name])
    made = {**tree_of(grid(rows).grid, found, final=False), "duplicates": []}
    told = markdown(made)
    assert "on other terms: teacher +0.200 [" in told and "(a teacher); labels +0.400 [" in told
    assert "(8 labelled images)." in told and "(+)" not in told
    summary = page([{**made, "command": "", "seconds": 1, "sittings": [], "versions": {}}], {}, "make it")
    assert "| 0.400 | teacher +0.200 (a teacher), labels +0.400 (8 labelled images) |" in summary


def test_an_image_that_two_sets_have_is_one_labelled_image(grid, cells, finished):
    both = {"data.target_dev": {"render": "lab_b", "split": "train", "count": 8}, "fuse.thresholds": {"by": "f_beta"}}
    rows = [
        {"name": "tuned", "model": "finetuned", "set": {**both, "fuse.fit_on": "target_dev", "finetune.fraction": 1}}
    ]
    (cell, _) = cells(rows)
    assert cell.labels == {"data.target_dev": 8, "data.target_labelled": 8}
    assert cell.label_images == 8
    for one in cells(rows):
        finished(one, 0.5)
    told = markdown({**tree_of(grid(rows).grid, cells(rows), final=False), "duplicates": []})
    assert "| 8 (target_dev) + 8 (target_labelled), 8 images in all |" in told


def test_seeds_are_told_in_the_order_of_the_figures(tree):
    found = tree(seeds=[1, 0])
    assert (found["seeds"], row(found, "source")["AP"]) == ([1, 0], [0.4, 0.2])
    assert "the mean of seeds 1, 0, and each of them in this order" in markdown(found)


def test_a_bar_in_a_cell_is_none_of_the_tables(tree):
    found = tree(claims=[{"says": "This | holds.", "row": "oracle", "not_below": ["student"]}])
    summary = page([{**found, "command": "", "seconds": 1, "sittings": [], "versions": {}}], {}, "make it")
    assert "| This \\| holds. |" in summary


def test_a_row_without_a_figure_has_a_dash(tree):
    found = tree({"source": (None, 0.4), "student": (0.5, 0.5), "oracle": (0.7, 0.9)})
    assert row(found, "student")["difference"] is None
    assert "| source | - | -, 0.400 |" in markdown(found)


def test_a_set_with_a_look_alike_in_one_seed_is_not_called_free_of_them(tree):
    clean = {"set": "data.source", "alike": 0, "test": 4, "examples": []}
    one = {"set": "data.source", "alike": 1, "test": 4, "examples": [["a.jpg", "b.jpg", 2]]}
    told = markdown({**tree(), "duplicates": [clean, one, {**clean, "set": "data.target"}]})
    assert "Scored images with a near-duplicate: 1 of 4 in data.source (a.jpg and b.jpg)." in told
    assert "No near-duplicates of scored images in data.target." in told


def test_a_table_of_other_seeds_than_the_grids_says_so(tree):
    assert "the mean of seeds 0, 1, and each" in markdown(tree())
    assert "the mean of seeds 0, 1 (the grid has 0, 1, 2), and each" in markdown({**tree(), "all_seeds": [0, 1, 2]})


def test_the_files_and_the_page_come_from_the_tree(tree, cells, tmp_path):
    sitting = {"processor": "A", "cores": 2, "memory_gb": 8, "gpus": 0, "load": [0.5, 1, 1], "jobs": 2, "worked": 60.0}
    found = {**tree(), "duplicates": []}
    note_sitting(tmp_path / "out", sitting)
    note_sitting(tmp_path / "out", {**sitting, "load": [1.5, 1, 1]})
    paths = write_all(found, tmp_path / "out", "da-kd bench grid.yaml", seconds_of(cells()))
    assert all(path.is_file() for path in paths)
    assert sorted(path.name for path in paths) == ["bench.json", "plot.png", "plot.svg", "table.csv", "table.md"]
    read = read_tree_of(tmp_path / "out")
    assert read["rows"] == found["rows"]
    told = page([read], {"table-development": "plot.png"}, "python page.py")
    assert (
        "| [table (development images)](#table-development-images) | 4 development images a seed | 0.500 | none |"
        in told
    )
    assert "    da-kd bench grid.yaml\n" in told
    assert "Made on A (2 cores, 8 GB, no GPU), 2 side by side, load at the start up to 1.5." in told
    assert markdown(read).strip() in told
    assert "![AP by row: source 0.300, student 0.500, oracle 0.800; 0 rows above the defaults](plot.png)" in told


@pytest.fixture
def results_page(monkeypatch):
    """Return the tool that makes the page, called as from a shell."""
    spec = importlib.util.spec_from_file_location("results_page", ROOT / "tools" / "results_page.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["results_page.py", *map(str, words)])
        return tool.main()

    call.page_of = tool.page_of
    return call


def test_the_page_is_made_by_one_command_and_again_from_what_it_kept(tree, tmp_path, results_page):
    workspace, docs = tmp_path / "runs", tmp_path / "docs"
    write_all({**tree(), "duplicates": []}, workspace / "bench" / "table-development", "", 0.0)
    assert results_page("--docs", docs) == 2  # there is no table
    assert results_page("--take", workspace, "--docs", docs) == 0
    first = (docs / "results.md").read_text()
    assert "(images/results-table-development.png)" in first
    assert (docs / "images" / "results-table-development.png").is_file()
    shutil.rmtree(workspace)
    (docs / "results.md").unlink()
    assert results_page("--docs", docs) == 0
    assert (docs / "results.md").read_text() == first


def test_a_table_whose_grid_has_other_choices_by_now_says_so(tree, tmp_path, results_page):
    frozen = yaml.safe_load((ROOT / "recipes" / "bench" / "unlabelled.yaml").read_text())["frozen"]
    told = []
    for number, choices in enumerate((frozen, "0123456789ab")):
        workspace, docs = tmp_path / f"runs{number}", tmp_path / f"docs{number}"
        made = {**tree(), "duplicates": [], "name": "unlabelled", "frozen": choices}
        write_all(made, workspace / "bench" / "unlabelled-test", "", 0.0)
        assert results_page("--take", workspace, "--docs", docs) == 0
        told.append("have been changed since" in (docs / "results.md").read_text())
    assert told == [False, True]


def test_the_projects_page_is_the_one_of_its_tables(results_page):
    assert results_page.page_of(ROOT / "docs") == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_a_measurement_that_is_no_grids_stands_on_the_same_page(tree, tmp_path):
    lines = {"plain": [0.3, 0.2], "views": [0.4, 0.3]}
    measured = {
        "name": "fogs", "title": "In fog", "about": "What fog does.", "command": "python fogs.py", "scored_on": "test",
        "images": 7, "head": ["damage", "AP"], "lines": [["fog", "0.2"]], "sentences": ["On 7 images."],
        "rows": [{"by": "fog"}], "x": "strength", "y": "AP",
        "panels": [{"title": "fog", "x": [0, 1], "lines": lines}] * 2,
    }  # fmt: skip
    paths = write_measured(measured, tmp_path / "fogs", 61.0)
    assert [path.name for path in paths] == ["table.md", "plot.png", "plot.svg", "bench.json"]
    assert paths[0].read_text() == "| damage | AP |\n| --- | --- |\n| fog | 0.2 |\n\nOn 7 images.\n"
    both = [{**tree(), "duplicates": [], "command": "", "seconds": 0.0, "sittings": [], "versions": {}}]
    both.append(read_tree_of(tmp_path / "fogs"))
    told = page(both, {"fogs-test": "plot.png"}, "python page.py")
    assert "| [In fog](#in-fog) | 7 test images | - | - |" in told
    assert "## In fog\n\nWhat fog does.\n\n    python fogs.py\n\nThe outputs took 1 min" in told
    assert "![AP over strength, a panel each for fog, fog](plot.png)" in told


def test_the_page_is_in_the_order_of_the_claims(tree, tmp_path, results_page):
    found = {**tree(), "duplicates": []}
    names = [("few_labels", "test"), ("labels_optional", "test"), ("own", "test"), ("labels_optional", "development")]
    for name, where in names:
        named = {**found, "name": name, "title": f"{name} {where}", "scored_on": where}
        write_all(named, tmp_path / "runs" / "bench" / f"{name}-{where}", "", 0.0)
    assert results_page("--take", tmp_path / "runs", "--docs", tmp_path) == 0
    told = (tmp_path / "results.md").read_text().splitlines()
    heads = [line.removeprefix("## ") for line in told if line.startswith("## ")]
    assert heads == [
        "labels_optional test", "few_labels test", "own test", "labels_optional development (development images)"
    ]  # fmt: skip


def test_curves_are_drawn_where_rows_have_an_x(tree, cells, finished, grid, tmp_path):
    rows = [
        {"name": "low", "model": "source_only"},
        *({"name": f"at_{x}", "model": "student", "line": "a", "x": x, "set": {"fuse.iou": x / 10}} for x in (5, 6)),
    ]
    found = cells(rows)
    for cell in found:
        finished(cell, 0.5)
    drawn = {**tree_of(grid(rows).grid, found, final=False), "duplicates": []}
    paths = write_all(drawn, tmp_path / "out", "", 0.0)
    picture = next(path for path in paths if path.suffix == ".svg").read_text()
    assert "<svg" in picture and paths[2].stat().st_size > 5000
