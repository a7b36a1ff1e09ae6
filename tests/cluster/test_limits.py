"""Limits are the kernel's, on either version of control groups."""

from __future__ import annotations

import json

import pytest

from slipway.cluster import images
from slipway.progress import LineProgress

from .tools import get, kubectl, until

QUOTA = """
import pathlib
v2, v1 = pathlib.Path('/sys/fs/cgroup/cpu.max'), pathlib.Path('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')
print((v2 if v2.exists() else v1).read_text().split()[0])
"""


@pytest.fixture(scope="module")
def python(cluster):
    """An image in the cluster's registry that has Python."""
    return images.push_all(cluster.registry, LineProgress(), [images.SERVING])[images.SERVING]


def start(cluster, namespace, image, code, limits):
    """A pod named `main` that runs a program."""
    container = {"name": "main", "image": image, "command": ["python3.11", "-c", code], "resources": {"limits": limits}}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "main", "namespace": namespace},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))


def ended(cluster, namespace):
    statuses = get(cluster, "pod", "main", "-n", namespace)["status"].get("containerStatuses") or [{}]
    return statuses[0].get("state", {}).get("terminated")


def test_memory_beyond_the_limit_is_an_oom_kill(cluster, namespace, python):
    start(cluster, namespace, python, "b = bytearray(256 << 20); print(len(b))", {"memory": "64Mi"})
    state = until(lambda: ended(cluster, namespace))
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_a_container_sees_its_cpu_limit(cluster, namespace, python):
    start(cluster, namespace, python, QUOTA, {"cpu": "150m"})
    until(lambda: ended(cluster, namespace))
    assert kubectl(cluster, "logs", "main", "-n", namespace).strip() == "15000"


def test_memory_within_the_limit_is_left_alone(cluster, namespace, python):
    start(cluster, namespace, python, "b = bytearray(16 << 20); print(len(b))", {"memory": "96Mi"})
    assert until(lambda: ended(cluster, namespace))["exitCode"] == 0
