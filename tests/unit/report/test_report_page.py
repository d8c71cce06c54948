"""The page holds everything itself, says what is missing, and believes no text from outside."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.errors import Cancelled
from da_kd.events import Job, Progress
from da_kd.palette import PALETTE, colours
from da_kd.stages.report import ReportFacts, charts, words, write_report
from da_kd.stages.report.facts import in_order, name_of
from da_kd.stages.report.page import render
from da_kd.stages.report.pictures import draw, draw_restyled, draw_rows

EVIL = "</script><script>alert(1)</script>"
CLASSES = ("cell", EVIL, "$x^2$ <b>bold</b>")
NOTHING = ReportFacts("Nothing", "da-kd run nothing.yaml")


def table(seed: int, count: int = 6, boxes: int = 8, vocabulary: tuple[str, ...] = CLASSES) -> DetectionTable:
    rng = np.random.default_rng(seed)
    records, found = [], {}
    for number in range(count):
        key = f"<i>{number}.png"
        corner = rng.uniform(0, 70, (boxes, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(5, 25, (boxes, 2))], axis=1)
        label = rng.integers(0, len(vocabulary), boxes)
        found[key] = Detections(vocabulary, xyxy, rng.uniform(0.05, 1, boxes), label)
        records.append(ImageRecord(key, key, 100, 80))
    return table_of(vocabulary, records, found)


def scored(ap: float) -> dict:
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    return {
        **dict.fromkeys(names, ap),
        "APl": None,
        "per_class": {CLASSES[0]: ap, CLASSES[1]: None, CLASSES[2]: ap / 2},
    }


@pytest.fixture
def facts(tmp_path) -> ReportFacts:
    truth = table(0)
    root = tmp_path / "images"
    root.mkdir()
    for number, key in enumerate(truth.key):
        Image.new("RGB", (100, 80), (40 * number, 90, 120)).save(root / key)
    pseudo = table(7, count=20)
    state = np.select([pseudo.score > 0.5, pseudo.score > 0.2], [State.KEPT, State.UNCERTAIN], State.DROPPED)
    epochs = [
        {"epoch": e, "box_loss": 2 / e, "cls_loss": 1 / e, "dfl_loss": float("nan"), "lr": 0.1} for e in (1, 2, 3)
    ]
    return ReportFacts(
        title=f"Run {EVIL}",
        command="da-kd run <recipe>.yaml",
        metrics={
            "schema": 1,
            "models": {
                "oracle": scored(0.9),
                "student": scored(0.6),
                "teacher:t": scored(0.7),
                "source_only": scored(0.3),
            },
            "gap_recovered": {"student": 0.5, "finetuned": None},
            "absent": {"finetuned": f"no section {EVIL}"},
            "classes": list(CLASSES),
            "seed": 3,
            "versions": {"numpy": "2", EVIL: EVIL},
            "seconds": {"teach": 75.4, "report": np.float32(0.5)},
        },
        curves={"student": epochs, "teacher:t": [{**epochs[0], "val_AP": 0.4}], "oracle": []},
        pseudo=dataclasses.replace(pseudo, state=state.astype(np.int8)),
        label_truth=pseudo,
        keep={"default": 0.5, EVIL: 0.6},
        drop={"default": 0.2},
        truth=truth,
        test_root=root,
        predictions={"teacher:t": table(1), "student": table(2)},
        skipped=[("target", f"{EVIL}{i}.jpg", "truncated") for i in range(60)],
        review={"accepted": 1234, EVIL: 1},
        notes=[EVIL],
        images=3,
        recipe_yaml=f"name: x  # {EVIL}\n",
    )


class Tags(HTMLParser):
    """All start tags with their attributes, and the texts of style elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "style":
            self.styles += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_the_page_loads_nothing(facts, tmp_path):
    tags = Tags(write_report(facts, tmp_path / "new" / "report", Job()).read_text())
    for _, attributes in tags.tags:
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (name, value)
        assert "url(" not in (attributes.get("style") or "")
    assert tags.styles
    assert "url(" not in tags.styles
    assert "@import" not in tags.styles
    policy = next(meta["content"] for meta in tags.all("meta") if meta.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_what_comes_from_outside_is_only_text(facts):
    page = render(facts, Job())
    assert "<script>alert" not in page
    tags = Tags(page)
    assert len(tags.all("script")) == 3
    assert not tags.all("b") or all(not attributes for attributes in tags.all("b"))
    assert page.count("&lt;script&gt;alert(1)") >= 8
    figures = json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)[1])
    assert figures["per-class"]["layout"]["xaxis"]["ticktext"][1].startswith("&lt;/script&gt;")
    assert figures["per-class"]["layout"]["xaxis"]["ticktext"][2] == "&#36;x^2&#36; &lt;b&gt;bold&lt;/b&gt;"


def test_sections_and_figures_are_there(facts):
    page = render(facts, Job())
    tags = Tags(page)
    assert len(tags.all("section")) == page.count('class="how"') == 10
    assert len(tags.all("img")) == 9  # three images; ground truth, teacher, student
    assert all(image["alt"] and image["width"] == "320" for image in tags.all("img"))
    for text in (
        "0.600",
        "+0.300",
        "50\xa0%",
        "1\u202f234",
        "60\xa0images were",
        "the first 50",
        "1\xa0min 15\xa0s",
        "numpy",
    ):
        assert text in page, text
    charted = {attributes["id"] for tag, attributes in tags.tags if (attributes.get("id") or "").startswith("chart-")}
    assert charted == {f"chart-{name}" for name in ("ladder", "per-class", "curve-0", "curve-1", *_scores())}


def _scores() -> list[str]:
    return [f"scores-{label}" for label in range(len(CLASSES))]


def test_every_table_scrolls_by_itself_on_a_narrow_screen(facts):
    page = render(facts, Job())
    tables = len(re.findall(r"<table>", page))
    assert tables > 3
    assert len(re.findall(r'<div class="wide">\s*<table>', page)) == tables


def test_a_report_of_nothing_says_so(tmp_path):
    page = write_report(NOTHING, tmp_path, Job()).read_text()
    tags = Tags(page)
    assert len(tags.all("section")) == 10
    assert not tags.all("img")
    assert not tags.all("script")
    assert "No model was scored in this run" in page
    assert page.count("not scored: not part of this run") == 4
    assert json.loads((tmp_path / "metrics.json").read_text()) == {}
    assert len(page) < 100_000


def test_the_figures_are_written_beside_the_page(facts, tmp_path):
    metrics = {**facts.metrics, "odd": [np.int64(3), float("inf"), (np.float32("nan"),)]}
    write_report(dataclasses.replace(facts, metrics=metrics), tmp_path / "r", Job())
    written = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert written["models"] == facts.metrics["models"]
    assert written["odd"] == [3, None, [None]]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["index.html", "metrics.json"]


def test_the_same_facts_give_the_same_page(facts):
    assert render(facts, Job()) == render(facts, Job())


def test_a_cancelled_report_leaves_the_old_one(facts, tmp_path):
    write_report(NOTHING, tmp_path, Job())
    before = (tmp_path / "index.html").read_bytes()
    asked: list[int] = []

    def third_time() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        write_report(facts, tmp_path, Job(cancelled=third_time))
    assert (tmp_path / "index.html").read_bytes() == before
    assert len(list(tmp_path.glob(".*"))) == 0


def test_progress_is_told(facts):
    events: list = []
    render(facts, Job(events.append))
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)][-1] == (3, 3)


def test_an_image_that_is_gone_is_named(facts):
    for path in Path(facts.test_root).iterdir():
        path.unlink()
    page = render(facts, Job())
    assert not Tags(page).all("img")
    assert page.count("not drawn") == 6


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"truth": None}, "no test images with labels"),
        ({"test_root": None}, "no test images with labels"),
        ({"predictions": {}}, "No model has predicted"),
        ({"images": 0}, "asks for none"),
        ({"pseudo": None}, "There are no pseudo labels"),
        ({"curves": {}}, "No model was trained"),
        ({"skipped": ()}, "every image could be used"),
        ({"review": {}}, "Nobody reviewed"),
        ({"recipe_yaml": ""}, "The recipe was not recorded"),
        ({"predictions": {"student": table(2)}}, "Student"),
        ({"predictions": {"source_only": table(2), "finetuned": table(2, boxes=0)}}, "0 of 8 found"),
    ],
)
def test_what_is_missing_is_said(facts, changes, text):
    assert text in render(dataclasses.replace(facts, **changes), Job())


def test_images_are_chosen_by_how_much_teacher_and_student_differ(facts):
    truth = facts.truth
    same = truth.key[2]
    index = truth.key.index(same)
    teacher = facts.predictions["teacher:t"]
    rows = [teacher.at(i) if i == index else facts.predictions["student"].at(i) for i in range(len(teacher))]
    records = [ImageRecord(key, "", 100, 80) for key in teacher.key]
    student = table_of(CLASSES, records, dict(zip(teacher.key, rows, strict=True)))
    drawn = draw_rows(dataclasses.replace(facts, predictions={"teacher:t": teacher, "student": student}), Job())
    assert drawn[-1].key == same
    assert drawn[-1].remark == "difference 0\xa0%"
    assert len({row.key for row in drawn}) == 3


def test_what_does_not_count_in_ap_is_not_called_false(facts):
    student = facts.predictions["student"]
    ignored = dataclasses.replace(student, state=np.full(len(student.label), State.IGNORED, np.int8))
    for row in draw_rows(dataclasses.replace(facts, truth=ignored, predictions={"student": student}), Job()):
        assert row.panels[1].caption == "0 of 0 found, 0 false"

    looked = np.zeros_like(facts.truth.searched)
    looked[0, 0] = True
    only = dataclasses.replace(
        facts, truth=dataclasses.replace(facts.truth, searched=looked), predictions={"student": student}
    )
    (row,) = draw_rows(only, Job())
    assert row.key == facts.truth.key[0]
    cells = (student.at(0).label == 0) & (student.at(0).score >= 0.3)
    assert int(row.panels[1].caption.split()[-2]) <= cells.sum()


def test_every_chart_is_one_that_plotly_knows(facts):
    import plotly.graph_objects as go

    many = tuple(f"class {i}" for i in range(30))
    models = {row: {"AP": 0.5, "AP50": 0.6, "per_class": dict.fromkeys(many, 0.5)} for row in ("student", "oracle")}
    crowd = ReportFacts("", "", {"models": models, "classes": many})
    figures = [charts.ladder(facts), charts.per_class(facts), charts.per_class(crowd)]
    figures += [charts.curve(list(epochs)) for epochs in facts.curves.values() if epochs]
    figures += [charts.scores(facts, label) for label in range(3)]
    for figure in figures:
        plain = json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', json.dumps(figure)))
        go.Figure(plain)


def test_every_colour_of_a_chart_is_in_the_style_sheet(facts):
    css = (Path(charts.__file__).parent / "page.css").read_text()
    figures = [
        charts.ladder(facts),
        charts.per_class(facts),
        charts.scores(facts, 0),
        charts.curve(facts.curves["student"]),
    ]
    used = set(re.findall(r'"(--[a-z0-9-]+)"', json.dumps(figures))) | {f"--teacher-{i}" for i in (1, 2, 3, 4)}
    light, dark = css.split("prefers-color-scheme: dark", 1)
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_histograms_count_every_box_and_cut_what_dwarfs_the_rest(facts):
    figure = charts.scores(facts, 0)
    counted = {bar["name"]: sum(bar["y"]) for bar in figure["data"]}
    mine = facts.pseudo.label == 0
    assert counted == {
        s.name.lower(): int((mine & (facts.pseudo.state == s)).sum()) for s in State if s != State.IGNORED
    }
    assert sorted(shape["x0"] for shape in figure["layout"]["shapes"]) == [0.2, 0.5]

    score = np.concatenate([np.full(1000, 0.01), np.full(10, 0.9)])
    boxes = Detections(("cell",), np.tile([0, 0, 5, 5], (1010, 1)), score, np.zeros(1010))
    flood = dataclasses.replace(facts, pseudo=table_of(("cell",), [ImageRecord("a", "", 9, 9)], {"a": boxes}))
    assert charts.scores(flood, 0)["layout"]["yaxis"]["range"] == [0, pytest.approx(11)]


def test_rows_stand_in_the_order_of_the_ladder():
    rows = {"oracle", "finetuned", "teacher:b", "student", "teacher:a", "source_only"}
    assert in_order(rows) == ["source_only", "teacher:a", "teacher:b", "student", "finetuned", "oracle"]
    assert in_order({"teacher:b": 1, "teacher:a": 1, "source_only": 1}) == ["source_only", "teacher:b", "teacher:a"]
    assert name_of("teacher:yolo") == "Teacher yolo"


def test_classes_keep_their_colours_in_every_picture():
    assert colours(["a", "b"]) == {"a": PALETTE[0], "b": PALETTE[1]}
    boxes = Detections(("b", "a"), np.array([[10, 10, 60, 60]]), np.ones(1), np.zeros(1))
    picture = draw(np.zeros((100, 100, 3), np.uint8), boxes, ("a", "b"), with_scores=False)
    assert picture.size == (320, 320)
    assert picture.getpixel((100, 33)) == tuple(bytes.fromhex(PALETTE[1][1:]))


def test_odd_boxes_and_names_are_drawn():
    names = (*"abcdefgh", "白血球")
    corners = np.array([[-50, -50, 500, 500], [5, 5, 5, 5], [90, 0, 100, 3], [8, 8, 2, 2]], np.float32)
    boxes = Detections(names, corners, np.array([1, 0.5, 0.4, 0.3]), np.array([8, 1, 2, 3]))
    assert draw(np.zeros((10, 400, 3), np.uint8), boxes, names, with_scores=True).size == (320, 8)
    assert draw(np.zeros((400, 10, 3), np.uint8), boxes, names, with_scores=True).size == (12, 480)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        (
            {"student": 0.7, "source_only": 0.5},
            "reaches AP50 0.700 against 0.500 source-only, and recovers 63",
        ),
        ({"student": 0.7}, "The student reaches AP50 0.700."),
        ({"student": 0.4, "source_only": 0.5}, "Adaptation did not help: AP50 is 0.400 with it and 0.500 source-only."),
        ({"student": 0.6, "finetuned": 0.8}, "takes it to 0.800"),
        ({"oracle": 0.8}, "There is no score of a student: not part of this run."),
        ({"student": None}, "There is no score of a student: its AP50 is undefined."),
        ({}, "No model was scored"),
    ],
)
def test_the_headline_says_what_was_gained(figures, text):
    models = {row: {"AP50": value} for row, value in figures.items()}
    facts = ReportFacts("", "", {"models": models, "gap_recovered": {"student": 0.634, "finetuned": None}})
    assert text in words.headline(facts)


def test_figures_in_words():
    assert [words.fraction(v) for v in (None, 0.12345, float("nan"))] == ["\u2013", "0.123", "\u2013"]
    assert [words.percent(v) for v in (None, 0.634, -0.2, -0.001)] == ["\u2013", "63\xa0%", "\u221220\xa0%", "0\xa0%"]
    times = [words.duration(v) for v in (4.2, 59.96, 192, 7500)]
    assert times == ["4.2\xa0s", "1\xa0min 0\xa0s", "3\xa0min 12\xa0s", "2\xa0h 5\xa0min"]
    assert words.counted(1, "box", "boxes") == "1\xa0box"
    assert words.counted(1200, "box", "boxes") == "1\u202f200\xa0boxes"
    assert words.listed(["a", "b", "c"]) == "a, b and c"


def test_a_file_name_that_is_no_unicode_does_not_spoil_the_page(tmp_path):
    write_report(dataclasses.replace(NOTHING, skipped=[("t", "a\udce4.jpg", "r")]), tmp_path, Job())
    assert "a?.jpg" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_labels_rightness_is_told_only_where_there_is_truth(facts):
    checked = render(facts, Job())
    assert "How right they are" in checked
    assert "How right they are" not in render(dataclasses.replace(facts, label_truth=None), Job())


def test_restyled_images_stand_beside_their_originals_and_files_that_are_gone_are_left_out(facts):
    root = facts.test_root
    files = [tuple(root / f"<i>{number}.png" for number in numbers) for numbers in ((0, 1, 2), (3, 4, 5))]
    shown = dataclasses.replace(facts, restyled=files)
    page = render(shown, Job())
    assert page.count('<section id="restyled">') == 1
    assert [[panel.title for panel in row.panels] for row in draw_restyled(shown)] == [
        ["As it is", "Copy 1", "Copy 2"]
    ] * 2
    files[1][2].unlink()
    assert len(draw_restyled(shown)) == 1
    assert 'id="restyled"' not in render(facts, Job())
