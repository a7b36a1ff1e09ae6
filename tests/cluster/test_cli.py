"""The command line on a real cluster: scaling, revisions, forwarded ports, watching, and how each command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from .services import apply, service, until_condition, until_ready
from .tools import get, kubectl, slipway, until
from .traffic import FLOWER, ask, ask_grpc


def spec(platform, namespace):
    return service(platform, namespace, "iris")["spec"]


@contextmanager
def running(*words):
    """A command that goes on until it is interrupted; it is ended with Ctrl-C, and must end with 130."""
    process = subprocess.Popen(
        # tests that run in the background of a shell ignore SIGINT, and so would what they start
        ["env", "--default-signal=INT", sys.executable, "-m", "slipway", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_scaling_waits_and_changes_nothing_else(platform, namespace, pushed):
    slipway("deploy", "iris", pushed, "--replicas", "1", "-n", namespace)
    before = spec(platform, namespace)["model"]
    slipway("scale", "iris", "--replicas", "3", "-n", namespace)
    shown = service(platform, namespace, "iris")
    assert shown["status"]["readyReplicas"] == 3
    assert (shown["spec"]["model"], shown["spec"]["scaling"]) == (before, {"min": 3, "max": 3})
    tried = slipway("scale", "iris", "--replicas", "5", "--dry-run", "-n", namespace)
    assert "Nothing was changed" in tried.stderr
    assert spec(platform, namespace)["scaling"] == {"min": 3, "max": 3}
    said = slipway("scale", "iris", "--min", "1", "--max", "2", "-n", namespace).stderr
    assert "An HPA keeps iris between 1 and 2 replicas" in said
    until(lambda: "iris" in kubectl(platform, "get", "hpa", "-n", namespace, "-o", "name"))


def test_what_kubectl_manages_is_a_conflict(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, scaling={"min": 1, "max": 1})
    until_ready(platform, namespace, "iris")
    done = slipway("scale", "iris", "--replicas", "2", "-n", namespace, check=False)
    assert done.returncode == 8
    assert "spec.scaling" in done.stderr
    assert "kubectl" in done.stderr
    assert spec(platform, namespace)["scaling"] == {"min": 1, "max": 1}
    slipway("scale", "iris", "--replicas", "2", "--force-conflicts", "-n", namespace)
    assert service(platform, namespace, "iris")["status"]["readyReplicas"] == 2


def test_history_diff_undo_and_restart(platform, namespace, pushed):
    slipway("deploy", "iris", pushed, "-n", namespace)
    first = spec(platform, namespace)
    slipway("deploy", "iris", pushed, "--allow-pickle", "-n", namespace)
    until(lambda: len(history(namespace)) == 2)
    assert [item["current"] for item in history(namespace)] == [False, True]
    assert "spec.server.env" in history(namespace)[1]["change"]
    assert "spec.server.env" in slipway("rollout", "diff", "iris", "-n", namespace).stdout
    slipway("rollout", "undo", "iris", "-n", namespace)
    assert spec(platform, namespace)["model"] == first["model"]
    assert "env" not in spec(platform, namespace).get("server", {})
    until(lambda: [item["revision"] for item in history(namespace)] == [2, 3])
    status, answer = ask(f"{service(platform, namespace, 'iris')['status']['url']}/predict", FLOWER)
    assert status == 200, answer
    before = {pod["metadata"]["uid"] for pod in get(platform, "pods", "-n", namespace)["items"]}
    slipway("rollout", "restart", "iris", "-n", namespace)
    ready = [
        pod["metadata"]["uid"]
        for pod in get(platform, "pods", "-n", namespace)["items"]
        if "deletionTimestamp" not in pod["metadata"]
    ]
    assert not before & set(ready)
    assert slipway("rollout", "undo", "iris", "--to-revision", "99", "-n", namespace, check=False).returncode == 4


def history(namespace):
    return json.loads(slipway("rollout", "history", "iris", "-n", namespace, "-o", "json").stdout)["items"]


def test_rollout_status_ends_as_the_rollout_does(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    done = slipway("rollout", "status", "iris", "-n", namespace)
    assert "is complete" in done.stderr
    apply(platform, namespace, "iris", pushed, server={"image": "registry.slipway-system.svc:5000/slipway/absent:3"})
    done = slipway("rollout", "status", "iris", "-n", namespace, check=False)
    assert done.returncode == 1
    assert "absent:3" in done.stderr
    apply(platform, namespace, "iris", pushed, server={"resources": {"requests": {"cpu": "900"}}})
    until_condition(platform, namespace, "iris", "Progressing", status="False", reason="Unschedulable")
    done = slipway("rollout", "status", "iris", "--patience", "1s", "-n", namespace, check=False)
    assert done.returncode == 6
    assert "Insufficient cpu" in done.stderr
    done = slipway("rollout", "status", "iris", "--timeout", "1s", "-n", namespace, check=False)
    assert done.returncode == 3


def test_a_forwarded_port_answers_and_follows_the_pods(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, scaling={"min": 2, "max": 2})
    until_ready(platform, namespace, "iris")
    with running("port-forward", "iris", "0", "-n", namespace) as process:
        line = process.stdout.readline()
        url = line.removeprefix("Forwarding ").split(" -> ")[0]
        pod = line.rpartition("(pod ")[2].strip().rstrip(")")
        for _ in range(5):
            status, answer = ask(f"{url}/predict", FLOWER)
            assert status == 200, answer
        kubectl(platform, "delete", "pod", pod, "-n", namespace, "--wait=true")
        status, answer = ask(f"{url}/predict", FLOWER, timeout=60)
        assert status == 200, answer
        assert "-> iris (pod " in process.stdout.readline()


def test_watching_tells_each_change(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    with running("list", "-w", "-o", "json", "-n", namespace) as process:
        assert json.loads(process.stdout.readline())["type"] == "ADDED"
        kubectl(platform, "delete", "modelservice", "iris", "-n", namespace)
        while (event := json.loads(process.stdout.readline()))["type"] != "DELETED":
            assert event["type"] == "MODIFIED"
        assert event["object"]["metadata"]["name"] == "iris"
    with running("status", "-w") as process:
        assert process.stdout.readline()


def test_versions_and_completion(platform, namespace, pushed):
    found = json.loads(slipway("version", "-o", "json").stdout)
    assert found["kubernetes"].startswith("v1.")
    assert found["operator"]
    apply(platform, namespace, "iris", pushed)
    words = ["slipway", "describe", "-n", namespace, ""]
    environment = {
        **os.environ,
        "_SLIPWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "slipway"], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == (["iris"], "")


def test_deleting_all_of_a_namespace(platform, namespace, pushed):
    for name in ("iris", "rose"):
        apply(platform, namespace, name, pushed)
    assert slipway("delete", "--all", "-n", namespace, check=False).returncode == 2
    assert slipway("delete", "iris", "nope", "-n", namespace, check=False).returncode == 4
    tried = slipway("delete", "--all", "--dry-run", "-n", namespace)
    assert "Nothing was changed" in tried.stderr
    assert len(get(platform, "modelservices", "-n", namespace)["items"]) == 2
    slipway("delete", "--all", "--yes", "-n", namespace)
    until(lambda: not get(platform, "modelservices", "-n", namespace)["items"])


def test_the_python_client(platform, namespace, pushed, monkeypatch):
    from slipway import Client  # noqa: PLC0415  # as a program would, once the cluster is there

    monkeypatch.delenv("KUBECONFIG", raising=False)
    with Client(platform.context, namespace) as client:
        client.deploy("iris", pushed, minimum=1, maximum=1)
        assert client.wait("iris", 300)["status"]["url"]
        assert client.predict("iris", FLOWER)
        with client.port_forward("iris") as forward:
            assert ask(f"http://127.0.0.1:{forward.port}/predict", FLOWER)[0] == 200
        with client.port_forward("iris", remote=9000) as forward:
            assert ask_grpc(f"127.0.0.1:{forward.port}", "iris")["label"] == "setosa"
        client.delete("iris")
