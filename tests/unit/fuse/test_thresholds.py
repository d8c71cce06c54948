"""Where boxes are kept from: by quantile, by what the source holds, by the best F-measure, and when nothing helps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.detections import Detections, ImageRecord, State, read_table, table_of
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.recipe import Fuse, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.judged import Judged, judge
from da_kd.stages.fuse.thresholds import FEW, by_f_beta, by_quantile, by_source_distribution, computed

CLASSES = ("RBC", "WBC")


def boxes(*rows):
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(CLASSES, array[:, :4], array[:, 4], array[:, 5].astype(int))


def table(found, searched=None, state=None):
    records = [ImageRecord(key, key, 999, 99) for key in found]
    parts = {key: rows if isinstance(rows, Detections) else boxes(*rows) for key, rows in found.items()}
    return table_of(CLASSES, records, parts, searched, state)


SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
BY_CLASS = (SCORE, np.array([0.4], np.float32))
NONE = np.zeros(0, np.float32)


def test_a_quantile_is_taken_of_each_class():
    keep = by_quantile((*BY_CLASS, NONE), 0.75)
    assert keep[:2] == [float(np.float32(0.8)), float(np.float32(0.4))]
    assert keep[2] == "no box of it was found"
    assert by_quantile((SCORE,), 0) == [float(np.float32(0.5))]
    assert by_quantile((SCORE,), 1) == [float(np.float32(0.9))]


def test_of_a_class_with_few_boxes_hardly_more_are_kept_than_asked():
    for count in (2, 3, 5, 10, 20, 100):
        score = np.linspace(0, 1, count).astype(np.float32)
        (cut,) = by_quantile((score,), 0.7)
        assert (score >= cut).sum() < 0.3 * count + 1 - 1e-6


def test_as_many_boxes_are_kept_as_the_source_has_per_image():
    truth = table({"a": [(0, 0, 9, 9, 1, 0)] * 3, "b": [(0, 0, 9, 9, 1, 0)]})  # two an image
    none = "the source's labels have no object of it"
    assert by_source_distribution(BY_CLASS, np.array([2, 2]), truth) == [float(np.float32(0.6)), none]
    assert by_source_distribution(BY_CLASS, np.array([1, 2]), truth)[0] == float(np.float32(0.8))
    assert by_source_distribution(BY_CLASS, np.array([9, 2]), truth)[0] == 0.0  # there are not as many
    assert by_source_distribution((SCORE, NONE), np.array([1, 1]), table({"a": [(0, 0, 9, 9, 1, 1)]})) == [
        none,
        "no box of it was found",
    ]


def test_ignored_and_unsearched_source_labels_do_not_count():
    rows = [(0, 0, 9, 9, 1, 0), (20, 0, 29, 9, 1, 0)]
    truth = table({"a": rows, "b": []}, state={"a": np.array([State.KEPT, State.IGNORED])})
    assert by_source_distribution(BY_CLASS, np.array([4, 4]), truth)[0] == float(np.float32(0.8))  # 0.5 an image
    blind = table({"a": rows}, searched=["WBC"]).pick_boxes(np.zeros(2, bool))
    assert isinstance(by_source_distribution(BY_CLASS, np.array([4, 4]), blind)[0], str)


def seen(score, right, objects):
    count = len(score)
    return Judged(np.array(score), np.zeros(count, int), np.arange(count), np.array(right, bool), np.array([objects]))


def test_the_best_f_measure_is_found():
    score, right = [0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, True, False]
    # F1 with ten objects: 2/11, 4/12, 4/13, 6/14, 6/15
    assert by_f_beta(seen(score, right, 10), 1) == [float(np.float32(0.6))]
    assert by_f_beta(seen(score, right, 10), 0.1) == [float(np.float32(0.8))]


def test_slack_takes_the_lowest_score_that_is_nearly_as_good():
    score, right = [0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, True, False]
    # F1 with ten objects: .182, .333, .308, .429, .400
    for slack, keep in ((0.0, 0.6), (0.01, 0.6), (0.03, 0.5), (0.5, 0.5)):
        assert by_f_beta(seen(score, right, 10), 1, slack=slack) == [float(np.float32(keep))]
    low = [*score, 0.1, 0.05]  # two more that are wrong: .375 and .353
    assert by_f_beta(seen(low, [*right, False, False], 10), 1, slack=0.06) == [float(np.float32(0.1))]


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=40), st.sampled_from([0.5, 1, 2]))
def test_no_other_score_has_a_better_f_measure_and_no_higher_one_the_same(rows, beta):
    score, right = np.array([s / 10 for s, _ in rows]), np.array([r for _, r in rows])
    objects = int(right.sum()) + FEW

    def measure(at):
        hits, boxes = right[score >= at].sum(), (score >= at).sum()
        return (1 + beta**2) * hits / (boxes + beta**2 * objects)

    (keep,) = by_f_beta(seen(score, right, objects), beta)
    if not right.any():
        assert keep == "no object of it was found in the labelled images"
        return
    assert measure(keep - 1e-6) == pytest.approx(max(measure(at) for at in score))
    assert all(measure(at) < measure(keep - 1e-6) for at in score[score > keep + 1e-6])
    order = np.random.default_rng(0).permutation(len(score))
    assert by_f_beta(seen(score[order], right[order], objects), beta) == [keep]


def test_few_objects_choose_nothing():
    assert by_f_beta(seen([0.9] * 9, [True] * 9, 9), 1) == ["the labelled images have 9 objects of it, fewer than 10"]


def test_the_recipe_stands_in_and_its_drop_is_the_least():
    config = Fuse(keep={"default": 0.5, "WBC": 0.6}, drop={"default": 0.1, "WBC": 0.2}, thresholds={"by": "quantile"})
    cuts = computed([0.75, "why"], config, CLASSES)
    assert (cuts.keep, cuts.computed) == ((0.75, 0.6), (True, False))
    assert cuts.drop == pytest.approx((0.3, 0.2))
    assert cuts.problems == {"WBC": "why; the recipe's 0.60 stands"}
    low = computed([0.05, 0.9], config, CLASSES)
    assert low.keep == (0.1, 0.9)
    assert low.problems == {"RBC": "0.050 would be below 'fuse.drop'; 0.10 is taken"}
    assert low.as_json(CLASSES)["RBC"] == {"keep": 0.1, "drop": pytest.approx(0.04), "computed": True}


def test_boxes_are_judged_once_and_only_where_somebody_looked():
    truth = table(
        {"a": [(0, 0, 10, 10, 1, 0), (50, 0, 60, 10, 1, 0)], "b": [(0, 0, 10, 10, 1, 1)], "c": []},
        state={"a": np.array([State.KEPT, State.IGNORED])},
    )
    found = table(
        {
            "a": [(0, 0, 10, 10, 0.5, 0), (0, 0, 10, 9, 0.9, 0), (50, 0, 60, 9, 0.8, 0), (50, 0, 60, 9, 0.8, 1)],
            "b": [(0, 0, 10, 10, 0.7, 0), (0, 0, 10, 9, 0.6, 1)],
            "c": [(0, 0, 9, 9, 0.3, 0)],
        }
    )

    class Flat:
        xyxy, score, image, label = found.xyxy, found.score, found.image_index, found.label

    everywhere = np.ones((3, 2), bool)
    judged = judge(truth, everywhere, Flat)
    assert judged.score.tolist() == pytest.approx([0.5, 0.9, 0.8, 0.7, 0.6, 0.3])
    assert judged.right.tolist() == [False, True, False, False, True, False]  # the ignored place has no opinion on RBC
    assert judged.objects.tolist() == [1, 1]
    here = everywhere.copy()
    here[1] = False
    assert judge(truth, here, Flat).objects.tolist() == [1, 0]
    assert len(judge(truth, here, Flat).score) == 4


def world(seed, count=60, faint=1.0):
    """Return truth, and what a teacher says of it: half of its boxes are nothing, and score lower."""
    random = np.random.default_rng(seed)
    truth, said = {}, {}
    for number in range(count):
        key = f"{number:03}.png"
        corners = [(100 * k, 0, 100 * k + 50, 50) for k in range(4)]
        truth[key] = [(*c, 1, k % 2) for k, c in enumerate(corners)]
        good = [(*c, random.uniform(0.3, 0.9), k % 2) for k, c in enumerate(corners)]
        bad = [(x, 60, x + 30, 90, random.uniform(0.02, 0.6), k % 2) for k, (x, *_) in enumerate(corners)]
        said[key] = [(*row[:4], row[4] * faint, row[5]) for row in good + bad]
    return table(truth), table(said)


def sample(name, seed, count=60, faint=1.0):
    truth, said = world(seed, count, faint)
    return {name: fuse.Sample(name, truth, {"t": said}, held_out=name != "source")}


def run(tmp_path, said, samples, seen=None, **config):
    """Run *fuse*; return the table, what was written beside it, and what was told."""
    told = []
    tmp_path.mkdir(exist_ok=True)
    teachers = (Teacher(name="t", weights="w"),)
    fuse.run(teachers, {"t": said}, Fuse(**config), CLASSES, tmp_path, Job(told.append), samples)
    files = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    texts = [event.text for event in told if event.kind in ("note", "warning")]
    return read_table(tmp_path / "labels.parquet"), files, texts


def test_fixed_thresholds_are_written_and_nothing_is_measured(tmp_path):
    _, said = world(0)
    _, files, _ = run(tmp_path, said, sample("target_dev", 1))
    each = {"keep": 0.5, "drop": 0.1, "computed": False}
    assert files["thresholds"] == {"by": "fixed", "labels": None, "classes": dict.fromkeys(CLASSES, each)}
    assert "calibration" not in files
    assert fuse.labels_used(tmp_path) == {}


def test_the_target_is_cut_where_labelled_images_say_it_is_best(tmp_path):
    _, said = world(0)
    result, files, texts = run(tmp_path, said, sample("source_val", 1), thresholds={"by": "f_beta", "drop": 0.5})
    assert files["thresholds"]["labels"] == {"set": "source_val", "images": 60}
    for cut in files["thresholds"]["classes"].values():
        assert 0.3 <= cut["keep"] <= 0.6
        assert cut["drop"] == pytest.approx(cut["keep"] / 2)
    keep = np.array([files["thresholds"]["classes"][name]["keep"] for name in CLASSES], np.float32)[result.label]
    assert ((result.state == State.KEPT) == (result.score >= keep)).all()
    assert any("Kept from, by f_beta on the labels of data.source_val (60 images): RBC 0." in text for text in texts)


@pytest.mark.parametrize(
    ("fit_on", "given", "used"),
    [
        ("auto", ("source_val", "target_dev"), "target_dev"),
        ("auto", ("source_val",), "source_val"),
        ("source_val", ("source_val", "target_dev"), "source_val"),
    ],
)
def test_whose_labels_were_used_is_on_record(tmp_path, fit_on, given, used):
    _, said = world(0)
    samples = {name: sample(name, 1)[name] for name in given}
    run(tmp_path, said, samples, fit_on=fit_on, calibrate="logistic", thresholds={"by": "f_beta"})
    assert fuse.labels_used(tmp_path) == dict.fromkeys(("calibration", "thresholds"), f"{used} (60 images)")


@pytest.mark.parametrize("config", [{"calibrate": "logistic"}, {"thresholds": {"by": "f_beta"}}])
def test_nothing_is_fitted_on_images_that_teachers_learned_from(tmp_path, config):
    _, said = world(0)
    with pytest.raises(
        DataError, match=r"needs labelled images that no teacher learned from; add 'data.target_dev' or"
    ):
        run(tmp_path, said, sample("source", 1), **config)
    assert not list(tmp_path.iterdir())


def test_the_source_counts_objects_even_if_teachers_learned_from_it(tmp_path):
    _, said = world(0)
    result, files, _ = run(tmp_path, said, sample("source", 1), thresholds={"by": "source_distribution"})
    assert files["thresholds"]["labels"] == {"set": "source", "images": 60}
    kept = np.bincount(result.label[result.state == State.KEPT]) / len(result)
    assert kept.tolist() == [2, 2]  # as in the truth


def test_calibration_undoes_a_teacher_that_speaks_softly(tmp_path):
    _, loud = world(0)
    _, soft = world(0, faint=0.5)
    first, _, _ = run(tmp_path / "loud", loud, sample("source_val", 1), calibrate="logistic")
    second, files, texts = run(tmp_path / "soft", soft, sample("source_val", 1, faint=0.5), calibrate="logistic")
    assert (first.state == second.state).mean() > 0.95  # without, hardly any soft box would be kept
    plain, _, _ = run(tmp_path / "plain", soft, {})
    assert (plain.state == State.KEPT).sum() == 0
    assert second.score.min() >= 0
    assert second.score.max() <= 1
    curves = files["calibration"]["teachers"]["t"]
    assert curves["error_after"] < curves["error_before"]
    assert set(curves["classes"]) == set(CLASSES)
    assert any("scores calibrated on data.source_val (60 images)" in text for text in texts)


@pytest.mark.parametrize(
    ("count", "origin", "told"),
    [
        (10, "shift", "(20 right); these scores take the slope of"),
        (4, "none", "(8 right); these scores stay as they are"),
    ],
)
def test_too_few_boxes_for_a_curve_are_told(tmp_path, count, origin, told):
    _, said = world(0)
    _, files, texts = run(tmp_path, said, sample("source_val", 1, count=count), calibrate="logistic")
    assert {cut["fitted_on"] for cut in files["calibration"]["teachers"]["t"]["classes"].values()} == {origin}
    assert any(told in text for text in texts)


CONFIGS = [
    {"by": "quantile"},
    {"by": "source_distribution"},
    {"by": "f_beta", "beta": 2.0},
]


@pytest.mark.parametrize("thresholds", CONFIGS, ids=lambda item: item["by"])
def test_the_order_of_images_and_teachers_changes_no_threshold(tmp_path, thresholds):
    config = Fuse(thresholds=thresholds, calibrate="logistic", lonely="demote")
    truth, one = world(1)
    two = world(2)[1]
    said = {"one": world(3)[1], "two": world(4)[1]}

    def go(place, names, order):
        place.mkdir()
        known = {"source_val": fuse.Sample("source_val", truth.take(order), {"one": one.take(order),
                                           "two": two.take(order)}, held_out=True)}  # fmt: skip
        teachers = [Teacher(name=name, weights="w") for name in names]
        fuse.run(teachers, {n: t.take(order) for n, t in said.items()}, config, CLASSES, place, Job(), known)
        tree = json.loads((place / "thresholds.json").read_text())["classes"]
        return read_table(place / "labels.parquet"), [tree[name][side] for name in CLASSES for side in ("keep", "drop")]

    straight = np.arange(60)
    order = np.random.default_rng(5).permutation(60)
    wanted, cuts = go(tmp_path / "a", ("one", "two"), straight)
    table, again = go(tmp_path / "b", ("two", "one"), order)
    assert again == pytest.approx(cuts, abs=1e-6)
    wanted = wanted.take(order)
    assert table.score == pytest.approx(wanted.score, abs=1e-5)
    assert table.xyxy == pytest.approx(wanted.xyxy, abs=1e-3)
    assert (table.state == wanted.state).mean() > 0.999
    assert (table.score.min() >= 0, table.score.max() <= 1) == (True, True)
    assert (table.xyxy.min() >= 0, (table.xyxy <= (999, 99, 999, 99)).all()) == (True, True)


def test_what_a_rule_keeps_out_moves_no_threshold(tmp_path):
    """Boxes that only one of two teachers saw can never be kept here, so they are not counted."""
    _, said = world(0)
    nothing = table(dict.fromkeys(said.key, ()))
    teachers = (Teacher(name="t", weights="w"), Teacher(name="u", weights="w"))
    config = Fuse(lonely="demote", thresholds={"by": "quantile"})
    fuse.run(teachers, {"t": said, "u": nothing}, config, CLASSES, tmp_path, Job())
    tree = json.loads((tmp_path / "thresholds.json").read_text())["classes"]
    assert not any(given["computed"] for given in tree.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "fixed", "drop": 0.2},
        {"by": "quantile", "beta": 2},
        {"by": "f_beta", "quantile": 0.5},
        {"by": "fixed", "slack": 0.1},
    ],
)
def test_a_key_that_would_mean_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="means nothing with 'by"):
        Fuse(thresholds=wrong)
