"""A ModelService is always what it says: revisions, drift, content that is read, neighbours, a cluster in trouble."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager

from .services import apply, condition, service, until_condition, until_ready
from .tools import get, host_pid, kubectl, slipway, until
from .traffic import FLOWER, Load, ask


def template(cluster, namespace, name="iris"):
    return get(cluster, "deployment", name, "-n", namespace)["spec"]["template"]


def records(cluster, namespace):
    found = get(cluster, "controllerrevisions", "-n", namespace, "-l", "slipway.dev/modelservice=iris")["items"]
    return sorted(found, key=lambda record: record["revision"])


def with_variable(value):
    return {"env": [{"name": "TURN", "value": value}]}


def test_revisions_are_recorded_and_an_old_one_comes_back(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, server=with_variable("one"))
    until_ready(platform, namespace, "iris")
    first = service(platform, namespace, "iris")["status"]["revision"]
    apply(platform, namespace, "iris", pushed, server=with_variable("two"))
    until(lambda: service(platform, namespace, "iris")["status"]["revision"] != first)
    until_ready(platform, namespace, "iris")
    old, new = records(platform, namespace)
    assert (old["revision"], new["revision"]) == (1, 2)
    apply(platform, namespace, "iris", pushed, server=old["data"]["spec"]["server"])
    until(lambda: service(platform, namespace, "iris")["status"]["revision"] == first)
    until_ready(platform, namespace, "iris")
    assert [record["revision"] for record in records(platform, namespace)] == [2, 3]
    variables = template(platform, namespace)["spec"]["containers"][0]["env"]
    assert {"name": "TURN", "value": "one"} in variables


def test_a_tag_is_resolved_to_its_digest(platform, namespace, iris):
    uri = slipway("push", str(iris), "tagged:v1").stdout.strip()
    repository, _, digest = uri.partition("@")
    apply(platform, namespace, "iris", f"{repository}:v1")
    until_ready(platform, namespace, "iris")
    assert service(platform, namespace, "iris")["status"]["model"]["digest"] == digest
    (volume,) = [item for item in template(platform, namespace)["spec"]["volumes"] if "image" in item]
    assert volume["image"]["reference"].endswith(f"@{digest}")


def test_changed_content_rolls_the_pods(platform, namespace, pushed):
    kubectl(platform, "create", "configmap", "app", "-n", namespace, "--from-literal=A=1")
    kubectl(platform, "create", "secret", "generic", "hub", "-n", namespace, "--from-literal=TOKEN=one")
    server = {"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "hub"}}]}
    apply(platform, namespace, "iris", pushed, server=server)
    until_ready(platform, namespace, "iris")
    for kind, change in (("configmap", '{"data": {"A": "2"}}'), ("secret", '{"stringData": {"TOKEN": "two"}}')):
        before = service(platform, namespace, "iris")["status"]["revision"]
        kubectl(platform, "patch", kind, "app" if kind == "configmap" else "hub", "-n", namespace, "-p", change)
        until(lambda before=before: service(platform, namespace, "iris")["status"]["revision"] != before)
        until_ready(platform, namespace, "iris")


def test_files_reach_the_server(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, server={"files": {"a.txt": "one"}})
    until_ready(platform, namespace, "iris")
    pod = get(platform, "pods", "-n", namespace, "-l", "slipway.dev/modelservice=iris")["items"][0]["metadata"]["name"]
    read = ("exec", pod, "-n", namespace, "--", "python3.11", "-c", "print(open('/config/a.txt').read())")
    assert kubectl(platform, *read).strip() == "one"


def test_drift_is_repaired_and_fields_of_others_stay(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    kubectl(platform, "annotate", "deployment", "iris", "-n", namespace, "example.com/owner=ml")
    image = template(platform, namespace)["spec"]["containers"][0]["image"]
    kubectl(platform, "set", "image", "deployment/iris", "model=example.com/other:1", "-n", namespace)
    until(lambda: template(platform, namespace)["spec"]["containers"][0]["image"] == image)
    found = get(platform, "deployment", "iris", "-n", namespace)
    assert found["metadata"]["annotations"]["example.com/owner"] == "ml"
    for kind in ("service", "networkpolicy", "serviceaccount", "deployment"):
        kubectl(platform, "delete", kind, "iris", "-n", namespace)
        until(lambda kind=kind: "iris" in kubectl(platform, "get", kind, "-n", namespace, "-o", "name"))
    until_ready(platform, namespace, "iris")


def test_a_child_of_another_owner_is_refused_and_left_alone(platform, namespace, pushed):
    kubectl(platform, "create", "service", "clusterip", "iris", "--tcp=80:80", "-n", namespace)
    apply(platform, namespace, "iris", pushed)
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="NameTaken")
    assert "Service" in shown["message"]
    assert not get(platform, "deployments", "-n", namespace)["items"]
    kubectl(platform, "delete", "service", "iris", "-n", namespace)
    until_ready(platform, namespace, "iris")


def test_a_device_that_no_node_has_is_said(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed, server={"gpu": {"count": 1}})
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="Unschedulable")
    assert "nvidia.com/gpu" in shown["message"]


def test_a_namespace_that_is_deleted_under_work_goes(platform, pushed):
    kubectl(platform, "create", "namespace", "doomed")
    for number in range(5):
        apply(platform, "doomed", f"iris-{number}", pushed)
    kubectl(platform, "delete", "namespace", "doomed", "--timeout=120s")
    assert "doomed" not in kubectl(platform, "get", "namespaces", "-o", "name")


def leads(cluster):
    return get(cluster, "lease", "slipway-operator", "-n", "slipway-system")["spec"]["holderIdentity"]


def test_an_api_server_that_restarts_is_taken_up_again(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    process = host_pid(platform, "kube-apiserver")
    os.kill(process, signal.SIGKILL)
    until(lambda: "ok" in kubectl(platform, "get", "--raw", "/readyz", check=False))
    apply(platform, namespace, "iris", pushed, server=with_variable("after"))
    until_ready(platform, namespace, "iris")
    assert leads(platform)


def test_an_etcd_that_pauses_loses_nothing(platform, namespace, pushed):
    process = host_pid(platform, "etcd")
    apply(platform, namespace, "iris", pushed)
    os.kill(process, signal.SIGSTOP)
    try:
        until(lambda: "NAME" not in kubectl(platform, "get", "configmaps", "--request-timeout=3s", check=False))
    finally:
        os.kill(process, signal.SIGCONT)
    url = until_ready(platform, namespace, "iris")
    assert ask(f"{url}/predict", FLOWER)[0] == 200


@contextmanager
def slow(process):
    """A process that runs for a tenth of the time, in slices of half a second."""
    over = threading.Event()

    def brake():
        while not over.wait(0.05):
            os.kill(process, signal.SIGSTOP)
            over.wait(0.45)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=brake)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_an_etcd_that_is_slow_delays_and_loses_nothing(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    url = until_ready(platform, namespace, "iris")
    before = service(platform, namespace, "iris")["status"]["revision"]
    with Load(url, rate=10.0) as load, slow(host_pid(platform, "etcd")):
        apply(platform, namespace, "iris", pushed, server=with_variable("slow"))
        kubectl(platform, "delete", "networkpolicy", "iris", "-n", namespace)
        until(lambda: service(platform, namespace, "iris")["status"]["revision"] != before, pause=1.0)
        until(lambda: "iris" in kubectl(platform, "get", "networkpolicy", "-n", namespace, "-o", "name"), pause=1.0)
        until_ready(platform, namespace, "iris")
    assert load.sent
    assert load.failures == []


def test_conditions_have_times_and_generations(platform, namespace, pushed):
    apply(platform, namespace, "iris", pushed)
    until_ready(platform, namespace, "iris")
    shown = service(platform, namespace, "iris")
    for item in shown["status"]["conditions"]:
        assert item["observedGeneration"] == shown["metadata"]["generation"], json.dumps(item)
        assert item["lastTransitionTime"]
    assert condition(platform, namespace, "iris", "ModelLoaded")["reason"] == "Loaded"
