"""Sets that lie in an object store: a server of this machine speaks S3, and Arrow reads from it as from Amazon's."""

from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from da_kd.data import ScanCache, load_images, remote
from da_kd.errors import DataError
from da_kd.events import Job, Progress
from da_kd.offline import settle_ultralytics
from da_kd.recipe import Images, Predict
from da_kd.stages import predict
from da_kd.teachers.ultralytics import UltralyticsTeacher

BUCKET = "laboratory"


@pytest.fixture(scope="module")
def server():
    """A store with one bucket; yields its address and a client."""
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    yield f"{host}:{port}", client
    served.stop()


@pytest.fixture
def store(server, monkeypatch):
    """Credentials and the address as Arrow finds them in the environment; yields the client."""
    address, client = server
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return client


@pytest.fixture
def folder(tmp_path, store):
    """A labelled set of 12 pictures, here and in the bucket."""
    here = tmp_path / "set"
    for part in ("images", "labels"):
        (here / part).mkdir(parents=True)
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(here / "images" / f"{number:02}.png")
        (here / "labels" / f"{number:02}.txt").write_text(f"0 0.5 0.5 0.2 {0.1 + number / 100}\n")
    (here / "data.yaml").write_text("train: images\nnames: [cell]\n")
    for path in here.rglob("*"):
        if path.is_file():
            store.upload_file(str(path), BUCKET, f"set/{path.relative_to(here).as_posix()}")
    return here


@pytest.fixture
def load(tmp_path):
    """Load a set, with the copies of stores in a folder of the test; events go into a list."""

    def run(path, *, labels=True, events=None):
        heard = [] if events is None else events
        return load_images(
            Images(path=path), tmp_path, ("cell",), labels=labels, cache=ScanCache(None), frames=tmp_path / "frames",
            job=Job(heard.append), name="data.target",
        )  # fmt: skip

    return run


def copied(events):
    return max((event.total for event in events if isinstance(event, Progress) and "store" in event.task), default=0)


def test_a_bucket_is_read_as_the_folder_it_is_a_copy_of_and_only_what_changed_again(folder, store, load):
    events = []
    here, there = load(str(folder)), load(f"s3://{BUCKET}/set", events=events)
    assert there.table.sha == here.table.sha and len(there) == 12
    np.testing.assert_array_equal(there.table.xyxy, here.table.xyxy)
    assert copied(events) == 25
    events.clear()
    load(f"s3://{BUCKET}/set", events=events)
    assert copied(events) == 0
    (folder / "labels" / "03.txt").write_text("0 0.5 0.5 0.5 0.5\n0 0.1 0.1 0.1 0.1\n")
    store.upload_file(str(folder / "labels" / "03.txt"), BUCKET, "set/labels/03.txt")
    store.delete_object(Bucket=BUCKET, Key="set/images/11.png")
    store.delete_object(Bucket=BUCKET, Key="set/labels/11.txt")
    again = load(f"s3://{BUCKET}/set", events=events)
    assert copied(events) == 1 and len(again) == 11 and len(again.table.xyxy) == 12


def test_the_address_may_stand_in_the_uri(folder, server, store, load, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    there = load(f"s3://{BUCKET}/set?endpoint_override={server[0]}&scheme=http&region=us-east-1")
    assert there.table.sha == load(str(folder)).table.sha
    address = f"endpoint_override={server[0]}&scheme=http&region=us-east-1"
    names = [f"s3://{BUCKET}/set/images/03.png?{address}"]
    pq.write_table(pa.table({"path": names}), folder / "one.parquet")
    store.upload_file(str(folder / "one.parquet"), BUCKET, "set/one.parquet")
    (only,) = load(f"s3://{BUCKET}/set/one.parquet?{address}", labels=False).table.sha
    assert only == load(str(folder)).table.sha[3]


@pytest.mark.parametrize("engine", [{"engine": "local"}, {"engine": "ray", "workers": 2}])
def test_a_parquet_list_in_the_bucket_is_predicted_as_the_files_here_are(folder, store, load, tmp_path, engine):
    if engine["engine"] == "ray":
        pytest.importorskip("ray")
    names = [f"s3://{BUCKET}/set/images/{number:02}.png" for number in (5, 2, 9, 7, 0)]
    pq.write_table(pa.table({"path": names}), tmp_path / "some.parquet")
    store.upload_file(str(tmp_path / "some.parquet"), BUCKET, "some.parquet")
    images = load(f"s3://{BUCKET}/some.parquet", labels=False)
    assert [Path(key).name for key in images.table.key] == ["05.png", "02.png", "09.png", "07.png", "00.png"]

    settle_ultralytics()
    from ultralytics import YOLO

    YOLO("yolo11n.yaml").save(str(tmp_path / "w.pt"))
    teacher = UltralyticsTeacher(tmp_path / "w.pt", {"imgsz": 64, "max_boxes": 9})
    here = load(str(folder), labels=False).take([5, 2, 9, 7, 0])
    config = Predict(floor=1e-5, batch=2, shard=2)
    for name, some, how in (("here", here, config), ("there", images, config.model_copy(update=engine))):
        (tmp_path / name).mkdir()
        predict.run("t", teacher, how, some, "cpu", tmp_path / name, Job())
    said, other = (predict.read_predictions(tmp_path / name) for name in ("here", "there"))
    assert len(said.score) > 0
    np.testing.assert_array_equal(said.xyxy, other.xyxy)
    np.testing.assert_array_equal(said.score, other.score)


@pytest.mark.usefixtures("store")
def test_a_bucket_that_is_not_there_is_said_in_one_sentence(load):
    with pytest.raises(DataError, match=r"^data\.target: Expected files at s3://nowhere/set; .* Correct the path"):
        load("s3://nowhere/set")


@pytest.mark.parametrize("uri", ["s3://laboratory/set?region=us-east-1", "gs://laboratory/set"])
def test_a_store_that_does_not_answer_is_said_and_not_waited_for(load, monkeypatch, uri):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody listens there
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CLOUD_STORAGE_EMULATOR_ENDPOINT": "http://127.0.0.1:9",
        "GCE_METADATA_ROOT": "127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_PATIENCE", 1)
    with pytest.raises(DataError, match=r"cannot be read"):
        load(uri)
