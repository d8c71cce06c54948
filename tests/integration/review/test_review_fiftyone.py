"""The stage with a real FiftyOne and a real server: what goes in, what a person does, what comes back."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest

from da_kd.detections import State, read_table, stack
from da_kd.errors import Busy, Cancelled, InputError, SetupError
from da_kd.events import Job
from da_kd.recipe import Accept, Review
from da_kd.stages import review
from da_kd.stages.review import app, journal, mongod, room
from da_kd.stages.review import dataset as datasets
from da_kd.stages.review.room import open_room

AUTO = Review(mode="auto", accept=Accept(score=0.75))
HUMAN = Review(mode="human")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def finished(given: review.ReviewInput, workspace: Path, out: Path):
    review.finish(HUMAN, given, workspace, out, Job())
    return read_table(out / "labels.parquet"), json.loads((out / "review.json").read_text())


# ---- auto

LOOK = """
import json, sys
from pathlib import Path
from da_kd.events import Job
from da_kd.stages.review.room import open_room
with open_room(Path(sys.argv[1]), Job()) as fo:
    d = fo.load_dataset("cells")
    print(json.dumps({
        "names": fo.list_datasets(), "persistent": d.persistent, "count": d.count("filepath"),
        "tags": d.count_label_tags("labels"), "views": d.list_saved_views(), "classes": d.default_classes,
        "sure": len(d.load_saved_view("accepted by rule").values("id")),
        "confident": d.filter_labels("labels", fo.ViewField("agreement") >= 1).count("labels.detections"),
        "teachers": d.count("labels.detections.score_frcnn"), "active": d.active_label_schemas,
    }))
"""


def test_auto_leaves_a_tagged_data_set_that_another_process_sees_and_no_home_is_touched(
    given, workspace, out, tmp_path
):
    review.auto(AUTO, given, workspace, out, Job())
    table = read_table(out / "labels.parquet")
    assert table.state.tolist() == [0, 0, 1, 3, 1, 0, 1, 1]
    figures = json.loads((out / "review.json").read_text())
    assert (figures["images"], figures["kept"], figures["uncertain"], figures["dropped"]) == (3, 3, 4, 1)
    assert figures["dataset"] == "cells"

    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(workspace)], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout) == {
        **{"names": ["cells"], "persistent": True, "count": 3, "tags": {"accepted": 3, "uncertain": 4}},
        **{"views": ["accepted by rule", "uncertain"], "classes": ["RBC", "WBC", "Platelets"], "sure": 2},
        **{"confident": 4, "teachers": 4, "active": ["labels"]},
    }
    assert list(home.rglob("*")) == []


def test_auto_again_uses_what_is_there_and_another_rule_makes_another(given, workspace, out):
    for _ in range(2):
        review.auto(AUTO, given, workspace, out, Job())
    review.auto(Review(mode="auto"), given, workspace, out, Job())
    assert json.loads((out / "review.json").read_text())["dataset"] == "cells-2"
    with open_room(workspace, Job()) as fo:
        assert fo.list_datasets() == ["cells", "cells-2"]


# ---- human


def test_the_app_can_edit_labels_and_does_not_show_every_box_twice(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        schema = dataset.label_schemas["labels"]
        assert list(dataset.label_schemas) == dataset.active_label_schemas == ["labels"]
        assert schema["classes"] == ["RBC", "WBC", "Platelets"]
        fixed = {item["name"] for item in schema["attributes"] if item.get("read_only")}
        figures = {"agreement", "confidence", "state", "protected", "round", "why", "score_yolo_n_v2", "score_frcnn"}
        assert fixed == {"id", *figures}
        assert "labels" in dataset.app_config.active_fields.paths
        assert "snapshot" not in dataset.app_config.active_fields.paths
        dataset.generate_label_schemas(scan_samples=False)  # what the Annotate tab asks for first, of every field


def edit(fo, name: str = "cells") -> dict[str, tuple]:
    """Do what a person does in the App, through the same documents; return what should be found, by label id."""
    dataset = fo.load_dataset(name)
    first, third = (
        dataset.match(fo.ViewField("key") == "0.png").first(),
        dataset.match(fo.ViewField("key") == "2.png").first(),
    )
    accepted, relabelled, rejected, deleted = first.labels.detections
    moved, both, untouched = third.labels.detections
    accepted.tags.append("accepted")
    relabelled.label = "Platelets"
    rejected.tags = ["rejected"]
    drawn = fo.Detection(label="RBC", bounding_box=[0.5, 0.5, 0.25, 0.25])
    first.labels.detections = [accepted, relabelled, rejected, drawn]
    first.save()
    moved.bounding_box = [0.5, 0.25, 0.25, 0.5]
    both.label, both.bounding_box = "RBC", [0.0, 0.0, 1.0, 1.0]
    third.save()
    assert untouched.id
    return {
        accepted.id: ("accepted", "RBC"),
        relabelled.id: ("relabelled", "Platelets"),
        rejected.id: ("rejected", None),
        deleted.id: ("rejected", None),
        drawn.id: ("added", "RBC"),
        moved.id: ("moved", "WBC"),
        both.id: ("relabelled", "RBC"),
    }


def test_a_person_s_edits_come_back_exactly_and_once(given, workspace, out, told):
    assert review.open_for_person(given, workspace, Job()) == "cells"
    assert review.take_back(given, workspace, Job()) == 0
    with open_room(workspace, Job()) as fo:
        wanted = edit(fo)
    assert review.take_back(given, workspace, told) == 7
    assert "7 new decision(s) from the data set 'cells'" in told.text
    entries = journal.read(workspace)
    assert {e.label_id: (e.action, e.after and e.after.name) for e in entries} == wanted
    assert all(e.when and e.who and e.dataset.startswith("cells@") for e in entries)
    assert review.take_back(given, workspace, Job()) == 0

    table, figures = finished(given, workspace, out)
    assert {key: figures[key] for key in ("accepted", "rejected", "relabelled", "moved", "added")} == {
        **{"accepted": 1, "rejected": 2, "relabelled": 2, "moved": 1, "added": 1}
    }
    assert figures["dataset"] == "cells"
    old = given.table.xyxy
    drawn = np.array([0.5 * 641, 0.5 * 479, 0.75 * 641, 0.75 * 479], np.float32)
    moved = np.array([0.5 * 97, 0.25 * 1201, 0.75 * 97, 0.75 * 1201], np.float32)
    whole = np.array([0, 0, 97, 1201], np.float32)
    np.testing.assert_array_equal(table.xyxy, [*old[:5], drawn, moved, whole, old[7]])
    assert table.label.tolist() == [0, 2, 2, 0, 0, 0, 1, 0, 2]
    assert table.state.tolist() == [0, 0, 3, 3, 3, 0, 0, 0, 0]
    assert table.protected.tolist() == [True, True, True, False, True, True, True, True, False]
    assert table.offsets.tolist() == [0, 6, 6, 9, 9]


def test_an_undone_decision_is_withdrawn(given, workspace, out):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        first = fo.load_dataset("cells").match(fo.ViewField("key") == "0.png").first()
        first.labels.detections[0].tags.append("rejected")
        first.labels.detections.append(fo.Detection(label="RBC", bounding_box=[0.5, 0.5, 0.25, 0.25]))
        first.save()
    assert review.take_back(given, workspace, Job()) == 2
    with open_room(workspace, Job()) as fo:
        first = fo.load_dataset("cells").match(fo.ViewField("key") == "0.png").first()
        first.labels.detections[0].tags.remove("rejected")
        first.labels.detections = first.labels.detections[:-1]
        first.save()
    assert review.take_back(given, workspace, Job()) == 2
    table, _ = finished(given, workspace, out)
    assert not table.protected.any()
    assert table.state.tolist() == given.table.state.tolist()
    assert journal.digest(journal.read(workspace), given.table.sha) == ""


def test_opening_again_keeps_the_clicks_and_other_labels_never_overwrite_them(given, workspace, told):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        wanted = edit(fo)
    assert review.open_for_person(given, workspace, Job()) == "cells"
    moved = dataclasses.replace(given, root=given.root / "elsewhere")
    assert review.open_for_person(moved, workspace, Job()) == "cells"
    other = dataclasses.replace(given, fingerprint="of other labels")
    assert review.open_for_person(other, workspace, told) == "cells-2"
    assert "The data set 'cells' holds something else" in told.text
    assert f"{len(wanted)} new decision(s) from the data set 'cells', which had other labels" in told.text
    with open_room(workspace, Job()) as fo:
        assert str(given.root / "elsewhere" / "0.png") in fo.load_dataset("cells").values("filepath")
    with pytest.raises(InputError, match="not been opened"):
        review.take_back(dataclasses.replace(given, fingerprint="never opened"), workspace, Job())
    assert review.take_back(given, workspace, Job()) == 0  # all of it was taken before the others were opened
    with open_room(workspace, Job()) as fo:
        shown = fo.load_dataset("cells-2").sort_by("key").values("labels.detections.protected")
        assert shown == [[True] * 3, [], [True, True, False]]


def test_copies_of_an_image_are_shown_once_and_what_is_decided_holds_for_all(given, workspace, out):
    copy = dataclasses.replace(given.table.take([0]), key=("copy.png",))
    (given.root / "copy.png").write_bytes((given.root / "0.png").read_bytes())
    twice = dataclasses.replace(given, table=stack([given.table, copy]))
    review.open_for_person(twice, workspace, Job())
    with open_room(workspace, Job()) as fo:
        dataset = fo.load_dataset("cells")
        assert sorted(dataset.values("key")) == ["0.png", "1.png", "2.png"]
        first = dataset.match(fo.ViewField("key") == "0.png").first()
        first.tags.append("done")
        first.save()
    review.take_back(twice, workspace, Job())
    table, _ = finished(twice, workspace, out)
    assert np.diff(table.offsets).tolist() == [5, 0, 3, 0, 5]
    assert table.protected.tolist() == [True] * 5 + [False] * 3 + [True] * 5


def test_a_later_round_starts_from_what_the_person_did_and_keeps_it_in_auto(given, workspace, out):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        edit(fo)
    review.take_back(given, workspace, Job())
    second = dataclasses.replace(given, fingerprint="round 2")
    name = review.open_for_person(second, workspace, Job())
    with open_room(workspace, Job()) as fo:
        shown = fo.load_dataset(name).sort_by("key").values("labels.detections.protected")
        assert shown == [[True] * 3, [], [True, True, False]]
    assert review.take_back(second, workspace, Job()) == 0
    review.auto(Review(mode="auto", accept=Accept(score=1)), given, workspace, out, Job())
    table = read_table(out / "labels.parquet")
    assert table.state[table.protected].tolist() == [0, 0, 3, 3, 0, 0, 0]
    assert set(table.state[~table.protected]) == {State.UNCERTAIN, State.DROPPED}


def test_a_kill_of_the_server_right_after_an_edit_loses_nothing(given, workspace):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        wanted = edit(fo)
        os.kill(json.loads((workspace / "mongo/server.json").read_text())["pid"], signal.SIGKILL)
    assert review.take_back(given, workspace, Job()) == len(wanted)


def test_an_import_that_was_killed_is_made_anew(given, workspace):
    class Killed(BaseException):
        pass

    def kill() -> bool:
        raise Killed

    with pytest.raises(Killed):
        review.open_for_person(given, workspace, Job(cancelled=kill))
    assert review.open_for_person(given, workspace, Job()) == "cells"
    with open_room(workspace, Job()) as fo:
        assert fo.list_datasets() == ["cells"]
        assert fo.load_dataset("cells").count("labels.detections") == 7


def test_boxes_that_nobody_moved_come_back_to_the_last_bit(given, workspace):
    rng = np.random.default_rng(3)
    corner = rng.uniform(-5, 600, (4000, 2)).astype(np.float32)
    size = rng.uniform(1e-3, 300, (4000, 2)).astype(np.float32)
    xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    count = len(xyxy)
    table = dataclasses.replace(
        given.table,
        offsets=np.array([0, 2000, 2500, count, count]),
        xyxy=xyxy,
        score=rng.uniform(0, 1, count).astype(np.float32),
        label=rng.integers(0, 3, count).astype(np.int32),
        state=np.zeros(count, np.int8),
        agreement=np.ones(count, np.float32),
        protected=np.zeros(count, bool),
        teacher_score=np.full((count, 2), np.nan, np.float32),
    )
    given = dataclasses.replace(given, table=table)
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        images = datasets.read_back(fo.load_dataset("cells"))
    images.sort(key=lambda image: given.table.sha.index(image.sha))
    assert all(image.before == image.after for image in images)
    labels = [label for image in images for label in image.after]
    np.testing.assert_array_equal(np.array([label.box.xyxy for label in labels], np.float32), xyxy)
    np.testing.assert_array_equal(np.array([label.box.score for label in labels], np.float32), table.score)
    assert len({label.id for label in labels}) == count


def test_labels_without_a_place_or_a_class_are_passed_over_and_strange_classes_told(given, workspace, out, told):
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        second = fo.load_dataset("cells").match(fo.ViewField("key") == "1.png").first()
        second.labels = fo.Detections(
            detections=[
                fo.Detection(label="RBC", bounding_box=[1.5, 0.5, 0.25, 0.25]),
                fo.Detection(label="RBC"),
                fo.Detection(bounding_box=[0.5, 0.5, 0.25, 0.25]),
                fo.Detection(label="Blast", bounding_box=[0.5, 0.5, 0.25, 0.25]),
                fo.Detection(label="RBC", bounding_box=[-0.5, 0.5, 1.0, 1.0]),
            ]
        )
        second.save()
    assert review.take_back(given, workspace, told) == 2
    assert "'Blast': 1" in told.text
    table, _ = finished(given, workspace, out)
    added = table.take([1])
    np.testing.assert_array_equal(added.xyxy, np.array([[0, 388.5, 166.5, 777]], np.float32))


def test_no_boxes_and_no_images_are_fine(given, workspace, out):
    empty = dataclasses.replace(given, table=given.table.pick_boxes(np.zeros(8, bool)))
    review.auto(AUTO, empty, workspace, out, Job())
    nothing = dataclasses.replace(given, table=given.table.take([3]), fingerprint="x")
    review.open_for_person(nothing, workspace, Job())
    assert review.take_back(nothing, workspace, Job()) == 0
    with open_room(workspace, Job()) as fo:
        assert fo.load_dataset("cells").count("filepath") == 3


# ---- rooms


def test_two_workspaces_do_not_see_each_other_in_one_process(given, other, tmp_path):
    review.open_for_person(given, tmp_path / "a", Job())
    with open_room(tmp_path / "a", Job()) as fo:
        held = fo.load_dataset("cells")
    review.open_for_person(other, tmp_path / "b", Job())
    with open_room(tmp_path / "b", Job()) as fo:
        assert fo.list_datasets() == ["cells"]
        assert set(fo.load_dataset("cells").values("sha")) == set(other.table.sha[:3])
    with open_room(tmp_path / "a", Job()) as fo:
        assert set(fo.load_dataset("cells").values("sha")) == set(given.table.sha[:3])
    assert held.name == "cells"


def test_one_room_at_a_time_and_the_environment_is_as_before(given, workspace, tmp_path):
    before = dict(os.environ)
    with open_room(workspace, Job()), pytest.raises(Busy, match="already"), open_room(tmp_path / "b", Job()):
        pass
    assert dict(os.environ) == before
    assert not (tmp_path / "b").exists()


def test_a_server_that_is_not_there_is_told_without_the_password(workspace, monkeypatch):
    port = mongod.free_port()
    uri = f"mongodb://me:secret@127.0.0.1:{port}/?serverSelectionTimeoutMS=200"
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri)
    with pytest.raises(SetupError, match="cannot be reached") as caught, open_room(workspace, Job()):
        pass
    assert "secret" not in str(caught.value)


def test_the_user_s_own_server_is_used(given, workspace, tmp_path, monkeypatch):
    with mongod.serve(tmp_path / "own", Job()) as uri:
        monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri.partition("?")[0])
        assert review.open_for_person(given, workspace, Job()) == "cells"
        assert not (workspace / "mongo/data").exists()


def test_a_server_of_the_user_s_that_is_too_old_is_told(workspace, tmp_path, monkeypatch):
    with mongod.serve(tmp_path / "own", Job()) as uri:
        monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri)
        monkeypatch.setattr(room, "MINIMUM", (99, 0))
        with (
            pytest.raises(SetupError, match=r"99\.0 or newer; the one at .* is \d+\.\d+\.\d+"),
            open_room(workspace, Job()),
        ):
            pass


# ---- the App


@pytest.mark.parametrize(("address", "host"), [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")])
def test_the_app_answers_where_it_may_alone_and_goes_when_told(given, workspace, told, address, host, monkeypatch):
    monkeypatch.setattr(app, "LISTEN", 0.3)  # no server listens so soon: it is waited for
    port = mongod.free_port()
    answers: list[int] = []

    def look() -> bool:
        if "http" not in told.text:
            return False
        for page in ("/fiftyone", "/datasets/cells"):
            with urllib.request.urlopen(f"http://{host}:{port}{page}", timeout=10) as reply:
                answers.append(reply.status)
        mine = psutil.Process().children(recursive=True)
        listening = [c for p in mine for c in p.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
        assert {c.laddr.ip for c in listening} == {host}
        return True

    told._cancelled = look
    with pytest.raises(Cancelled):
        review.launch_app(given, workspace, port, told, address, allow_remote=True)
    assert answers == [200, 200]
    assert f"http://{host}:{port}/datasets/cells" in told.text
    assert (f"ssh -N -L {port}:127.0.0.1:{port}" in told.text) == (host == "127.0.0.1")
    assert ("can change the labels and read this user's files" in told.text) == (host != "127.0.0.1")
    deadline = time.monotonic() + 10
    while not mongod.port_is_free(port):
        assert time.monotonic() < deadline


def test_another_process_takes_back_while_the_app_is_open(given, workspace):
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); from pathlib import Path; from conftest import make_input\n"
        "from da_kd.stages import review; from da_kd.events import Job\n"
        "print(review.take_back(make_input(Path(sys.argv[2])), Path(sys.argv[1]), Job()))"
    )
    review.open_for_person(given, workspace, Job())
    with open_room(workspace, Job()) as fo:
        edit(fo)
        command = [sys.executable, "-c", code, str(workspace), str(given.root), str(Path(__file__).parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "7"
        assert fo.load_dataset("cells").count("filepath") == 3


def test_a_port_that_is_taken_is_told_before_anything_starts(given, workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="is taken"):
            review.launch_app(given, workspace, taken.getsockname()[1], Job())
    assert not workspace.exists()
    assert threading.active_count() < 20
