"""A set with more images than may wait at once, on a real FiftyOne and a real server: what goes in, what comes back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from da_kd.detections import DetectionTable, State, read_table
from da_kd.events import Job
from da_kd.recipe import Audit, Review
from da_kd.stages import review
from da_kd.stages.review import edits, extent, journal, layout
from da_kd.stages.review.audit import compare_with_truth
from da_kd.stages.review.room import open_room

IMAGES, SIZE = 20, 60


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def twenty(tmp_path: Path) -> review.ReviewInput:
    """Twenty images with two boxes each, the first the most doubtful; the second image shows what the first does."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        picture = np.random.default_rng(0 if number == 1 else number).integers(0, 255, (12, 12, 3), np.uint8)
        Image.fromarray(picture).resize((SIZE, SIZE)).save(folder / f"{number:02}.png")
    corner = rng.uniform(0, 20, (2 * IMAGES, 2)) + np.tile([[0, 0], [30, 30]], (IMAGES, 1))
    score = np.repeat(np.linspace(0.6, 0.95, IMAGES), 2).astype(np.float32)
    table = DetectionTable(
        vocabulary=("RBC", "WBC"),
        key=tuple(f"{number:02}.png" for number in range(IMAGES)),
        sha=tuple(f"{number:064x}" for number in range(IMAGES)),
        size=np.full((IMAGES, 2), SIZE, np.int32),
        reason=("",) * IMAGES,
        searched=np.ones((IMAGES, 2), bool),
        offsets=np.arange(0, 2 * IMAGES + 1, 2),
        xyxy=np.concatenate([corner, corner + 9], axis=1).astype(np.float32),
        score=score,
        label=np.tile([0, 1], IMAGES).astype(np.int32),
        state=np.zeros(2 * IMAGES, np.int8),
        agreement=np.ones(2 * IMAGES, np.float32),
        protected=np.zeros(2 * IMAGES, bool),
        teachers=("a",),
        teacher_score=score[:, None],
    )
    return review.ReviewInput(folder, table, "cells", "twenty", most=5)


def keys(fo) -> list[str]:
    return sorted(key[:2] for key in fo.load_dataset("cells").values("key"))


def finished(given, workspace: Path, out: Path, config: Review) -> tuple[DetectionTable, dict]:
    out.mkdir(exist_ok=True)
    review.finish(config, given, workspace, out, Job())
    return read_table(out / "labels.parquet"), json.loads((out / "review.json").read_text())


def test_the_first_five_of_twenty_go_in_and_what_comes_back_is_about_them_alone(twenty, workspace, tmp_path, told):
    review.open_for_person(twenty, workspace, told)
    assert "5 of 20 images are in this review" in told.text
    assert extent.read(workspace, "twenty") == extent.Extent(5, 20, 5)
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert keys(fo) == ["00", "02", "03", "04", "05"]  # 01 is the same picture as 00
        assert dataset.sort_by("rank").values("key")[0] == "00.png"
        assert {"images": 5, "of": 20, "most": 5}.items() <= dataset.info["da_kd"].items()
        assert {"images": 5, "of": 20}.items() <= edits.progress(dataset).items()
        assert dataset.load_saved_view("all, most doubtful first").count("filepath") == 5
        first = dataset.match(fo.ViewField("key").is_in(["00.png", "02.png"]))
        ids = first.values("labels.detections.id")
        edits.decide(dataset, ids[0][:1], "rejected")
        edits.mark(dataset, first.values("id"), complete=True)
        partly = dataset.match(fo.ViewField("key") == "03.png")
        edits.decide(dataset, partly.values("labels.detections.id")[0][:1], "accepted")
    # Opened again before anything was taken back: two are done, so two come in, and one that is begun waits on.
    review.open_for_person(twenty, workspace, told)
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert keys(fo) == ["00", "02", "03", "04", "05", "06", "07"]
        assert all(dataset.values("hash"))
        assert dataset.load_saved_view("all, most doubtful first").count("filepath") == 7
        assert dataset.count_sample_tags() == {"done": 2}
        assert dataset.count_label_tags("labels") == {"rejected": 1, "accepted": 1}
        assert len(set(dataset.values("rank"))) == 7
        schema = dataset.label_schemas["labels"]
        assert schema["classes"] == ["RBC", "WBC"]
        new = dataset.match(fo.ViewField("key") == "07.png")
        edits.relabel(dataset, [new.values("labels.detections.id")[0][0]], "WBC")
    assert review.take_back(twenty, workspace, Job()) == 8
    assert review.take_back(twenty, workspace, Job()) == 0
    said = journal.read(workspace)
    assert {entry.sha for entry in said} == {twenty.table.sha[at] for at in (0, 2, 3, 7)}
    assert set(journal.complete(said, twenty.table.sha)) == {twenty.table.sha[at] for at in (0, 2)}

    table, figures = finished(twenty, workspace, tmp_path / "out", Review(mode="human"))
    out = ~np.isin(table.image_index, [0, 2, 3, 7])
    assert (table.state[out] == State.KEPT).all()
    assert not table.protected[out].any()
    assert (figures["images"], figures["complete"], figures["rejected"], figures["relabelled"]) == (20, 2, 1, 1)

    # Fewer, more, and all: nothing is lost, nothing that is in goes out, nobody's decision is made twice.
    for most, wanted in ((2, 7), (9, 11), (None, 20)):
        review.open_for_person(dataclasses.replace(twenty, most=most), workspace, told)
        with open_room(workspace, Job()) as fo:
            dataset = fo.load_dataset("cells")
            assert dataset.count("filepath") == wanted
            assert dataset.count_sample_tags() == {"done": 2}
            assert fo.list_datasets() == ["cells"]
        assert review.take_back(twenty, workspace, Job()) == 0
    assert extent.read(workspace, "twenty") == extent.Extent(20, 20, None)
    assert journal.read(workspace) == said


def test_the_audit_is_in_whole_and_measures_the_whole_set(twenty, workspace, told):
    given = dataclasses.replace(twenty, audit=Audit(images=3), seed=2)
    review.open_for_person(given, workspace, told)
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert dataset.count("filepath") == 5
        drawn = dataset.load_saved_view(layout.AUDIT[True])
        assert drawn.values("draw") == [0, 1, 2]
        assert drawn.values("probability") == [pytest.approx(3 / 20)] * 3
        edits.mark(dataset, drawn.values("id"), complete=True)
        labels, truth, chances, population = edits.audited(fo, dataset)
        assert (len(labels), len(truth), population) == (5, 3, 20)
        assert compare_with_truth(labels, truth, chances, population).population == 20
    larger = dataclasses.replace(given, audit=Audit(images=8), most=4)
    review.open_for_person(larger, workspace, told)
    assert "Audit: 5 more images" in told.text
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        drawn = dataset.load_saved_view(layout.AUDIT[True])
        assert drawn.values("draw") == list(range(8))
        assert drawn.values("probability") == [pytest.approx(8 / 20)] * 8
        assert drawn.count("labels.detections") == 0  # blind, the new ones as well
        assert drawn.count("snapshot.detections") == 16
    review.take_back(larger, workspace, Job())
    chances = journal.complete(journal.read(workspace), given.table.sha)
    assert sorted(chances.values()) == [pytest.approx(8 / 20)] * 3


def test_a_rule_decides_on_all_images_and_shows_the_most_doubtful(twenty, workspace, tmp_path, told):
    out = tmp_path / "out"
    out.mkdir()
    review.auto(Review(mode="auto"), twenty, workspace, out, told)
    assert "5 of 20 images are in the data set 'cells'; the rule decided on all." in told.text
    assert json.loads((out / "review.json").read_text())["kept"] == 40
    with open_room(workspace, Job()) as fo:
        assert keys(fo) == ["00", "01", "02", "03", "04"]
