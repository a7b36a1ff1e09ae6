"""No right without a call, and no call without a right: the chart's rules against the API server's audit log.

It runs last, on the log of the whole session, and makes every kind of call itself, so that it can run alone.
"""

from __future__ import annotations

import json

import yaml

from slipway.cluster.audit import Right, calls, never_used, not_granted, rights

from .chart import NAMESPACE, done, upgrade, values_of
from .services import apply, until_condition, until_ready
from .tools import get, kubectl, slipway, until

INVALID = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}


def explained(right: Right) -> str:
    """Why a right without a call is kept; empty for one that is too much."""
    if right.verb == "list":
        return (
            "for API servers that do not stream lists: the reflector's fallback, tests/unit/kit/test_kit_reflector.py"
        )
    if (right.resource, right.verb) == ("modelservices/finalizers", "update"):
        return "no request: the admission plugin OwnerReferencesPermissionEnforcement asks for it"
    return ""


def installed(cluster, what):
    text = done("get", what, "slipway", "-n", NAMESPACE, cluster=cluster)
    return [document for document in yaml.safe_load_all(text) if document]


def logged(cluster):
    for file in cluster.audit_logs:
        with file.open(encoding="utf-8") as lines:
            yield from lines


def test_every_right_is_used_and_every_call_has_one(platform, namespace, pushed):
    make_children_and_take_them_away(platform, namespace, pushed)
    repeat_an_event(platform, namespace, pushed)
    ask_what_a_tag_means(platform, namespace, pushed)
    take_the_gateway_away(platform, namespace, pushed)
    compare(platform, "manifest", "slipway-operator")


def test_the_selftests_rights_are_those_of_its_calls(platform):
    done("test", "slipway", "--logs", f"--namespace={NAMESPACE}", cluster=platform)
    compare(platform, "hooks", "slipway-selftest")


def compare(cluster, what, account):
    granted = rights(installed(cluster, what), NAMESPACE, account)
    used = calls(logged(cluster), NAMESPACE, account)
    assert granted
    assert sorted(map(str, not_granted(granted, used))) == []
    idle = never_used(granted, used)
    assert sorted(str(right) for right in idle if not explained(right)) == []


def names(cluster, namespace):
    """The kinds of the objects that come and go with a spec."""
    found = get(cluster, "hpa,pdb,httproute,ingress,networkpolicy", "-n", namespace)["items"]
    files = kubectl(cluster, "get", "configmap", "iris-files", "-n", namespace, "--ignore-not-found", "-o", "name")
    return {one["kind"] for one in found} | ({"ConfigMap"} if files else set())


def revisions(cluster, namespace):
    return len(get(cluster, "controllerrevisions", "-n", namespace)["items"])


def make_children_and_take_them_away(cluster, namespace, pushed):
    """Three revisions, of which two are kept; what the first has, the next have not."""
    routing = {"hostnames": ["iris.example"]}
    first = {"scaling": {"min": 2, "max": 3}, "routing": routing | {"access": "Namespace"}}
    apply(cluster, namespace, "iris", pushed, **first, server={"files": {"note": "one"}}, rollout={"historyLimit": 1})
    until_ready(cluster, namespace, "iris")
    made = {"HTTPRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"}
    assert names(cluster, namespace) == made
    for turn in ("2", "3"):
        env = [{"name": "TURN", "value": turn}]
        apply(cluster, namespace, "iris", pushed, routing=routing, server={"env": env}, rollout={"historyLimit": 1})
        until_ready(cluster, namespace, "iris")
    until(lambda: names(cluster, namespace) == {"HTTPRoute", "NetworkPolicy"})
    until(lambda: revisions(cluster, namespace) == 2)


def ask_what_a_tag_means(cluster, namespace, pushed):
    """With the login of a Secret, which is read for it. The registry asks for more than that, and the tag is used."""
    login = '{"auths": {}}'
    words = ("--type=kubernetes.io/dockerconfigjson", f"--from-literal=.dockerconfigjson={login}")
    kubectl(cluster, "create", "secret", "generic", "login", "-n", namespace, *words)
    manifest = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "tagged", "namespace": namespace},
        "spec": {"model": {"uri": pushed.partition("@")[0], "format": "onnx", "secretRef": {"name": "login"}}},
    }
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))
    until_ready(cluster, namespace, "tagged")


def repeat_an_event(cluster, namespace, pushed):
    """The same thing within ten minutes is the same event, counted."""
    for _ in range(2):
        apply(cluster, namespace, "iris", pushed, server={"resources": INVALID})
        until_condition(cluster, namespace, "iris", "Progressing", reason="InvalidSpec")
        apply(cluster, namespace, "iris", pushed)
        until_ready(cluster, namespace, "iris")

    def counted():
        events = get(cluster, "events", "-n", namespace)["items"]
        return [event for event in events if event["reason"] == "InvalidSpec" and event.get("count", 0) > 1]

    until(counted)


def take_the_gateway_away(cluster, namespace, pushed):
    """An operator that is told of an Ingress class and no gateway makes Ingresses of the routes, and back."""
    apply(cluster, namespace, "iris", pushed, routing={"hostnames": ["iris.example"]})
    until_ready(cluster, namespace, "iris")
    try:
        upgrade(cluster, values_of(cluster) | {"gateway": {"create": False}, "ingress": {"className": "none"}})
        until(lambda: names(cluster, namespace) == {"Ingress", "NetworkPolicy"})
    finally:
        slipway("up", "--name", cluster.name, timeout=1200)
    until(lambda: names(cluster, namespace) == {"HTTPRoute", "NetworkPolicy"})
    kubectl(cluster, "delete", "modelservice", "iris", "tagged", "-n", namespace)
