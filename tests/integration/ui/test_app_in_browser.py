"""The whole way through the page in a real browser: start, label, move a threshold, train, reload, compare, report."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.events import Job
from da_kd.pipeline import Run
from da_kd.store import hold
from da_kd.ui import processes
from da_kd.ui.queries import comparing

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

WAIT = 600_000  # milliseconds for whatever trains
PATIENCE = 300_000  # and for anything else; other work may hold the machine


@pytest.fixture
def shots(tmp_path_factory) -> Path:
    """Where screenshots go: the folder that DA_KD_SCREENSHOTS names, else one that pytest keeps."""
    named = os.environ.get("DA_KD_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Window:
    """A page of the browser that notes what it asks for and what it complains about."""

    def __init__(self, browser, app, query="", width=1280, scheme="light"):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.foreign, self.complaints, self.failed = [], [], []
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("response", lambda r: self.failed.append((r.status, r.url)) if r.status >= 400 else None)
        self.page.route(lambda url: not url.startswith((app.url, "data:", "blob:")), lambda route: route.abort())
        self.own = app.url
        self.page.goto(app.url + query)
        self.page.locator("#pages [role='tab']").first.wait_for()
        if query:  # what is pressed before the run is chosen belongs to no run
            run = query.removeprefix("?run=")
            self.holds("#run input", run)

    def _asked(self, request):
        if not request.url.startswith((self.own, "data:", "blob:")):
            self.foreign.append(request.url)

    def _said(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, name):
        self.page.locator("#pages [role='tab']", has_text=name).locator("visible=true").click()

    def standing(self, word, timeout=WAIT):
        self.page.locator("#standing .badge", has_text=word).wait_for(timeout=timeout)

    def text(self, selector):
        return self.page.locator(selector).inner_text().strip()

    def choose(self, selector, option):
        self.page.locator(f"{selector} input").click()
        self.page.get_by_role("option", name=option).click()

    def upload(self, selector, path):
        with self.page.expect_response(lambda answer: "/upload?" in answer.url):
            self.page.locator(f"{selector} input[type='file']").set_input_files(path)
        self.settle(selector, path.stem)

    def saves(self, buttons):
        """Save the pictures of both sides; they are pictures, and not the same."""
        saved = []
        for button in (self.page.locator(buttons).nth(at) for at in (0, 1)):
            with self.page.expect_download() as waiting:
                button.click()
            with Image.open(waiting.value.path()) as picture:
                saved.append((waiting.value.suggested_filename, picture.size))
        assert saved[0][0] != saved[1][0] and saved[0][1] == saved[1][1]

    def compare(self, order):
        """Open page 7, wait for what it shows by itself, then show images in another order."""
        self.open("Compare")
        self.settle("#compare-pages", "Page 1")
        self.choose("#compare-by", order)
        self.settle("#compare-pages", order)

    def holds(self, selector, value):
        """Wait until the field is there and holds this value; a pattern may be given."""
        expect(self.page.locator(selector)).to_have_value(value, timeout=PATIENCE)

    def settle(self, selector, words, timeout=PATIENCE):
        self.page.locator(selector, has_text=words).first.wait_for(timeout=timeout)

    def close(self):
        assert self.foreign == []
        assert self.complaints == []
        assert self.failed == []
        self.page.close()


@pytest.mark.timeout(1800)
def test_a_run_is_created_reloaded_lost_stopped_and_finished(browser, app, project, start_app):
    window = Window(browser, app)
    page = window.page

    # 1 Start: nothing there yet, then a run from a recipe, changed in the page and checked as one types
    window.settle("#runs", "There are no runs yet")
    window.settle("#verdict", "The recipe is fine")
    editor = page.locator("#recipe-text .cm-content")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nnonsense: 1")
    window.settle("#verdict", "nonsense: no such key")
    page.locator("#begin").click()
    window.settle("#begun", "nonsense: no such key")
    assert not list((project / "runs").glob("*/run.json"))
    editor.click()
    page.keyboard.press("Control+End")
    for _ in "\nnonsense: 1":
        page.keyboard.press("Backspace")
    window.settle("#verdict", "The recipe is fine")
    page.locator("#check-deep").click()
    window.settle("#begun", "Opening everything", 2_000)  # what takes long says so at once
    window.settle("#begun", "can be opened")
    page.locator("#run-name input, #run-name textarea").fill("mine")
    page.locator("#begin").click()
    window.settle("#begun", "has started")
    window.settle("#standing", "process")

    # a reload in the middle finds the run again
    page.wait_for_url("**/?run=mine*")
    page.reload()
    window.standing("running")
    window.open("Train")
    window.settle("#live", "epochs")

    # killing the app does not touch the run; a fresh app finds it and stops it
    run = Run(project / "runs" / "mine")
    window.page.close()
    pid = run.pid()
    app.kill()
    assert run.pid() == pid
    fresh = start_app(project)
    app.process, app.port, app.log = fresh.process, fresh.port, fresh.log
    window = Window(browser, app, "?run=mine")
    page = window.page
    window.standing("running")
    page.locator("#stop").click()
    window.settle("#stopped", "Run 'mine' is stopped")
    assert run.pid() is None
    window.standing(re.compile("cancelled|killed"))  # killed where it does not stop by itself in time

    # 5 Train: going on to the end
    window.open("Train")
    page.locator("#resume").click()
    window.standing("done")
    window.settle("#live", "evaluate")
    wait_for(lambda: page.locator("#stopped .message, #resumed .message").count() == 0)  # both are over
    page.locator(".js-plotly-plot").first.wait_for()
    window.close()


@pytest.mark.timeout(1800)
def test_a_finished_run_is_exported_labelled_anew_reported_and_compared(browser, app, project):
    window = Window(browser, app, "?run=mine")
    page, run = window.page, Run(project / "runs" / "mine")

    # 6 Evaluate, with the student as a file for other programs
    window.open("Evaluate")
    window.settle("#ladder-rows", "Fine-tuned")
    page.locator("#export label", has_text="torchscript").click()
    window.settle("#export-line", "--format torchscript")
    page.locator("#export-button").click()
    window.settle("#exported", "Written; it lies in", timeout=WAIT)
    with page.expect_download() as waiting:
        page.locator("#exported a", has_text=".torchscript").click()
    assert waiting.value.path().stat().st_size > 10_000

    # 3 Labels: a moved threshold changes boxes at once, and is made the run's own
    window.open("Labels")
    window.settle("#label-counts", "RBC")
    before = window.text("#label-counts")
    page.locator("#keep input[type='number']").fill("0.9")
    page.locator("#keep input[type='number']").press("Enter")
    expect(page.locator("#label-counts")).not_to_have_text(before, use_inner_text=True, timeout=PATIENCE)
    window.settle("#labels-line", '"RBC": 0.9')
    page.locator("#use-thresholds").click()
    window.settle("#labels-said", "made anew")
    page.locator("#standing .badge", has_text="done").wait_for(timeout=WAIT)
    wait_for(lambda: run.pid() is None and run.recipe().fuse.keep.get("RBC") == 0.9)

    # 8 Report
    window.open("Report")
    report = page.frame_locator("#report iframe").locator("h1")
    report.wait_for()
    with page.expect_download() as waiting:
        page.locator("#report-links a", has_text="Download the report").click()
    assert b"Adaptation report" in waiting.value.path().read_bytes()

    # 7 Compare: both views, and the arrow keys
    window.compare("as they come")
    window.settle("#compare-where", "1 of 14")
    page.locator("body").press("ArrowRight")
    window.settle("#compare-where", "2 of 14")
    page.locator("body").press("ArrowLeft")
    window.settle("#compare-where", "1 of 14")
    window.saves("#compare-told .save")
    page.locator("#compare-view label", has_text="side by side").click()
    panes = page.locator("#compare-panes img")
    panes.first.wait_for()
    assert panes.count() == 2
    assert all("box" in pane.get_attribute("alt") for pane in panes.all())
    window.saves("#compare-panes .save")
    window.close()


def wait_for(true, seconds=PATIENCE / 1000):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_runs_that_need_a_busy_device_say_whom_they_wait_for_and_then_go_on(browser, app, project):
    window = Window(browser, app, "?run=mine")
    with hold(project / "runs" / "locks" / "cpu", Job(), "the device 'cpu'"):
        for steps in (3, 4):
            window.open("Start")
            window.choose("#recipe", f"steps-{steps}.yaml")
            window.settle("#verdict", "The recipe is fine")
            window.holds("#run-name input, #run-name textarea", f"steps-{steps}")
            window.page.locator("#begin").click()
            window.settle("#begun", f"Run 'steps-{steps}' has started")
            window.settle("#standing", f"Waiting for process {os.getpid()}, which uses")
        window.open("Train")
        window.settle("#live", "The run goes on by itself when it is free")
    window.standing("done")
    wait_for(lambda: all(Run(project / "runs" / f"steps-{steps}").state().state == "done" for steps in (3, 4)))
    window.close()


SHOWS = {  # what stands on a page once it is filled
    "Start": "#runs table",
    "Data": "#sets table",
    "Labels": "#label-pictures img",
    "Review": "#queue img",
    "Train": "#live .tiles",
    "Evaluate": "#ladder-rows table",
    "Compare": "#compare-pages p",
    "Report": "#report iframe",
}


def test_every_page_fits_and_asks_for_nothing_from_elsewhere(browser, app, shots):
    for width, scheme in ((1280, "light"), (1280, "dark"), (800, "light"), (800, "dark")):
        window = Window(browser, app, "?run=mine", width=width, scheme=scheme)
        for name, shown in SHOWS.items():
            window.open(name)
            window.page.locator(shown).locator("visible=true").first.wait_for()
            window.page.wait_for_timeout(500)  # for charts
            assert window.page.evaluate("document.documentElement.scrollWidth") <= width, name
            window.page.screenshot(path=shots / f"{name.lower()}-{width}-{scheme}.png", full_page=True)
        images = "[...document.images].filter(i => !i.hasAttribute('alt')).map(i => i.outerHTML.slice(0, 120))"
        assert window.page.evaluate(images) == []
        window.close()


def test_every_button_of_the_first_page_is_reached_by_the_keyboard_alone(browser, app, project):
    window = Window(browser, app)
    window.settle("#verdict", "The recipe is fine")
    page, reached, before = window.page, [], window.text("#recipe-text .cm-content")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
        if reached[-1] == "check-deep":
            break
    assert {"stop", "begin", "check-deep"} <= set(reached)
    assert window.text("#recipe-text .cm-content") == before
    page.locator("#pages [role='tab']", has_text="Train").locator("visible=true").focus()
    page.keyboard.press("Enter")
    page.locator("#resume").wait_for()
    window.close()


def test_an_own_image_is_answered_by_two_models(browser, app, project):
    picture = next((project / "runs" / "store" / "data").glob("*/**/*.jpg"), None)
    assert picture is not None
    window = Window(browser, app, "?run=mine")
    window.open("Compare")
    window.holds("#own-right input", re.compile("mine / "))
    window.upload("#own-file", picture)
    window.page.locator("#own-show").click()
    window.page.locator("#own-panes img").nth(1).wait_for(timeout=PATIENCE)
    window.close()


def test_an_own_video_is_answered_too(browser, app, tmp_path):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "own.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for number in range(10):
        writer.write(np.full((64, 96, 3), 20 * number, np.uint8))
    writer.release()
    window = Window(browser, app, "?run=mine")
    window.open("Compare")
    window.holds("#own-right input", re.compile(" / "))
    window.upload("#own-file", tmp_path / "own.mp4")
    window.page.locator("#own-show").click()
    window.page.locator("#own-panes img").nth(1).wait_for(timeout=PATIENCE)
    assert window.page.locator("#own-problem .message").count() == 0
    window.close()


def test_every_filter_of_the_comparison_shows_what_it_says(browser, app):
    window = Window(browser, app, "?run=mine")
    window.compare("as they come")
    for words in comparing.ORDERS.values():
        window.choose("#compare-by", words)
        window.settle("#compare-pages", words)
    everything = "14\N{NO-BREAK SPACE}images: as they come"  # the last order leaves nothing out
    window.settle("#compare-pages", everything)
    window.choose("#compare-class", "WBC")
    window.settle("#compare-pages", f"{everything}, WBC.")
    window.choose("#compare-size", "under 32 px")
    window.settle("#compare-pages", f"{everything}, WBC, under 32 px.")
    assert window.page.locator("#compare-problem .message").count() == 0
    window.close()


def test_the_pictures_of_the_slider_have_alternative_texts(browser, app):
    window = Window(browser, app, "?run=mine")
    window.compare("as they come")
    window.settle("#compare-where", "1 of 14")
    texts = "() => [...document.querySelectorAll('#compare-slider img')].map(image => image.alt)"
    wait_for(lambda: len(window.page.evaluate(texts)) == 2 and all(window.page.evaluate(texts)))
    first, second = window.page.evaluate(texts)
    assert first.startswith("mine / ") and "found" in first and first != second
    window.close()


def test_own_weights_and_stored_results_become_sides(browser, app, project):
    window = Window(browser, app, "?run=mine")
    window.open("Compare")
    window.settle("#compare-pages", "the figure is the difference")
    weights = next((project / "runs" / "store" / "teach").glob("*/weights.pt"))
    add(window, "/etc/passwd")
    window.settle("#side-said", "outside the folders")
    add(window, str(weights.relative_to(project)))
    window.settle("#side-run", "The model is done", timeout=WAIT)
    window.choose("#compare-left", "mine / file weights")
    window.settle("#compare-pages", "Page 1")
    window.choose("#compare-by", "as they come")
    window.settle("#compare-told", "mine / file weights")
    (project / "bad.json").write_text("[]")
    add(window, "bad.json")
    window.settle("#side-said", "Expected boxes of RBC, WBC, Platelets")
    window.close()


def test_uploaded_weights_become_a_side_and_answer_where_the_operator_allows_it(browser, project, start_app, tmp_path):
    weights = next((project / "runs" / "store" / "teach").glob("*/weights.pt"))
    shutil.copyfile(weights, tmp_path / "brought.pt")
    picture = next((project / "runs" / "store" / "data").glob("*/**/*.jpg"))
    allowed = start_app(project, "--allow-weights")
    try:
        window = Window(browser, allowed, "?run=mine")
        window.open("Compare")
        window.settle("#compare-pages", "Page 1")
        window.upload("#side-upload", tmp_path / "brought.pt")
        window.page.locator("#side-add").click()
        window.settle("#side-run", "The model is done", timeout=WAIT)
        window.choose("#compare-left", "mine / file brought")
        window.choose("#compare-by", "as they come")  # two sides that say the same differ nowhere
        window.settle("#compare-told", "mine / file brought")
        window.upload("#own-weights", tmp_path / "brought.pt")
        window.upload("#own-file", picture)
        window.choose("#own-left", "uploaded weights")
        window.page.locator("#own-show").click()
        window.settle("#own-panes figcaption", "uploaded weights")
        assert window.page.locator("#own-panes img").count() == 2
        window.close()
    finally:
        allowed.kill()


def add(window, path):
    window.page.locator("#side-path input, #side-path textarea").fill(path)
    window.page.locator("#side-add").click()


def test_the_form_finds_the_classes_by_itself(browser, app, project):
    for name in ("home", "new"):
        (project / name).mkdir()
        Image.new("RGB", (64, 64)).save(project / name / "1.png")
    labels = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [labels],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "big plate"}],
    }
    (project / "home" / "labels.json").write_text(json.dumps(content))
    window = Window(browser, app)
    window.settle("#verdict", "The recipe is fine")
    window.page.locator("#form button").first.click()
    for place, text in (("#form-source", "home/labels.json"), ("#form-target", "new")):
        window.page.locator(f"{place} input, {place} textarea").fill(text)
    window.page.locator("#form-find").click()
    window.settle("#form-found", "data.source has 'cup', 'big plate'.")
    window.page.locator("#form-write").click()
    window.settle("#recipe-text", 'classes: ["cup", "big plate"]')
    window.settle("#verdict", "The recipe is fine")
    window.close()


def test_a_vanished_run_is_told_where_it_can_be_mended(browser, app):
    window = Window(browser, app, "?run=gone")
    window.settle("#standing", "There is no run 'gone'")
    window.close()


def test_a_full_disk_is_told_at_the_button_and_leaves_nothing_half_written(browser, project, start_app, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    app = start_app(project, "--workspace", str(place / "runs"))
    try:
        with (place / "rest").open("wb") as file, contextlib.suppress(OSError):
            file.write(b"x" * (1 << 17))
        window = Window(browser, app)
        window.settle("#verdict", "The recipe is fine")
        for edited in (False, True):
            if edited:
                window.page.locator("#recipe-text .cm-content").click()
                window.page.keyboard.press("Control+End")
                window.page.keyboard.type("\n# mine")
                window.settle("[role='tabpanel'] .command", "edited.yaml")
            window.page.locator("#begin").click()
            words = "could not be written or read" if edited else "The work could not be started"
            window.settle("#begun .message.bad", words)
            window.settle("#begun .message.bad", "No space left on device")
            window.settle("#begun .message.bad", "Free some space")
        assert sorted(path.name for path in (place / "runs" / "small").iterdir()) == ["launch.lock", "launch.log"]
        window.close()
    finally:
        app.kill()
        subprocess.run(["umount", "-l", place], check=True)


def test_a_process_that_dies_before_it_works_shows_its_error_in_a_sentence(browser, app, project):
    folder = project / "runs" / "broken"
    processes.start(folder, ["run", "nowhere.yaml", "--run", "broken"], project)
    window = Window(browser, app, "?run=broken")
    window.settle("#standing", "expected a YAML file at nowhere.yaml")
    window.open("Train")
    window.settle("[role='tabpanel'] .log", "Log of the run")
    window.close()


def test_a_stopped_app_leaves_no_process_of_its_own(project, start_app):
    other = start_app(project)
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(timeout=20) in (0, -signal.SIGTERM, 143)
