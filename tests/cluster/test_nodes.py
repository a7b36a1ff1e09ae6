"""Nodes that go and come, and clusters that call one another."""

from __future__ import annotations

import json
import os

import pytest

from slipway.cluster import lifecycle
from slipway.progress import LineProgress

from .services import apply, service, until_ready
from .tools import get, kubectl, slipway, until
from .traffic import FLOWER, answers

PROGRESS = LineProgress()


def test_everything_comes_back_after_stop_and_start(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, scaling={"min": 2, "max": 2})
    url = until_ready(platform, namespace, "iris")
    lifecycle.stop(platform.name, PROGRESS)
    lifecycle.start(platform.name, PROGRESS)
    until(lambda: answers(url), timeout=180, pause=0.5)
    until(lambda: service(platform, namespace, "iris")["status"]["readyReplicas"] == 2)


@pytest.fixture(scope="module")
def pair(home, platform):
    """A cluster of two nodes with the platform, beside the first one."""
    name = f"pair-{os.getpid() % 1000}"
    slipway("up", "--name", name, "--nodes", "2", timeout=600)
    yield lifecycle.find(name)
    lifecycle.delete(name, PROGRESS)
    slipway("up", "--name", platform.name, timeout=600)


def pods_of_iris(cluster):
    return get(cluster, "pods", "-l", "slipway.dev/modelservice=iris")["items"]


def nodes_of_pods(cluster):
    pods = pods_of_iris(cluster)
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"]["nodeName"] for pod in alive if ready(pod)}


def ready(pod):
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))


def test_pods_of_a_node_that_dies_move_to_the_other(pair, iris):
    slipway("--context", pair.context, "deploy", "iris", str(iris), "--replicas", "2")
    until(lambda: len(nodes_of_pods(pair)) == 2, what="both nodes have a replica")
    worker = pair.layout.nodes[1]
    lifecycle.stop_node(pair.name, worker.name)
    until(lambda: nodes_of_pods(pair) == {pair.layout.control_plane.name}, timeout=180, pause=1.0)
    until(lambda: service(pair, "default", "iris")["status"]["readyReplicas"] == 2, timeout=180, pause=1.0)
    url = service(pair, "default", "iris")["status"]["url"]
    until(lambda: all(answers(url) for _ in range(20)), what="the gateway has forgotten the node")
    lifecycle.start_node(pair.name, worker.name, PROGRESS)
    until(lambda: all(node.ready for node in lifecycle.status(pair.name).nodes))


def test_a_pod_of_one_cluster_calls_a_service_of_the_other(platform, pair, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    url = until_ready(platform, namespace, "iris") + "/predict"
    pod = next(pod for pod in pods_of_iris(pair) if ready(pod))
    call = (
        "import json, urllib.request as r; "
        f"q = r.Request({url!r}, json.dumps({FLOWER!r}).encode(), {{'Content-Type': 'application/json'}}); "
        "print(r.urlopen(q, timeout=10).status)"
    )
    assert kubectl(pair, "exec", pod["metadata"]["name"], "--", "python3.11", "-c", call).strip() == "200"


def test_services_are_found_by_name_across_nodes(pair):
    url = "http://iris.default.svc.cluster.local/v2/health/ready"
    call = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=10).status)"
    for pod in filter(ready, pods_of_iris(pair)):
        assert kubectl(pair, "exec", pod["metadata"]["name"], "--", "python3.11", "-c", call).strip() == "200"


def test_both_clusters_are_listed(platform, pair):
    shown = json.dumps(json.loads(slipway("cluster", "list", "-o", "json").stdout))
    assert platform.name in shown
    assert pair.name in shown
