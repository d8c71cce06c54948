"""The App in a real browser: what a person does on the page is found in the journal and in the labels."""

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.errors import Cancelled
from da_kd.events import Job
from da_kd.recipe import Audit, Review
from da_kd.stages import review
from da_kd.stages.review import journal, mongod
from da_kd.stages.review.standing import read_standing

CLASSES = ("RBC", "WBC", "Platelets")
WIDTH, HEIGHT = 800, 600
SHOWN = '[data-cy="modal-looker-container"] canvas'
EDITED = '[data-cy="lighter-sample-renderer-canvas"]'


def corner(number: int) -> tuple[float, float]:
    return 40.0 + 250 * (number % 3), 60.0 + 280 * (number // 3)


def box(number: int) -> list[float]:
    x, y = corner(number)
    return [x, y, x + 150, y + 120]


@pytest.fixture
def six(tmp_path: Path) -> review.ReviewInput:
    """Three images: six boxes, two, and one for a blind audit; the first is the most doubtful."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    records, found, state = [], {}, {}
    for number, count in enumerate((6, 2, 1)):
        key = f"{number}.png"
        Image.fromarray(rng.integers(60, 200, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)).resize((WIDTH, HEIGHT)).save(
            tmp_path / "images" / key
        )
        records.append(ImageRecord(key, f"{number:064x}", WIDTH, HEIGHT))
        score = np.full(count, 0.5 if number == 0 else 0.97)
        found[key] = Detections(CLASSES, np.array([box(i) for i in range(count)]), score, np.arange(count) % 3)
    table = table_of(CLASSES, records, found, state=state, teachers=("yolo",))
    return review.ReviewInput(tmp_path / "images", table, "cells", "print", audit=Audit(images=1), seed=SEED)


SEED = 3  # of three images, it draws the third


def _stores(answer) -> bool:
    """Say whether the server answers to an edit."""
    return answer.request.method == "PATCH"


class App:
    """The App in a thread of its own, and a page of it."""

    def __init__(self, browser, given: review.ReviewInput, workspace: Path) -> None:
        self.told: list[str] = []
        self.stop = threading.Event()
        job = Job(lambda event: self.told.append(getattr(event, "text", "")), self.stop.is_set)
        self.port = mongod.free_port()
        self.thread = threading.Thread(target=self._serve, args=(given, workspace, job))
        self.thread.start()
        while not any("http" in text for text in self.told):
            assert self.thread.is_alive(), self.told
            time.sleep(0.2)
        self.page = browser.new_page(viewport={"width": 1500, "height": 950})
        self.elsewhere: list[str] = []
        self.page.on("response", lambda got: self.elsewhere.append(got.url) if self._foreign(got.url) else None)
        self.page.on("requestfailed", lambda lost: self._refused(lost.url, lost.failure))

    def _foreign(self, url: str) -> bool:
        return not url.startswith((f"http://127.0.0.1:{self.port}/", "data:", "blob:"))

    def _refused(self, url: str, why: str) -> None:
        if self._foreign(url) and why != "csp":  # what the page's own policy stops never leaves the browser
            self.elsewhere.append(f"{url} ({why})")

    def _serve(self, given, workspace, job) -> None:
        with contextlib.suppress(Cancelled):
            review.launch_app(given, workspace, self.port, job)

    def open(self, view: str = "") -> None:
        self.page.goto(f"http://127.0.0.1:{self.port}/datasets/cells{view}")
        self.page.get_by_text("Dismiss", exact=True).click(timeout=60_000)  # FiftyOne's own advertisement
        self.page.locator('[data-cy="looker"]').first.click()
        self.page.locator('[data-cy="modal-content"]').wait_for()

    def at(self, canvas: str, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the image is on the page: it is shown as large as fits, in the middle."""
        place = self.page.locator(canvas).last.bounding_box()
        scale = min(place["width"] / WIDTH, place["height"] / HEIGHT)
        left, top = (place["width"] - WIDTH * scale) / 2, (place["height"] - HEIGHT * scale) / 2
        return place["x"] + left + x * scale, place["y"] + top + y * scale

    def click(self, canvas: str, number: int) -> None:
        x, y = corner(number)
        self.page.mouse.click(*self.at(canvas, x + 40, y + 30))
        self.page.wait_for_timeout(700)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(EDITED, *start))
        self.page.mouse.down()
        for part in (0.2, 0.6, 1.0):
            self.page.mouse.move(*self.at(EDITED, *(a + (b - a) * part for a, b in zip(start, end, strict=True))))
        self.page.mouse.up()
        self.page.wait_for_timeout(700)

    def draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a box, and wait until the server has taken it; a page that was not ready yet is drawn on again."""
        from playwright.sync_api import TimeoutError as PageTimeout

        for _ in range(3):
            with contextlib.suppress(PageTimeout):
                with self.page.expect_response(_stores, timeout=15_000) as taken:
                    self._draw(start, end)
                assert taken.value.ok
                return
        raise AssertionError("no box was drawn")

    def _draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        for tool in ("select-action", "detection-mode"):  # a click on a tool that is chosen lets it go
            self.page.locator(f'[data-cy="{tool}"]').click()
            self.page.wait_for_timeout(500)
        self.drag(start, end)

    def key(self, keys: str, answer: str) -> None:
        """Press a key of ours and wait until the page says what it did."""
        self.page.keyboard.press(keys)
        self.page.get_by_text(answer).first.wait_for(timeout=20_000)

    def back(self) -> None:
        """Leave the form of one label, where it is open."""
        button = self.page.locator('[data-cy="annotate-edit-back"]')
        if button.count():
            button.click()
        self.page.locator('[data-cy="detection-mode"]').wait_for()

    def close(self) -> None:
        self.page.close()
        self.stop.set()
        self.thread.join(timeout=60)
        assert not self.thread.is_alive()


def test_what_a_person_does_on_the_page_is_found_in_the_run(browser, six, tmp_path):
    app = App(browser, six, tmp_path / "runs")
    try:
        app.open()
        page = app.page
        app.page.locator(SHOWN).wait_for()
        page.wait_for_timeout(2000)
        app.click(SHOWN, 0)
        app.key("Alt+a", "1 box(es): accepted")
        app.click(SHOWN, 1)
        app.key("Alt+3", "1 box(es) are now 'Platelets'")

        page.locator('[data-cy="annotate"]').click()
        page.locator(EDITED).wait_for()
        page.wait_for_timeout(2000)
        app.click(EDITED, 2)  # another class, in the App's own form
        name = page.locator('[data-cy="root_label_container"] input')
        name.focus()
        name.fill("WBC")
        page.keyboard.press("Enter")
        page.wait_for_timeout(700)
        app.back()
        app.click(EDITED, 3)  # moved by 40 px to the right and down
        x, y = corner(3)
        app.drag((x + 60, y + 50), (x + 100, y + 90))
        app.back()
        app.click(EDITED, 4)  # deleted
        page.keyboard.press("Delete")
        page.wait_for_timeout(700)
        app.back()
        app.draw((420, 200), (520, 280))
        page.wait_for_timeout(2000)
        page.screenshot(path=str(tmp_path / "edited.png"))
    finally:
        app.close()

    assert review.take_back(six, tmp_path / "runs", Job()) == 6
    found = {e.action: e for e in journal.read(tmp_path / "runs")}
    entries = journal.read(tmp_path / "runs")
    assert sorted(e.action for e in entries) == ["accepted", "added", "moved", "rejected", "relabelled", "relabelled"]
    assert found["accepted"].after.xyxy == tuple(box(0))
    assert {(e.before.name, e.after.name) for e in entries if e.action == "relabelled"} == {
        ("WBC", "Platelets"),
        ("Platelets", "WBC"),
    }
    assert found["rejected"].before.xyxy == tuple(box(4))
    np.testing.assert_allclose(found["moved"].after.xyxy, np.array(box(3)) + 40, atol=2)
    np.testing.assert_allclose(found["added"].after.xyxy, [420, 200, 520, 280], atol=3)
    assert found["added"].after.name in CLASSES


def test_a_blind_audit_is_shown_without_labels_and_measures_when_done(browser, six, tmp_path):
    app = App(browser, six, tmp_path / "runs")
    try:
        assert any("?view=audit-blind" in text for text in app.told)
        app.open("?view=audit-blind")
        page = app.page
        page.locator('[data-cy="annotate"]').click()
        page.locator(EDITED).wait_for()
        page.wait_for_timeout(2000)
        assert page.locator('[data-cy^="annotate-label-"]').count() == 0
        app.draw((40, 60), (190, 180))
        page.wait_for_timeout(2000)
        app.key("Alt+d", "1 image(s) done")
        page.locator('[data-cy="panel-tab-progress"]').click()
        page.get_by_text("1 of 1").wait_for(timeout=20_000)
        page.screenshot(path=str(tmp_path / "audit.png"))
        until = time.monotonic() + 60
        while read_standing(tmp_path / "runs", "print").get("audit_done") != 1 and time.monotonic() < until:
            time.sleep(0.5)
        beside = read_standing(tmp_path / "runs", "print")  # what pages beside the App are told
        assert (beside["done"], beside["images"], beside["audit_done"], len(beside["estimates"])) == (1, 3, 1, 3)
        assert app.elsewhere == []
    finally:
        app.close()

    assert review.take_back(six, tmp_path / "runs", Job()) == 2
    added, done = journal.read(tmp_path / "runs")
    assert (added.action, done.action, done.probability) == ("added", "complete", pytest.approx(1 / 3))
    (tmp_path / "out").mkdir()
    review.finish(Review(mode="human"), six, tmp_path / "runs", tmp_path / "out", Job())
    table = read_table(tmp_path / "out" / "labels.parquet")
    mine = table.image_index == six.table.sha.index(done.sha)
    kept = mine & (table.state == State.KEPT)
    assert kept.sum() == 1
    assert table.protected[mine].all()
