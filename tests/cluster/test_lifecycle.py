"""Local clusters come, survive and go, and leave the machine as they found it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from slipway.cluster import cgroups, lifecycle
from slipway.progress import LineProgress

from .machine import look
from .tools import host_pid, kubectl, slipway, until

PROGRESS = LineProgress()


@pytest.fixture
def name(request):
    """The name of a cluster that is deleted afterwards, whatever became of it."""
    chosen = f"life-{os.getpid() % 10000}"
    yield chosen
    if (lifecycle.clusters_directory() / chosen).exists():
        lifecycle.delete(chosen, PROGRESS)


def test_create_stop_start_delete_leaves_the_machine_as_it_was(name):
    before = look()
    cluster = lifecycle.create(name, 1, PROGRESS)
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=answer=42")
    lifecycle.stop(name, PROGRESS)
    assert not lifecycle.status(name).running
    assert not cgroups.processes(cluster.layout.control_plane.cgroup)
    lifecycle.start(name, PROGRESS)
    assert kubectl(cluster, "get", "configmap", "kept", "-o=jsonpath={.data.answer}") == "42"
    lifecycle.delete(name, PROGRESS)
    assert_same_machine(before)
    assert not cluster.directory.exists()


def test_a_second_create_changes_nothing_and_another_size_is_refused(name):
    first = lifecycle.create(name, 1, PROGRESS)
    components = lifecycle.status(name).nodes[0].components
    assert lifecycle.create(name, 1, PROGRESS) == first
    assert lifecycle.status(name).nodes[0].components == components
    done = slipway("cluster", "create", name, "--nodes", "2", check=False)
    assert done.returncode != 0
    assert "exists with 1 node(s), not 2" in done.stderr


@pytest.mark.parametrize(
    "component",
    ["etcd", "kube-apiserver", "containerd", "kubelet", "kube-scheduler", "registry", "coredns", "kube-proxy"],
)
def test_a_component_that_dies_is_restarted_and_shown(cluster, component):
    def shown():
        states = lifecycle.status(cluster.name).nodes[0].components
        return next(state for state in states if state["name"] == component)

    before = shown()["restarts"]
    os.kill(host_pid(cluster, component), signal.SIGKILL)
    state = until(lambda: (s := shown())["restarts"] > before and s["state"] == "running" and s)
    assert state["last_exit"] == "killed by SIGKILL"
    until(lambda: lifecycle.status(cluster.name).nodes[0].ready)


def assert_same_machine(before):
    """The kernel and the machine's init take a moment to bury what was killed."""
    deadline = time.monotonic() + 5
    while (differences := before.differences(look())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert differences == {}


MOMENTS = {
    "the group is made": lambda _: True,
    "the launcher runs": cgroups.processes,
    "etcd runs": lambda group: running(group, "etcd"),
    "the kubelet runs": lambda group: running(group, "kubelet"),
    "the scheduler runs": lambda group: running(group, "kube-scheduler"),
}


def running(group, program):
    for pid in cgroups.processes(group):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().endswith(program):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("victim", ["the command", "everything"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_delete_cleans_up_after_a_kill_in_any_phase_of_the_start(name, moment, victim):
    before = look()
    command = subprocess.Popen(
        [sys.executable, "-m", "slipway", "cluster", "create", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    group = until(lambda: next(iter(look_groups() - before.groups), None), pause=0.002)
    until(lambda: MOMENTS[moment](group), pause=0.002)
    command.kill()
    command.wait()
    if victim == "everything":
        for pid in cgroups.processes(group):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    lifecycle.delete(name, PROGRESS)
    assert_same_machine(before)


def look_groups():
    return {path.name for tree in cgroups.here() for path in tree.path.glob("slipway-*")}


def test_an_interrupted_create_is_finished_by_the_next(name):
    before = look_groups()
    command = subprocess.Popen(
        [sys.executable, "-m", "slipway", "cluster", "create", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    group = until(lambda: next(iter(look_groups() - before), None), pause=0.002)
    until(lambda: running(group, "etcd"), pause=0.002)
    command.kill()
    command.wait()
    lifecycle.create(name, 1, PROGRESS)
    assert lifecycle.status(name).nodes[0].ready


def test_every_listener_is_authenticated_or_on_loopback(cluster):
    """What can be reached on the node's address, and what it says to a stranger."""
    pid = host_pid(cluster, "kubelet")
    shown = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", "ss", "-Hltn"], check=True, capture_output=True, text=True
    ).stdout
    local = [line.split()[3] for line in shown.splitlines()]
    ports = {int(address.rpartition(":")[2]) for address in local if not address.startswith(("127.", "[::1]"))}
    known = {53, 4443, 5000, 6443, 10250}
    assert ports <= known | {30080}
    address = cluster.node_ips[0]
    for place in ("4443/apis/metrics.k8s.io/v1beta1/nodes", "6443/api/v1/nodes", "10250/pods"):
        assert stranger(f"https://{address}:{place}") in {401, 403}
    assert stranger(f"https://{address}:5000/v2/") == "refused"


def stranger(url):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, context=context, timeout=5) as answer:  # noqa: S310 - https, as written above
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return "refused"


def test_status_says_what_the_network_does_not_do(cluster):
    done = slipway("cluster", "status", cluster.name)
    assert "NetworkPolicy is not enforced" in done.stdout + done.stderr
    listed = json.loads(slipway("cluster", "list", "-o", "json").stdout)
    assert cluster.name in json.dumps(listed)


def test_logs_of_a_component_are_shown(cluster):
    assert "etcd" in slipway("cluster", "logs", cluster.name, "etcd").stdout.lower()
    done = slipway("cluster", "logs", cluster.name, "etdc", check=False)
    assert done.returncode != 0
    assert "no component etdc" in done.stderr
