"""The page in a real browser: it asks for nothing, complains about nothing, fits, and draws its charts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.events import Job
from da_kd.stages.report import ReportFacts, write_report

LONG = "a class with a very long name " * 4
CLASSES = ("cell", "</script><script>document.title = 'broken'</script>", LONG, "--ink")
FEW = ReportFacts("Nothing at all", "da-kd run nothing.yaml")


def table(seed: int, keys: list[str]) -> DetectionTable:
    rng = np.random.default_rng(seed)
    found = {}
    for key in keys:
        corner = rng.uniform(0, 70, (12, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(5, 25, (12, 2))], axis=1)
        found[key] = Detections(CLASSES, xyxy, rng.uniform(0.05, 1, 12), rng.integers(0, len(CLASSES), 12))
    return table_of(CLASSES, [ImageRecord(key, key, 100, 80) for key in keys], found)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> ReportFacts:
    root = tmp_path_factory.mktemp("images")
    keys = [f"{'very_long_file_name_' * 8}{i}.png" for i in range(3)]
    for key in keys:
        Image.new("RGB", (100, 80), (200, 150, 120)).save(root / key)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    rows = ("source_only", f"teacher:{'t' * 80}", "student", "finetuned", "oracle")
    models = {row: {**dict.fromkeys(names, 0.5), "per_class": dict.fromkeys(CLASSES, 0.4)} for row in rows}
    kinds = ("class", "localisation", "both", "duplicate", "background", "missed")
    for figures in models.values():
        figures["intervals"] = {"AP": [0.4, 0.6], "AP50": [0.45, 0.52]}
        figures["errors"] = {kind: {"count": 10**6, "AP50": 0.1} for kind in kinds}
        figures["confusion"] = [[truth, said, 5] for truth in CLASSES for said in CLASSES]
    apart = {name: {"difference": 0.1, "interval": [-0.1, 0.3]} for name in ("AP", "AP50")}
    pseudo = table(9, [f"{i}.png" for i in range(30)])
    state = np.where(pseudo.score > 0.5, State.KEPT, State.DROPPED)
    epochs = [{"epoch": e, "box_loss": 3 / e, "cls_loss": 2 / e, "dfl_loss": 1 / e, "AP50": 0.1} for e in (1, 2, 3)]
    return ReportFacts(
        title="A full run " + "x" * 120,
        command="da-kd run recipes/one.yaml " + "--set a.b=c " * 40,
        metrics={
            "models": models,
            "gap_recovered": {"student": 0.4, "finetuned": 0.8},
            "differences": {"student": dict.fromkeys(rows[:2], apart)},
            "classes": CLASSES,
            "seed": 1,
            "versions": {"torch": "2.6.0+" + "local" * 30},
            "seconds": {"teach": 100.0, "distill": 50.0},
        },
        curves=dict.fromkeys(rows, epochs),
        pseudo=dataclasses.replace(pseudo, state=state.astype(np.int8)),
        label_truth=table(3, [f"{i}.png" for i in range(30)]),
        keep={"default": 0.5},
        drop={"default": 0.1},
        truth=table(0, keys),
        test_root=root,
        predictions={row: table(i, keys) for i, row in enumerate(rows, 1)},
        precision=dict.fromkeys(rows, dict.fromkeys(CLASSES, (1.0, 0.5, 0.0))),
        skipped=[("target", key, "truncated " * 20) for key in keys],
        review={"accepted": 3},
        notes=["y" * 300],
        images=2,
        recipe_yaml="key: " + "value " * 200,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 420])
@pytest.mark.parametrize("name", ["full", "few"])
def test_the_page_in_a_browser(browser, full, tmp_path, name, width, scheme):
    facts = full if name == "full" else FEW
    path = write_report(facts, tmp_path, Job())
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    charts = page.locator(".chart")
    if facts is full:
        page.locator(".chart .main-svg").first.wait_for(state="attached")
        assert charts.count() == 4 + len(full.curves) + 2 * len(CLASSES)
        for chart in charts.all():
            assert chart.locator(".main-svg").count() > 0
            assert chart.bounding_box()["height"] > 150

    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert [url for url in requests if url.startswith("file:")] == [path.as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title().startswith(facts.title[:10])
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.close()


def test_charts_follow_the_colour_scheme(browser, full, tmp_path):
    page = browser.new_page(color_scheme="light")
    page.goto(write_report(full, tmp_path, Job()).as_uri())
    colour = "getComputedStyle(document.querySelector('#chart-ladder .xtick text')).fill"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    for _ in range(100):  # the page's own policy forbids evaluating a condition inside it
        if page.evaluate(colour) != light:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(colour) != light
    assert "broken" not in page.title()
    page.close()
