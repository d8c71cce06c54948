"""Pages that show another run, or a later state of it, in a real browser; nothing is trained."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from da_kd.pipeline import Run, RunState
from da_kd.recipe import dump_recipe, recipe_from_text

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

PATIENCE = 300_000  # milliseconds; other work may hold the machine
STEP = {"stage": "evaluate", "fingerprint": "1" * 64, "made": {}}
RECIPE = """\
name: NAME
classes: [cell]
data: {root: data-NAME, source: {path: source}, target: {path: target}}
teachers: [{name: t, architecture: {model: yolo11n.yaml, imgsz: 64}}]
teach: {steps: 1}
"""


@pytest.fixture
def project(tmp_path):
    """Two runs over sets of their own, one whose images are gone, and one that has read none yet."""
    for name in ("red", "blue", "gone", "new"):
        text = RECIPE.replace("NAME", name)
        for part in ("source", "target") if name != "gone" else ():
            folder = tmp_path / f"data-{name}" / part
            for kind in ("images", "labels"):
                (folder / kind).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (64, 64), (number, 9, 9)).save(folder / "images" / f"{name}-{part}-{number}.png")
                (folder / "labels" / f"{name}-{part}-{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
            (folder / "data.yaml").write_text("train: images\nnames: [cell]\n")
        run = Run(tmp_path / "runs" / name)
        run.folder.mkdir(parents=True)
        (run.folder / "recipe.yaml").write_text(dump_recipe(recipe_from_text(text, folder=tmp_path)))
        steps = {} if name == "new" else {"evaluate:student": STEP}
        run.save(RunState("done", "evaluate", started=1.0, ended=2.0, steps=steps))
    return tmp_path


@pytest.fixture
def opened(browser, project, start_app):
    """Open a page of the app, showing the run 'red'."""
    pytest.importorskip("gradio", reason="needs gradio")
    app = start_app(project)

    def visit(tab):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{app.url}?run=red")
        expect(page.locator("#run input")).to_have_value("red", timeout=PATIENCE)
        page.get_by_role("tab", name=tab).click()
        return page

    yield visit
    app.kill()


def choose(page, run):
    page.locator("#run input").fill(run)
    page.keyboard.press("Enter")


def test_another_runs_images_take_the_place_of_those_before(opened):
    page = opened("2 Data")
    shown = page.locator(".pair figcaption").locator("visible=true")
    shown.filter(has_text="red-target-0").wait_for()
    choose(page, "blue")
    shown.filter(has_text="blue-target-0").wait_for()
    assert shown.filter(has_text="red").count() == 0
    page.locator(".js-plotly-plot").locator("visible=true").wait_for()
    choose(page, "gone")  # what cannot be shown hides what was, and is over with its run
    page.locator(".nothing .message.bad").locator("visible=true").wait_for()
    assert shown.count() == page.locator("#sets table").locator("visible=true").count() == 0
    choose(page, "blue")
    shown.filter(has_text="blue-target-0").wait_for()
    assert page.locator(".message.bad").locator("visible=true").count() == 0
    choose(page, "new")
    page.locator("#sets", has_text="No image of this run has been read yet").wait_for()
    page.locator(".js-plotly-plot").locator("visible=true").wait_for(state="detached")
    page.close()


def test_the_precision_of_a_run_that_is_scored_meanwhile_is_drawn(opened, project):
    page, run = opened("6 Evaluate"), Run(project / "runs" / "red")
    page.locator("#ladder-head", has_text="No model of this run is scored yet").wait_for()
    for print_, score in (("1" * 64, 0.9), ("2" * 64, 0.1)):
        place = project / "runs" / "store" / "evaluate" / print_
        place.mkdir(parents=True)
        figures = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"), score)
        (place / "metrics.json").write_text(json.dumps({**figures, "per_class": {"cell": score}}))
        (place / "detail.json").write_text(json.dumps({"curves": {"cell": [score] * 101}}))
        (place / "output.json").write_text("{}")
        steps = {"evaluate:student": {**STEP, "fingerprint": print_}}
        run.save(RunState("done", "evaluate", started=1.0, ended=3.0 - score, steps=steps))
        drawn = (
            "[...document.querySelectorAll('.js-plotly-plot')].some(p => p.offsetParent && p.data?.[0]?.y?.[50] === "
        )
        page.wait_for_function(f"{drawn}{score})")
    page.close()
