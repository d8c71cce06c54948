"""A set is fused a part at a time: how it is cut changes no label, no threshold and no verdict, to the last digit."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, read_table, table_of
from da_kd.errors import Cancelled, DataError
from da_kd.events import Job, Progress
from da_kd.recipe import Fuse, Teacher
from da_kd.stages import fuse
from da_kd.stages.fuse.classes import class_map
from da_kd.stages.fuse.guard_figures import Tally, count_boxes, kolmogorov
from da_kd.stages.fuse.sample import Sample
from da_kd.stages.predict import StoredPredictions

CLASSES = ("car", "truck", "person")
TEACHERS = (
    Teacher(name="one", weights="w", classes={"lorry": "truck", "van": "truck"}),
    Teacher(name="two", weights="w", class_weights={"car": 2}, classes={"vehicle": ["car", "truck"]}),
)
KNOWN = {"one": ("car", "lorry", "van", "person"), "two": ("vehicle", "car", "person")}
CALLED = {"one": np.array([0, 1, 3]), "two": np.array([1, 0, 2])}  # what each calls a car, a truck, a person
COLUMNS = ("vocabulary", "key", "sha", "size", "reason", "searched", "offsets", "xyxy", "score", "label", "state")
MORE = ("agreement", "protected", "teachers", "teacher_score")


def world(seed, images, persons=True):
    """What is in images, and what both teachers say of it; now and then one of them cannot read an image."""
    random = np.random.default_rng(seed)
    records = [ImageRecord(f"{i:03}.png", f"{i:x}", 100, 80) for i in range(images)]
    truth, said = {}, {name: {} for name in KNOWN}
    for record in records:
        corner = random.uniform(0, 70, (int(random.integers(0, 6)), 2))
        xyxy, label = np.hstack([corner, corner + 12]), random.integers(0, 3 if persons else 2, len(corner))
        truth[record.key] = Detections(CLASSES, xyxy, np.ones(len(label)), label)
        for name, classes in KNOWN.items():
            if random.random() > 0.1:
                moved = xyxy + random.normal(0, 1.5, xyxy.shape)
                said[name][record.key] = Detections(classes, moved, random.beta(3, 2, len(label)), CALLED[name][label])
    tables = {name: table_of(KNOWN[name], records, found, teachers=(name,)) for name, found in said.items()}
    return table_of(CLASSES, records, truth), tables


def run(out, said, config, at_once, job=None):
    """Fuse, and return the labels and the bytes of every other file."""
    out.mkdir(parents=True)
    truth, at_home = world(99, 40)
    samples = {"source_val": Sample("source_val", truth, at_home, held_out=True)}
    fuse.run(TEACHERS, said, config, CLASSES, out, job or Job(), samples, at_once)
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    files.pop("labels.parquet")
    return read_table(out / "labels.parquet"), files


def same(one, other):
    for name in (*COLUMNS, *MORE):
        left, right = getattr(one, name), getattr(other, name)
        assert left == right if isinstance(left, tuple) else np.array_equal(left, right, equal_nan=name in MORE), name


CONFIGS = {
    "fixed": {},
    "quantile": {"thresholds": {"by": "quantile"}, "lonely": "demote"},
    "source_distribution": {"thresholds": {"by": "source_distribution"}, "calibrate": "logistic"},
    "f_beta": {"thresholds": {"by": "f_beta"}, "method": "soft_nms", "guard": {"mode": "off"}},
}


@given(
    st.integers(0, 1000),
    st.integers(0, 30),
    st.integers(1, 12),
    st.sampled_from(sorted(CONFIGS)),
    st.sampled_from(["wbf", "nms", "nmm", "soft_nms"]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_how_a_set_is_cut_changes_nothing(tmp_path_factory, seed, images, at_once, kind, method, persons):
    said, place = world(seed, images, persons)[1], tmp_path_factory.mktemp("fuse")
    config = Fuse(**{"method": method, **CONFIGS[kind]})
    whole, told = run(place / "whole", said, config, max(images, 1))
    cut, again = run(place / "cut", said, config, at_once)
    same(cut, whole)
    assert again == told
    assert set(told) == {
        "thresholds.json",
        *(["calibration.json"] if "calibrate" in CONFIGS[kind] else []),
        *([] if kind == "f_beta" else ["guard.json"]),
    }


@pytest.mark.parametrize("at_once", [1, 7, 512])
def test_the_labels_are_those_of_the_whole_set_in_memory(tmp_path, at_once):
    said = world(1, 60)[1]
    maps = {t.name: class_map(t.name, said[t.name].vocabulary, CLASSES, t.classes) for t in TEACHERS}
    wanted = fuse.fuse(TEACHERS, said, maps, Fuse(), CLASSES, Job())
    assert {int(state) for state in wanted.state} == {State.KEPT, State.UNCERTAIN, State.DROPPED}
    same(run(tmp_path / "out", said, Fuse(guard={"mode": "off"}), at_once)[0], wanted)


def test_a_class_that_collapsed_is_demoted_in_every_part(tmp_path):
    said = world(1, 60, persons=False)[1]
    table, files = run(tmp_path / "out", said, Fuse(), 7)
    assert json.loads(files["guard.json"])["demoted"] == ["person"]
    assert not table.searched[:, 2].any()
    assert table.searched[:, 0].sum() > 50
    whole = run(tmp_path / "whole", said, Fuse(), 60)[0]
    same(table, whole)


class Watched:
    """Predictions in memory that remember how many images were asked for at a time."""

    def __init__(self, table):
        self.table, self.vocabulary, self.asked = table, table.vocabulary, []

    def __len__(self):
        return len(self.table)

    def part(self, images):
        self.asked.append(images.stop - images.start)
        return self.table.part(images)


@pytest.mark.parametrize(("kind", "times"), [("fixed", 1), ("quantile", 2), ("f_beta", 1)])
def test_no_more_is_read_at_a_time_and_none_of_it_oftener_than_needed(tmp_path, kind, times):
    said = {name: Watched(table) for name, table in world(2, 20)[1].items()}
    run(tmp_path / "out", said, Fuse(**CONFIGS[kind]), 8)
    assert {name: one.asked for name, one in said.items()} == {"one": [8, 8, 4] * times, "two": [8, 8, 4] * times}


def test_stored_predictions_of_other_shards_are_fused_as_those_in_memory(tmp_path):
    said = world(3, 25)[1]
    for name, size in (("one", 4), ("two", 9)):
        (tmp_path / name / "shards").mkdir(parents=True)
        for number, begin in enumerate(range(0, 25, size)):
            part = said[name].part(slice(begin, min(begin + size, 25)))
            part.write(tmp_path / name / "shards" / f"{number:05d}.parquet")
    stored = {name: StoredPredictions(tmp_path / name) for name in said}
    table, files = run(tmp_path / "stored", stored, Fuse(), 6)
    wanted, told = run(tmp_path / "memory", said, Fuse(), 25)
    same(table, wanted)
    assert files == told


@pytest.mark.parametrize("spoil", [lambda table: table.part(slice(0, 24)), lambda table: table.take([*range(24), 25])])
def test_different_images_are_refused_wherever_they_are(tmp_path, spoil):
    said = world(3, 26)[1]
    said = {"one": said["one"].part(slice(0, 25)), "two": spoil(said["two"])}
    with pytest.raises(DataError, match="different images"):
        run(tmp_path / "out", said, Fuse(), 6)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thresholds.json"]


def test_one_that_is_stopped_leaves_no_labels_and_the_next_attempt_writes_them(tmp_path):
    said, asked = world(4, 20)[1], []
    job = Job(cancelled=lambda: asked.append(1) or len(asked) > 2)
    with pytest.raises(Cancelled):
        run(tmp_path / "out", said, Fuse(), 5, job)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thresholds.json"]
    told = []
    run(tmp_path / "again", said, Fuse(), 5, Job(told.append))
    steps = [event for event in told if isinstance(event, Progress)]
    assert (steps[-1].task, steps[-1].done, steps[-1].total) == ("merging", 20, 20)


@given(st.integers(0, 1000), st.lists(st.integers(0, 20), max_size=5))
@settings(max_examples=40, deadline=None)
def test_counts_are_the_same_to_the_last_digit_however_a_table_is_cut(seed, cuts):
    table = world(seed, 20)[0]
    random = np.random.default_rng(seed)
    count = len(table.score)
    table = DetectionTable(
        **{name: getattr(table, name) for name in (*COLUMNS[:8], "label", "protected")},
        score=random.random(count, np.float32),
        state=random.integers(0, 4, count).astype(np.int8),
        agreement=random.random(count, np.float32),
    )
    tally, edges = Tally(3), [0, *sorted(cuts), 20]
    for begin, end in pairwise(edges):
        tally.add(table.part(slice(begin, end)))
    side, whole = tally.side(), count_boxes(table)
    for name in ("images", "said", "kept", "score", "agreement", "scores"):
        assert np.array_equal(getattr(side, name), getattr(whole, name)), name
    assert (side.total, side.empty) == (whole.total, whole.empty)
    kept = table.state == State.KEPT
    assert side.score.tolist() == np.bincount(table.label[kept], table.score[kept].astype(float), 3).tolist()
    assert side.empty == np.mean([not kept[slice(*table.offsets[i : i + 2])].any() for i in range(20)])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
@settings(deadline=None)
def test_the_distance_of_scores_is_looked_for_piece_by_piece(first, second):
    from da_kd.stages.fuse import guard_figures

    one, other = (np.sort(np.array(side, np.float32)) for side in (first, second))
    wanted = max(abs((one <= at).mean() - (other <= at).mean()) for at in range(10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard_figures, "_PIECE", 4)
        assert kolmogorov(one, other) == pytest.approx(wanted)
