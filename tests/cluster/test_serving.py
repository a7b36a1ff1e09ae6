"""The main job: a model file becomes a URL that answers, through every door."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.cluster import binaries
from slipway.progress import LineProgress

from .services import apply, service, until_ready
from .tools import get, host_pid, kubectl, slipway, until
from .traffic import FLOWER, Load, answers, ask, ask_grpc

BOOSTED_TREES = Path(__file__).parent / "boosted_trees.py"


def predictions(answer):
    return json.dumps(answer)


def test_deploy_and_predict_through_the_gateway_and_the_api(platform, namespace, iris):
    slipway("deploy", "iris", str(iris), "--replicas", "3", "-n", namespace)
    shown = service(platform, namespace, "iris")
    assert shown["status"]["readyReplicas"] == 3
    assert shown["status"]["url"] == f"{platform.gateway_url}/{namespace}/iris"
    status, answer = ask(f"{shown['status']['url']}/predict", FLOWER)
    assert status == 200, answer
    through_cli = slipway("predict", "iris", "-n", namespace, "--data", json.dumps(FLOWER)).stdout
    through_api = slipway("predict", "iris", "-n", namespace, "--data", json.dumps(FLOWER), "--via", "api").stdout
    assert json.loads(through_cli) == json.loads(through_api) == answer
    assert "iris" in slipway("list", "-n", namespace).stdout
    assert "Ready" in slipway("describe", "iris", "-n", namespace).stdout


@contextmanager
def forwarded(platform, namespace, port):
    """The address on this machine that `kubectl port-forward` gives a port of the Service."""
    program = binaries.directory(LineProgress()) / "kubectl"
    command = [program, f"--kubeconfig={platform.kubeconfig}", "-n", namespace, "port-forward", "svc/iris", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        try:
            yield forward.stdout.readline().split(" -> ")[0].removeprefix("Forwarding from ")
        finally:
            forward.terminate()


def test_predict_through_port_forward(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    with forwarded(platform, namespace, 80) as address:
        status, answer = ask(f"http://{address}/predict", FLOWER)
        metadata_status, metadata = ask(f"http://{address}/v2/models/iris")
    assert status == 200, answer
    assert metadata_status == 200
    assert metadata["name"] == "iris"


def test_grpc_answers_inside_the_cluster_and_through_port_forward(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    inside = ("nsenter", "--net", "--target", str(host_pid(platform, "kubelet")))
    address = get(platform, "service", "iris", "-n", namespace)["spec"]["clusterIP"]
    setosa = {"live": True, "label": "setosa"}
    assert ask_grpc(f"{address}:9000", "iris", *inside) == setosa
    with forwarded(platform, namespace, 9000) as here:
        assert ask_grpc(here, "iris") == setosa


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_boosted_trees_are_recognised_and_served(platform, namespace, tmp_path, library):
    subprocess.run([sys.executable, BOOSTED_TREES, library, tmp_path], check=True, capture_output=True)
    slipway("deploy", "trees", str(tmp_path), "-n", namespace)
    assert service(platform, namespace, "trees")["spec"]["model"]["format"] == library
    answer = json.loads(slipway("predict", "trees", "-n", namespace, "--data", json.dumps(FLOWER)).stdout)
    assert answer["outputs"] == {"predict": [0]}


def test_as_process_1_it_ends_well_when_it_is_told_to(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    (pod,) = get(platform, "pods", "-n", namespace)["items"]
    inside = ("exec", pod["metadata"]["name"], "-n", namespace, "--", "python3.11", "-c")
    command = kubectl(platform, *inside, "print(open('/proc/1/cmdline').read())")
    assert "slipway-serve" in command or "slipway_serving" in command
    kubectl(platform, *inside, "import os, signal; os.kill(1, signal.SIGTERM)")

    def ended():
        (again,) = get(platform, "pods", "-n", namespace)["items"]
        return again["status"]["containerStatuses"][0]["lastState"].get("terminated")

    assert until(ended)["exitCode"] == 0


def test_children_are_what_a_platform_engineer_expects(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, scaling={"min": 2, "max": 2})
    until_ready(platform, namespace, "iris")
    names = kubectl(platform, "get", "deploy,svc,httproute,pdb,sa", "-n", namespace, "-o", "name").split()
    assert {name for name in names if name.endswith("/iris")} == {
        "deployment.apps/iris",
        "service/iris",
        "httproute.gateway.networking.k8s.io/iris",
        "poddisruptionbudget.policy/iris",
        "serviceaccount/iris",
    }
    pod = get(platform, "pods", "-n", namespace, "-l", "slipway.dev/modelservice=iris")["items"][0]
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    kubectl(platform, "delete", "service", "iris", "-n", namespace)
    until(lambda: "iris" in kubectl(platform, "get", "svc", "-n", namespace, "-o", "name"))
    slipway("delete", "iris", "-n", namespace)
    until(lambda: not get(platform, "pods", "-n", namespace)["items"])


def test_pods_run_under_the_restricted_standard(platform, namespace, pushed):
    kubectl(platform, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")


def test_a_roll_under_constant_load_fails_no_request(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, scaling={"min": 2, "max": 2})
    url = until_ready(platform, namespace, "iris")
    until(lambda: answers(url))
    with Load(url) as load:
        for turn in range(2):
            until(lambda turn=turn: load.sent > 200 * (turn + 1), pause=0.05)
            before = service(platform, namespace, "iris")["status"]["revision"]
            env = [{"name": "TURN", "value": str(turn)}]
            apply(platform, namespace, "iris", pushed, scaling={"min": 2, "max": 2}, server={"env": env})
            until(lambda before=before: service(platform, namespace, "iris")["status"]["revision"] != before)
            until_ready(platform, namespace, "iris")
            until(lambda: len(get(platform, "pods", "-n", namespace)["items"]) == 2)
    print(f"{load.sent} requests during two rolls, {len(load.failures)} failed")  # noqa: T201 - the count is the result
    assert load.sent > 400
    assert load.failures == []


def test_the_hpa_follows_load_up_and_down(platform, namespace, pushed):
    resources = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    scaling = {"min": 1, "max": 3, "target": {"metric": "cpu", "value": 50}}
    apply(platform, namespace, "iris", pushed, scaling=scaling, server={"resources": resources})
    url = until_ready(platform, namespace, "iris")
    until(lambda: answers(url))

    def replicas():
        return service(platform, namespace, "iris")["status"].get("readyReplicas", 0)

    with Load(url, rate=150.0, most=40000) as load:
        until(lambda: replicas() == 3, timeout=240, pause=1.0)
    assert load.failures == []
    until(lambda: replicas() == 1, timeout=420, pause=1.0)
