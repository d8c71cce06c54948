"""The parts of the stage that need neither FiftyOne nor a server."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from da_kd.detections import DetectionTable, State, read_table
from da_kd.errors import Busy, InputError, SetupError
from da_kd.events import Job
from da_kd.pids import started
from da_kd.recipe import Accept, Review
from da_kd.stages import review
from da_kd.stages.review import app, journal, mongod, opening
from da_kd.stages.review.journal import Box, Entry


@pytest.fixture
def given(tmp_path: Path) -> review.ReviewInput:
    table = DetectionTable(
        *(("RBC",), ("a.png", "b.png"), ("aa", ""), np.array([[100, 100], [0, 0]], np.int32), ("", "is no image")),
        *(
            np.ones((2, 1), bool),
            np.array([0, 3, 3]),
            np.array([[1, 1, 9, 9], [20, 20, 30, 30], [40, 40, 50, 50]], np.float32),
        ),
        *(np.array([0.9, 0.5, 0.2], np.float32), np.zeros(3, np.int32), np.array([0, 1, 3], np.int8)),
        *(np.ones(3, np.float32), np.zeros(3, bool)),
    )
    return review.ReviewInput(tmp_path, table, "run", "print")


class Told(Job):
    def __init__(self) -> None:
        self.events: list = []
        super().__init__(self.events.append)

    @property
    def text(self) -> str:
        return "\n".join(getattr(event, "text", "") for event in self.events)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize("mode", ["skip", "human"])
def test_finish_lays_the_journal_over_the_labels_whatever_the_rule(given, tmp_path, mode):
    box = Box("RBC", (20.0, 20.0, 30.0, 30.0), 0.5)
    journal.append(tmp_path, [Entry("aa", "accepted", "l", "run@1", box, box)])
    review.finish(Review(mode=mode, accept=Accept(score=1)), given, tmp_path, tmp_path, Job())
    table = read_table(tmp_path / "labels.parquet")
    assert table.state.tolist() == [State.KEPT, State.KEPT, State.DROPPED]
    assert table.protected.tolist() == [False, True, False]
    assert json.loads((tmp_path / "review.json").read_text()) == {
        **{"images": 1, "kept": 2, "uncertain": 0, "dropped": 1},
        **{"accepted": 1, "rejected": 0, "relabelled": 0, "moved": 0, "added": 0, "complete": 0},
        "dataset": "run" if mode == "human" else "",
    }


def test_skipping_imports_no_fiftyone_and_makes_no_database(tmp_path):
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from da_kd.stages import review; from da_kd.detections import ImageRecord, table_of\n"
        "from da_kd.recipe import Review; from da_kd.events import Job\n"
        "table = table_of(('RBC',), [ImageRecord('a.png', 'aa', 9, 9)], {}); out = Path(sys.argv[1])\n"
        "review.finish(Review(), review.ReviewInput(out, table, 'r', 'f'), out, out, Job())\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'fiftyone', 'pymongo', 'mongoengine', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.parquet", "review.json"]


def test_the_app_serves_nobody_else(given, tmp_path):
    for address in ("0.0.0.0", "192.168.1.4", "::", "example.org", ""):  # noqa: S104
        with pytest.raises(InputError, match="no login"):
            review.launch_app(given, tmp_path, 5151, Job(), address)
    with pytest.raises(InputError, match=r"address of this machine .* found '192.0.2.1'"):
        review.launch_app(given, tmp_path, 5151, Job(), "192.0.2.1", allow_remote=True)


def test_a_second_reviewer_of_a_run_is_told_where_the_first_one_is(given, tmp_path):
    with app._alone(tmp_path, given.run, 5151, "127.0.0.1") as tell:
        with pytest.raises(Busy, match="just starting"), app._alone(tmp_path, given.run, 5152, "127.0.0.1"):
            pass
        tell("http://127.0.0.1:5151/datasets/run")
        with pytest.raises(Busy, match=rf"process {os.getpid()} .*Open http://127.0.0.1:5151/datasets/run"):
            review.launch_app(given, tmp_path, mongod.free_port(), Job())
        with app._alone(tmp_path, "another run", 5152, "127.0.0.1"):
            pass
    with app._alone(tmp_path, given.run, 5151, "127.0.0.1"):
        pass


def test_a_box_of_the_teachers_that_contradicts_a_person_is_listed_and_both_stay(given, tmp_path, told):
    table = dataclasses.replace(
        given.table, vocabulary=("RBC", "WBC"), searched=np.ones((2, 2), bool), label=np.array([0, 1, 0], np.int32)
    )
    given = dataclasses.replace(given, table=table)
    said = Box("RBC", (20.0, 20.0, 30.0, 30.0), 0.5)
    journal.append(tmp_path, [Entry("aa", "added", "l", "run@1", None, said)])
    review.finish(Review(mode="skip"), given, tmp_path, tmp_path, told)
    assert "a.png: 'WBC' where a person says 'RBC'" in told.text
    assert json.loads((tmp_path / "conflicts.json").read_text()) == [
        {
            "image": "a.png",
            "person": {"class": "RBC", "xyxy": [20, 20, 30, 30]},
            "teachers": {"class": "WBC", "xyxy": [20, 20, 30, 30], "score": 0.5},
        }
    ]
    assert len(read_table(tmp_path / "labels.parquet").xyxy) == 4


def test_a_full_disk_is_told_and_costs_no_entry_that_was_confirmed(tmp_path):
    """The kernel refuses to let the journal grow, as a full disk does; afterwards there is room again."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from da_kd.stages.review import journal; from da_kd.stages.review.journal import Box, Entry\n"
        "place = Path(sys.argv[1]); box = Box('RBC', (1.0, 2.0, 3.0, 4.0), 0.5)\n"
        "def add(first, count): return journal.append(place, "
        "[Entry('aa', 'accepted', str(i), 'd', box, box) for i in range(first, first + count)])\n"
        "add(0, 3); size = journal.path_of(place).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, -1))\n"
        "try: add(3, 5)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "print(len(journal.read(place)), add(0, 8), len(journal.read(place)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    told, counts = done.stdout.strip().split("\n")
    assert told.startswith("DataError The review journal")
    assert "make room" in told
    assert counts == "3 5 8"


def test_images_that_are_gone_are_told(given, told):
    opening._tell_missing(given, np.arange(1), told)
    assert "1 of 1 images are not in" in told.text


def test_a_taken_port_is_told_at_once_with_a_free_one(given, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(InputError, match=f"{port} is taken") as caught:
            review.launch_app(given, tmp_path, port, Job())
        assert time.monotonic() - begun < 2
    other = int(re.search(r"Try (\d+)", str(caught.value)).group(1))
    assert mongod.port_is_free(other)
    assert not (tmp_path / "mongo").exists()


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
def test_a_port_must_be_one(given, tmp_path, port):
    with pytest.raises(InputError, match="from 1 to 65535"):
        review.launch_app(given, tmp_path, port, Job())


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("mongodb://127.0.0.1:27017/", "mongodb://127.0.0.1:27017/?journal=true"),
        ("mongodb://me:p%40ss@h1,h2/db?w=1", "mongodb://me:p%40ss@h1,h2/db?w=1&journal=true"),
        ("mongodb://h", "mongodb://h/?journal=true"),
        ("mongodb+srv://h/?Journal=false", "mongodb+srv://h/?Journal=false"),
    ],
)
def test_every_uri_asks_for_the_journal(uri, wanted):
    assert mongod.with_journal(uri) == wanted


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_server_of_one_s_own_is_found_first_then_the_path(tmp_path, monkeypatch):
    own = script(tmp_path / "mongod", "echo db version v7.0.1")
    monkeypatch.setenv("DA_KD_MONGOD", str(own))
    assert mongod.find_mongod() == own
    assert mongod.mongod_version(own) == (7, 0, 1)
    monkeypatch.setenv("DA_KD_MONGOD", str(tmp_path / "nothing"))
    assert mongod.find_mongod() is None
    monkeypatch.delenv("DA_KD_MONGOD")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod.find_mongod() == own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no 'mongod' was found"),
        ("echo db version v5.0.9", "6.0 or newer; .* is 5.0.9"),
        ("echo broken library >&2; exit 127", "does not say its version .broken library"),
        ('[ "$1" = --version ] && echo db version v6.0.5 || exit 14', "did not start .exit code 14.*said nothing"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_with_a_remedy(tmp_path, monkeypatch, text, message):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("DA_KD_MONGOD", str(script(tmp_path / "m", text) if text else tmp_path / "missing"))
    with pytest.raises(SetupError, match=message), mongod.serve(tmp_path / "runs", Job()):
        pass
    with mongod.exclusive(tmp_path / "runs/mongo/start.lock", Job(), wait=0):
        pass  # nothing is held


def test_the_user_s_own_server_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://elsewhere:1/")
    with mongod.serve(tmp_path / "runs", Job()) as uri:
        assert uri == "mongodb://elsewhere:1/?journal=true"
    assert not (tmp_path / "runs").exists()


def test_a_lock_that_is_held_leads_to_a_clear_message(tmp_path):
    path = tmp_path / "x.lock"
    with (
        mongod.exclusive(path, Job()),
        pytest.raises(Busy, match=re.escape(str(path))),
        mongod.exclusive(path, Job(), wait=0.1),
    ):
        pass
    with mongod.exclusive(tmp_path / "x.lock", Job(), wait=0):
        pass


def test_a_process_is_told_from_a_later_one_of_the_same_number():
    began = started(os.getpid())
    assert began
    assert not mongod._gone(mongod._State(os.getpid(), began, 1))
    assert mongod._gone(mongod._State(os.getpid(), "12", 1))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert started(child.pid) == ""
