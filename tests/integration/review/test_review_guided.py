"""What the person is told and what the keys do, on a real FiftyOne and a real server; and what a kill leaves."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest

from da_kd.detections import State
from da_kd.errors import SetupError
from da_kd.events import Job
from da_kd.recipe import Audit, Review
from da_kd.stages import review
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review import edits, journal, layout, mongod, opening, room
from da_kd.stages.review.compare import compare
from da_kd.stages.review.queue import build_queue
from da_kd.stages.review.room import open_room


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_the_queue_the_audit_and_the_plugin_are_in_the_room(given, workspace):
    given = dataclasses.replace(given, audit=Audit(images=1))
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert dataset.values("rank") == [0, 1, 2]
        audited = dataset.load_saved_view("audit (blind)")
        assert audited.values("draw") == [0]
        assert audited.values("probability") == [pytest.approx(1 / 3)]
        assert audited.values("why") == [""]
        assert audited.count("labels.detections") == 0
        shown = dataset.match(~fo.ViewField("audit"))
        assert dataset.count("snapshot.detections") == 7
        assert shown.count("labels.detections") == shown.count("snapshot.detections")
        assert {"teachers disagree", "uncertain", "rare classes", "nothing found"} <= set(dataset.list_saved_views())
        fields = dataset.get_field_schema(flat=True)
        told = {f"labels.detections.{name}" for name in ("why", "round", "state", "agreement", "score_frcnn")}
        assert told | {"rank", "worth", "why", "lists", "near_duplicate", "audit", "probability"} <= set(fields)

        from fiftyone.plugins.context import build_plugin_contexts

        mine = next(context for context in build_plugin_contexts() if context.name == "@da-kd/review")
        assert mine.errors == []
        keys = {"accept", "reject", "clear", "relabel", "accept_rest", "next_doubtful", "mark_done", "mark_open"}
        assert {instance.name for instance in mine.instances} == {*keys, "progress"}
        assert (Path(mine.plugin_definition.directory) / mine.plugin_definition.js_bundle).is_file()


def numbers(low: float, high: float) -> dict:
    return {"range": [low, high], "none": False, "exclude": False, "isMatching": False}


def words(*values: str) -> dict:
    return {"values": list(values), "exclude": False, "isMatching": False}


def test_filters_of_the_sidebar_work_on_everything_at_once(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        from fiftyone.server.view import get_view  # what the App asks for its grid, with what the sidebar sends

        inside = "labels.detections."
        first = fo.load_dataset("cells").match(fo.ViewField("key") == "0.png").first()
        alone = first.labels.detections[1]  # 0.8 of one teacher, none of the other
        wanted = {
            f"{inside}confidence": numbers(0.75, 0.85),
            f"{inside}agreement": numbers(0.0, 0.6),
            f"{inside}score_yolo_n_v2": numbers(0.75, 0.85),
            f"{inside}state": words("kept"),
            f"{inside}round": numbers(1, 1),
            f"{inside}why": words("one teacher alone"),
            f"{inside}label": words("WBC"),
            "rank": numbers(0, 3),
            "lists": {**words("all, most doubtful first"), "isMatching": True},
        }
        view = get_view("cells", filters=wanted)
        assert [[label.id for label in labels.detections] for labels in view.values("labels")] == [[alone.id]]
        for name, other in {
            f"{inside}confidence": numbers(0.0, 0.7),
            f"{inside}agreement": numbers(0.9, 1.0),
            f"{inside}score_yolo_n_v2": numbers(0.0, 0.01),
            f"{inside}state": words("uncertain"),
            f"{inside}round": numbers(2, 9),
            f"{inside}why": words("nothing of the kind"),
            "rank": numbers(7, 9),
        }.items():
            assert get_view("cells", filters={**wanted, name: other}).count("labels.detections") == 0, name


def test_what_the_keys_do_and_a_done_audit_image_measures(given, workspace):
    given = dataclasses.replace(given, audit=Audit(images=1, blind=False), seed=1)
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        first = dataset.match(fo.ViewField("key") == "0.png")
        a, b, c, _ = first.values("labels.detections.id")[0]
        assert edits.decide(dataset, [a, b], "accepted") == 2
        assert edits.decide(dataset, [b], "rejected") == 1
        assert edits.decide(dataset, [b, c], "") == 2
        assert first.values("labels.detections.tags")[0] == [["accepted"], [], [], []]
        assert edits.decide(dataset, ["0" * 24], "accepted") == 0
        assert edits.relabel(dataset, [c], "WBC") == 1
        assert first.values("labels.detections.label")[0] == ["RBC", "WBC", "WBC", "RBC"]
        score = 0.65
        rest = edits.rest_above(fo, dataset, score)
        shown = dataset.match(~fo.ViewField("audit")).values("labels.detections")
        wanted = {box.id for image in shown for box in image if box.confidence >= score and not box.tags}
        assert set(rest) == wanted
        order = dataset.values("id")
        assert edits.next_open(dataset, order[0]) == order[1]
        assert edits.next_open(dataset, order[2]) == order[0]
        audit = dataset.match(fo.ViewField("audit"))
        edits.mark(dataset, audit.values("id"), complete=True)
        assert edits.next_open(dataset, order[2]) not in audit.values("id")
        assert {"done": 1, "audit": 1, "audit_done": 1, "images": 3}.items() <= edits.progress(dataset).items()
        labels, truth, chances, population = edits.audited(fo, dataset)
        (sha,) = audit.values("sha")
        assert chances == {sha: pytest.approx(1 / 3)}
        assert len(labels) == population == 3
        assert len(truth) == 1
        edits.mark(dataset, order, complete=False)
        assert edits.progress(dataset)["done"] == 0
        edits.mark(dataset, audit.values("id"), complete=True)
    review.take_back(given, workspace, Job())
    entries = journal.read(workspace)
    assert journal.complete(entries, given.table.sha) == {sha: pytest.approx(1 / 3)}
    assert {"accepted", "relabelled", "complete"} <= {entry.action for entry in entries}
    assert review.take_back(given, workspace, Job()) == 0


def test_an_audit_with_a_skipped_image_measures_what_was_drawn_before_it(given, workspace, told):
    given = dataclasses.replace(given, audit=Audit(images=3))
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        samples, shas = dataset.load_saved_view("audit (blind)").values(["id", "sha"])
        edits.mark(dataset, [samples[0], samples[2]], complete=True)
        shown = edits.audited(fo, dataset)[2]
    assert review.take_back(given, workspace, Job()) == 2
    entries = journal.read(workspace)
    assert {entry.sha: entry.draw for entry in entries} == {shas[0]: 0, shas[2]: 2}
    truth, chances = review.truth_of_audit(given.table, entries, told)
    assert truth.sha == (shas[0],)
    assert chances == shown
    assert "1 of 2 audited images that are done do not measure" in told.text
    path = journal.path_of(workspace)
    path.write_text("".join(f"{json.dumps(without_draw(line))}\n" for line in path.read_text().splitlines()))
    before = journal.digest(journal.read(workspace), given.table.sha)
    assert len(review.truth_of_audit(given.table, journal.read(workspace))[1]) == 2  # as an earlier version left it
    assert review.take_back(given, workspace, Job()) == 2
    assert review.take_back(given, workspace, Job()) == 0
    assert review.truth_of_audit(given.table, journal.read(workspace))[1] == shown
    assert journal.digest(journal.read(workspace), given.table.sha) == before


def without_draw(line: str) -> dict:
    """Return an entry as an earlier version wrote it."""
    return {key: value for key, value in json.loads(line).items() if key != "draw"}


@pytest.mark.parametrize(("overlap", "differ"), [(0.55, 2), (0.3, 0)])
def test_the_app_tells_a_dispute_by_the_overlap_that_labels_were_fused_with(given, workspace, overlap, differ):
    xyxy = given.table.xyxy.copy()
    xyxy[:2] = [10, 10, 50, 50], [25, 10, 65, 50]
    saw, label = np.full((8, 2), 0.9, np.float32), given.table.label.copy()
    saw[0, 1] = saw[1, 0] = np.nan
    label[[0, 1, 5]] = 0  # one more of their kind stands alone in another image
    columns = {"score": np.full(8, 0.9, np.float32), "agreement": np.full(8, 0.5, np.float32)}
    table = dataclasses.replace(given.table, xyxy=xyxy, teacher_score=saw, label=label, **columns)
    given = dataclasses.replace(given, table=table, fuse_iou=overlap)
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        why = [word for image in dataset.values("labels.detections.why") for word in image or ()]
        assert why.count("teachers differ in place") == differ
        view = dataset.match(fo.ViewField("key") == "2.png")
        edits.mark(dataset, view.values("id"), complete=True)
        opening.reorder(fo, dataset, given, workspace)
        said = opening._said(given, dataset, workspace, Job())
        expected = build_queue(said.table, fuse_iou=overlap, known=said.known).worth
        told = dict(zip(*dataset.values(["key", "worth"]), strict=True))
        assert told["0.png"] == pytest.approx(float(expected[0]))


def test_an_audit_that_grows_leaves_what_was_done_and_hides_what_was_not(given, workspace, told):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        name = dataset.match(fo.ViewField("key") == "0.png").values("labels.detections.id")[0][0]
        edits.decide(dataset, [name], "accepted")
    larger = dataclasses.replace(given, audit=Audit(images=3))
    assert review.open_for_person(larger, workspace, told) == "cells"
    assert "3 more images" in told.text
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        counts = dict(zip(*dataset.values(["key", "labels.detections.id"]), strict=True))
        assert {key: len(ids or ()) for key, ids in counts.items()} == {"0.png": 4, "1.png": 0, "2.png": 0}
        assert sorted(dataset.load_saved_view("audit (blind)").values("draw")) == [0, 1, 2]
        edits.mark(dataset, dataset.match(fo.ViewField("key") == "2.png").values("id"), complete=True)
    assert review.take_back(larger, workspace, Job()) == 2
    told.events.clear()
    review.open_for_person(dataclasses.replace(given, audit=Audit(images=2)), workspace, told)
    assert "more images" not in told.text
    assert {entry.action: entry.probability for entry in journal.read(workspace)} == {"accepted": None, "complete": 1.0}


def test_images_shown_again_stand_at_the_end_of_the_audit_and_come_back_as_no_label(given, workspace, tmp_path, told):
    given = dataclasses.replace(given, audit=Audit(images=2, twice=2), seed=1)
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        audit = dataset.load_saved_view("audit (blind)")
        assert audit.values("again") == [None, None, True, True]
        assert audit.values("draw") == [0, 1, 0, 1]
        keys = audit.values("key")
        assert keys[:2] == keys[2:]
        assert audit.count("labels.detections") == 0
        assert dataset.load_saved_view("all, most doubtful first").count("filepath") == 1
        assert {"images": 3, "audit": 2, "again": 2, "again_done": 0}.items() <= edits.progress(dataset).items()
        assert compare(datasets.read_back(dataset), "it") == []
        assert edits.errors(fo, dataset)["images"] == 0
        for place, sample in enumerate(audit):
            if place != 3:  # the person overlooks it the second time
                sample.labels.detections.append(fo.Detection(label="WBC", bounding_box=[0.25, 0.25, 0.5, 0.5]))
                sample.save()
        edits.mark(dataset, audit.values("id"), complete=True)
        assert {"done": 2, "audit_done": 2, "again_done": 2}.items() <= edits.progress(dataset).items()
        told_there = edits.errors(fo, dataset)
        assert (told_there["images"], told_there["decisions"], told_there["differ"]["value"]) == (2, 2, 0.5)
        assert len(edits.audited(fo, dataset)[1]) == 2
    review.open_for_person(given, workspace, Job())  # the same is not asked for once more
    assert review.take_back(given, workspace, Job()) == 2 * 2 + 2 + 1
    assert review.take_back(given, workspace, Job()) == 0
    done = [entry for entry in journal.read(workspace) if entry.action == "complete"]
    assert sorted((entry.sha.startswith("again:"), entry.draw) for entry in done[:2]) == [(False, 0), (False, 1)]
    assert [entry.draw for entry in done[2:]] == [None, None]
    review.measure(given, workspace, tmp_path, told)
    assert json.loads((tmp_path / "audit.json").read_text())["reviewer"] == told_there
    assert "The reviewer errs in" in told.text
    review.finish(Review(mode="human", audit=given.audit), given, workspace, tmp_path, Job())
    assert json.loads((tmp_path / "review.json").read_text())["added"] == 2
    later = dataclasses.replace(given, fingerprint="fused again")
    name = review.open_for_person(later, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset(name)
        assert dataset.count_values("again") == {None: 3}  # both were done twice already
        more = dataclasses.replace(later, audit=Audit(images=3, twice=3))
    review.open_for_person(more, workspace, Job())
    with open_room(workspace, Job()) as fo:
        assert fo.load_dataset(name).count_values("again") == {None: 3, True: 1}


def test_the_queue_learns_from_images_that_are_done_and_leaves_touched_ones_alone(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert all(dataset.values("hash"))
        before, place = dict(zip(*dataset.values(["key", "worth"]), strict=True)), dataset.values("key").index("0.png")
        view = dataset.match(fo.ViewField("key") == "0.png")
        edits.decide(dataset, view.values("labels.detections.id")[0], "rejected")
        edits.mark(dataset, view.values("id"), complete=True)
        stamp = dataset.values("last_modified_at")[place]
        opening.reorder(fo, dataset, given, workspace)
        after = dict(zip(*dataset.values(["key", "worth"]), strict=True))
        assert dataset.values("last_modified_at")[place] == stamp
        assert after["0.png"] == before["0.png"]
        assert after["2.png"] != before["2.png"]  # boxes like its own were wrong
        assert sorted(dataset.values("rank")) == [0, 1, 2]


def random_input(given: review.ReviewInput, seed: int) -> review.ReviewInput:
    rng = np.random.default_rng(seed)
    counts = [*rng.integers(0, 7, 3).tolist(), 0]
    count = sum(counts)
    corner = rng.uniform(0, 50, (count, 2)).astype(np.float32)
    table = dataclasses.replace(
        given.table,
        offsets=np.cumsum([0, *counts]),
        xyxy=np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32),
        score=rng.uniform(0, 1, count).astype(np.float32),
        label=rng.integers(0, 3, count).astype(np.int32),
        state=rng.choice([int(State.KEPT), int(State.UNCERTAIN)], count).astype(np.int8),
        agreement=rng.uniform(0, 1, count).astype(np.float32),
        protected=rng.random(count) < 0.2,
        teacher_score=rng.uniform(0, 1, (count, 2)).astype(np.float32),
    )
    return dataclasses.replace(given, table=table, run=f"random-{seed}", fingerprint=f"{seed}")


def random_edits(fo, dataset, rng: np.random.Generator) -> dict[str, tuple]:
    """Edit a data set at random through FiftyOne's documents; return what must be found, by label id."""
    wanted = {}
    names = dataset.default_classes
    for sample in dataset:
        kept = []
        for label in sample.labels.detections:
            edit = rng.choice(["nothing", "accept", "reject", "delete", "relabel", "move", "relabel and move"])
            if edit == "accept":
                label.tags.append("accepted")
                wanted[label.id] = ("accepted", label.label)
            if edit == "reject":
                label.tags.append("rejected")
            if edit in ("reject", "delete"):
                wanted[label.id] = ("rejected", None)
            if "move" in edit:
                x, y, w, h = label.bounding_box
                label.bounding_box = [x / 2 + 0.01, y, w, h]
                wanted[label.id] = ("moved", label.label)
            if edit.startswith("relabel"):
                label.label = names[(names.index(label.label) + 1) % len(names)]
                wanted[label.id] = ("relabelled", label.label)
            if edit != "delete":
                kept.append(label)
        if rng.random() < 0.5:
            drawn = fo.Detection(label=str(rng.choice(names)), bounding_box=[0.25, 0.25, 0.5, 0.5])
            kept.append(drawn)
            wanted[drawn.id] = ("added", drawn.label)
        sample.labels.detections = [kept[i] for i in rng.permutation(len(kept))]
        sample.save()
    return wanted


def test_random_edits_of_random_labels_come_back_exactly(given, workspace):
    with open_room(workspace, Job()) as fo:
        for seed in range(6):
            some = random_input(given, seed)
            dataset = datasets.import_table(fo, some.run, some.table, some.root, Job(), fingerprint=some.fingerprint)
            assert compare(datasets.read_back(dataset), "it") == []
            wanted = random_edits(fo, dataset, np.random.default_rng(seed))
            images = datasets.read_back(dataset)
            found = compare(images, "it")
            assert {e.label_id: (e.action, e.after and e.after.name) for e in found} == wanted
            given_boxes = {label.id: label.box for image in images for label in image.before}
            assert sorted(box.xyxy for box in given_boxes.values()) == sorted(map(tuple, some.table.xyxy.tolist()))
            for entry in found:
                if entry.action in ("accepted", "relabelled") and entry.after.xyxy != entry.before.xyxy:
                    assert abs(entry.after.xyxy[0] - entry.before.xyxy[0]) > 1e-3  # moved as well
                if entry.action == "accepted":
                    assert entry.after == given_boxes[entry.label_id]


SERVE = """
import sys; sys.path.insert(0, sys.argv[4])
from pathlib import Path; from conftest import make_input
from da_kd.events import Job; from da_kd.stages import review
review.launch_app(make_input(Path(sys.argv[2])), Path(sys.argv[1]), int(sys.argv[3]),
                  Job(lambda event: print(getattr(event, "text", ""), flush=True)))
"""


def execute(port: int, operator: str, **context) -> dict:
    """Run an operator as the page does."""
    body = {"operator_uri": f"@da-kd/review/{operator}", "dataset_name": "cells", "params": {}, **context}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/operators/execute", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - our own address
        return json.load(reply)


def test_a_kill_of_the_app_of_python_and_of_the_server_loses_no_click_that_was_confirmed(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        ids = [name for image in dataset.values("labels.detections.id") for name in image]
    port = mongod.free_port()
    command = [sys.executable, "-c", SERVE, str(workspace), str(given.root), str(port), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert any("http" in line for line in iter(program.stdout.readline, ""))
        family = psutil.Process(program.pid).children(recursive=True)
        assert len(family) > 1
        for name in ids:
            label = {"label_id": name, "field": "labels", "sample_id": ""}
            assert execute(port, "accept", selected_labels=[label])["result"] == {"count": 1}
        os.kill(json.loads((workspace / "mongo/server.json").read_text())["pid"], signal.SIGKILL)
        program.kill()
        for process in family:
            if process.is_running():
                process.kill()
    assert review.take_back(given, workspace, Job()) == len(ids)
    assert [entry.action for entry in journal.read(workspace)] == ["accepted"] * len(ids)


def _work(port: int, image: str, labels: list[str], order: list[str]) -> None:
    """Do everything that the keys and buttons can."""

    def count(operator: str, **context) -> int:
        return execute(port, operator, **context)["result"]["count"]

    def label(number: int) -> list[dict]:
        return [{"label_id": labels[number], "field": "labels", "sample_id": image}]

    assert count("accept") == 0  # nothing is selected
    assert count("accept", selected=[image]) == 4
    assert count("reject", selected_labels=label(1)) == 1
    assert count("clear", selected_labels=label(2)) == 1
    assert count("relabel", selected_labels=label(3), params={"number": 3}) == 1
    assert count("relabel", selected_labels=label(3), params={"number": 9}) == 0
    # The rest of what the App shows, with the filter of its sidebar: two more boxes score as much, and are uncertain.
    kept = {"labels.detections.state": words("kept")}
    assert count("accept_rest", params={"score": 0.25}, filters=kept) == 2
    assert execute(port, "next_doubtful", current_sample=order[0])["result"] == {"sample": order[1]}
    assert count("mark_done", current_sample=order[1]) == 1
    assert execute(port, "next_doubtful", current_sample=order[0])["result"] == {"sample": order[2]}
    assert count("mark_done", selected=[order[0], order[2]]) == 2
    assert execute(port, "next_doubtful", current_sample=order[0])["result"] == {"sample": None}
    assert count("mark_open", selected=[order[2]]) == 1


def test_every_operator_of_the_plugin_works_through_the_server_of_the_app(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells").sort_by("rank")
        images = dict(zip(*dataset.values(["key", "id"]), strict=True))
        labels = dict(zip(*dataset.values(["key", "labels.detections.id"]), strict=True))
        order = dataset.values("id")
    port = mongod.free_port()
    command = [sys.executable, "-c", SERVE, str(workspace), str(given.root), str(port), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert any("http" in line for line in iter(program.stdout.readline, ""))
            _work(port, images["0.png"], labels["0.png"], order)
        finally:
            program.terminate()
    review.take_back(given, workspace, Job())
    said = {entry.label_id: entry.action for entry in journal.read(workspace)}
    actions = [said.get(name) for name in labels["0.png"]]
    assert actions[:2] == ["accepted", "rejected"]
    assert actions[3] == "relabelled"
    done = journal.complete(journal.read(workspace), given.table.sha)
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert set(done) == set(dataset.select([order[0], order[1]]).values("sha"))


def test_a_server_that_breaks_off_is_told_and_the_room_can_be_opened_again(given, workspace, monkeypatch):
    monkeypatch.setattr(mongod, "SELECT", 500)
    review.open_for_person(given, workspace, Job())
    with pytest.raises(SetupError, match="broke off"), open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        os.kill(json.loads((workspace / "mongo/server.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(0.5)
        dataset.values("key")
    assert review.take_back(given, workspace, Job()) == 0


def test_a_server_that_breaks_off_on_a_full_disk_says_that_it_is_full(given, workspace, monkeypatch):
    monkeypatch.setattr(mongod, "SELECT", 500)
    monkeypatch.setattr(room, "LEAST_ROOM", 2**62)
    with pytest.raises(SetupError, match="the disk is full; make room"), open_room(workspace, Job()) as fo:
        os.kill(json.loads((workspace / "mongo/server.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(0.5)
        fo.list_datasets()


OTHER = """
import fiftyone as fo
name = "da-kd-test-of-isolation"
print(fo.list_datasets().count("cells"), flush=True)
fo.Dataset(name).add_sample(fo.Sample("/nothing.jpg"))
input()
print(fo.list_datasets().count("cells"), fo.load_dataset(name).count("filepath"), flush=True)
fo.delete_dataset(name)
"""


def test_another_fiftyone_of_the_same_user_neither_sees_nor_disturbs_the_review(given, workspace, tmp_path):
    (tmp_path / "home").mkdir()
    settings = {"FIFTYONE_DO_NOT_TRACK": "true", "FIFTYONE_DATABASE_VALIDATION": "false"}
    environment = {**os.environ, "HOME": str(tmp_path / "home"), **settings}
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        review.open_for_person(given, workspace, Job())
        said = [other.stdout.readline().strip()]
        with open_room(workspace, Job()) as fo:
            assert fo.list_datasets() == ["cells"]
            other.stdin.write("\n")
            other.stdin.flush()
            said.append(other.stdout.readline().strip())
            assert other.wait(60) == 0
            assert fo.load_dataset("cells").count("labels.detections") == 7
    assert said == ["0", "0 1"]
    deadline = time.monotonic() + 60  # that FiftyOne's own database ends after it
    while any(str(tmp_path / "home") in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_cvat_gets_the_labels_through_fiftyone(given, workspace, tmp_path):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        fo.load_dataset("cells").export(
            str(tmp_path / "cvat"),
            dataset_type=fo.types.CVATImageDataset,
            label_field=layout.LABELS,
            export_media=False,
        )
        assert (tmp_path / "cvat" / "labels.xml").read_text().count("<box ") == 7
