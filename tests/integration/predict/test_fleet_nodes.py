"""A Ray cluster of three nodes on this machine: one has no room for a worker, and one of the others is killed."""

import pytest

from da_kd.events import Event, Job, Note, Progress
from da_kd.offline import settle_ray
from da_kd.recipe import Predict
from da_kd.stages import predict

settle_ray()
ray = pytest.importorskip("ray")
utils = pytest.importorskip("ray.cluster_utils")


@pytest.fixture
def cluster():
    nodes = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes.added = [nodes.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def test_a_killed_node_costs_its_unfinished_shards_though_nothing_takes_its_place(
    cluster, images, teacher, whole, tmp_path
):
    told, left = [], list(cluster.added)

    def sink(event: Event):
        told.append(event)
        if isinstance(event, Progress) and event.done >= 8 and len(left) == 2:
            cluster.remove_node(left.pop(), allow_graceful=False)

    config = Predict(floor=1e-5, batch=2, shard=4, engine="ray", workers=2)
    predict.run("t", teacher, config, images, "cpu", tmp_path, Job(sink))
    files = [{path.name: path.read_bytes() for path in (folder / "shards").iterdir()} for folder in (tmp_path, whole)]
    assert files[0] == files[1]
    lost = [event.text for event in told if isinstance(event, Note) and "lost" in event.text]
    assert len(left) == 1
    assert len(lost) <= 2  # a worker has two shards; none where its worker had not begun yet
