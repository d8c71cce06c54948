"""Which engine predicts: what the recipe says of it, and what is said where Ray is not there."""

import socket
import sys

import pytest

from da_kd.errors import SetupError
from da_kd.events import Job
from da_kd.recipe import Predict
from da_kd.stages import predict

RAY = Predict(engine="ray", shard=2)


def test_without_ray_it_says_what_to_install(grays, counter, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match=r"pip install 'da-kd\[ray\]', or take 'engine: local'"):
        predict.run("t", counter(), RAY, grays(n10=10), "cpu", tmp_path, Job())


def test_a_cluster_that_is_not_there_is_said(grays, counter, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    with socket.socket() as taken:  # nobody listens on it
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SetupError, match=r"Expected a Ray cluster at 127\.0\.0\.1:\d+ \(RAY_ADDRESS\)"):
            predict.run("t", counter(), RAY, grays(n10=10), "cpu", tmp_path, Job())


def test_where_every_answer_is_known_no_cluster_is_asked(grays, counter, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    predict.run("t", counter(), Predict(shard=2), grays(n10=10, n12=12), "cpu", old, Job())
    predict.run("t", counter(), RAY, grays(n12=12), "cpu", new, Job(), earlier=[old])
    assert predict.read_predictions(new).key == ("n12.png",)


def test_workers_are_rays():
    with pytest.raises(ValueError, match="'workers' means nothing with 'engine: local'"):
        Predict(workers=2)
