"""Of two operators one acts, also when it is killed or paused under change: proved from the API server's audit log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from slipway.cluster import cgroups

from .services import apply, service, until_ready
from .tools import get, kubectl, until

WRITES = {"create", "update", "patch", "delete"}


def leader(cluster):
    """Who leads: POD_UUID, another one for each process of a pod."""
    return get(cluster, "lease", "slipway-operator", "-n", "slipway-system")["spec"].get("holderIdentity")


def pod_of(holder):
    return holder.partition("_")[0]


def process_of(cluster, pod):
    """The operator's process in a pod, as the host numbers it."""
    for pid in cgroups.processes(cluster.layout.control_plane.cgroup):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if b"slipway-operator" in words and f"HOSTNAME={pod}".encode() in variables:
                return pid
    raise AssertionError(f"{pod} has no process")


def writes(cluster):
    """When which pod of the operator wrote what, leases and events aside, in order."""
    found = []
    for file in cluster.audit_logs:
        for line in file.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line may be half written
                event = json.loads(line)
                target = event.get("objectRef") or {}
                pods = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name") or [""]
                written = event["verb"] in WRITES and event.get("responseStatus", {}).get("code", 500) < 300
                if (
                    written
                    and pods[0].startswith("slipway-operator")
                    and target["resource"] not in {"leases", "events"}
                ):
                    found.append((event["requestReceivedTimestamp"], pods[0]))
    return sorted(found)


class Changes:
    """A context in which the spec of a ModelService changes all the time, without rolling its pods."""

    def __init__(self, cluster, namespace, uri):
        self._arguments = (cluster, namespace, "iris", uri)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.turn = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.3) and self.turn < 600:
            self.turn += 1
            apply(*self._arguments, routing={"timeout": f"{1 + self.turn % 50}s"})


def follows(cluster, namespace):
    """Whether the route says what the spec says."""
    wanted = service(cluster, namespace, "iris")["spec"]["routing"]["timeout"]
    rules = get(cluster, "httproute", "iris", "-n", namespace)["spec"]["rules"]
    return rules[0]["timeouts"]["request"] == wanted


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_another_operator_takes_over_and_the_first_writes_no_more(platform, namespace, pushed, fate):
    kubectl(platform, "rollout", "status", "deployment/slipway-operator", "-n", "slipway-system", "--timeout=120s")
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    first = until(lambda: leader(platform))
    with Changes(platform, namespace, pushed) as changes:
        until(lambda: changes.turn > 5)
        process, before = process_of(platform, pod_of(first)), len(writes(platform))
        os.kill(process, fate)
        second = until(lambda: (now := leader(platform)) not in {None, "", first} and now)
        until(lambda: any(pod == pod_of(second) for _, pod in writes(platform)[before:]))
        if fate == signal.SIGSTOP:  # it wakes up as one who does not know yet that it has lost
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        turn = changes.turn
        until(lambda: changes.turn > turn + 10)
    until(lambda: follows(platform, namespace))
    if fate == signal.SIGSTOP:
        later = [pod for _, pod in writes(platform)[before:]]
        assert pod_of(first) not in later[later.index(pod_of(second)) :]
    kubectl(platform, "rollout", "status", "deployment/slipway-operator", "-n", "slipway-system", "--timeout=120s")
