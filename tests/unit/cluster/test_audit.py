"""Rights against calls: what a rule allows is what RBAC says, and nothing that was asked for goes unseen."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from slipway.cluster.audit import Call, Right, calls, never_used, not_granted, policy, rights

NAMESPACE, ACCOUNT = "slipway-system", "slipway-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"


def line(verb: str, resource: str, code: int = 200, *, user: str = USER, **target: str) -> str:
    event = {
        "verb": verb,
        "user": {"username": user},
        "objectRef": {"resource": resource, "apiVersion": "v1", **target},
        "responseStatus": {"code": code},
        "stage": "ResponseComplete",
    }
    return json.dumps(event) + "\n"


def found(*lines: str) -> set[Call]:
    return calls(lines, NAMESPACE, ACCOUNT)


def role(kind: str, name: str, *rules: dict[str, list[str]]) -> list[dict[str, object]]:
    scope = {} if kind == "ClusterRole" else {"namespace": NAMESPACE}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    return [
        {"kind": kind, "metadata": {"name": name, **scope}, "rules": list(rules)},
        {
            "kind": f"{kind}Binding",
            "metadata": {"name": name, **scope},
            "roleRef": {"kind": kind, "name": name},
            "subjects": [subject],
        },
    ]


def test_a_call_is_read_with_group_subresource_and_place() -> None:
    status = line("patch", "modelservices", apiGroup="slipway.dev", subresource="status", namespace="a", name="iris")
    assert found(status) == {Call("slipway.dev", "modelservices/status", "patch", "a", "iris")}


def test_an_apply_that_created_needed_both_verbs() -> None:
    assert {call.verb for call in found(line("patch", "services", 201, namespace="a", name="x"))} == {"patch", "create"}
    assert {call.verb for call in found(line("patch", "services", 200, namespace="a", name="x"))} == {"patch"}


def test_others_paths_without_objects_and_half_lines_are_left_out() -> None:
    version = json.dumps({"verb": "get", "user": {"username": USER}, "requestURI": "/version"}) + "\n"
    other = line("get", "pods", user=f"system:serviceaccount:{NAMESPACE}:default")
    assert found(version, other, line("get", "pods").rstrip("}\n")) == set()


def test_a_refused_request_has_been_a_call() -> None:
    assert found(line("get", "secrets", 403, namespace="a", name="t")) == {Call("", "secrets", "get", "a", "t")}


def test_a_watch_that_is_still_open_has_been_a_call() -> None:
    started = json.loads(line("watch", "pods"))
    started["stage"] = "ResponseStarted"
    assert found(json.dumps(started) + "\n") == {Call("", "pods", "watch")}


def test_rules_are_taken_apart_by_their_binding() -> None:
    reads = {"apiGroups": ["", "apps"], "resources": ["x"], "verbs": ["get", "list"]}
    one = {"apiGroups": ["g"], "resources": ["leases"], "verbs": ["update"], "resourceNames": ["l"]}
    manifests = role("ClusterRole", "wide", reads) + role("Role", "narrow", one)
    unbound = {"kind": "ClusterRole", "metadata": {"name": "view"}, "rules": [reads]}
    assert rights([*manifests, unbound], NAMESPACE, ACCOUNT) == {
        Right("", "x", "get"),
        Right("", "x", "list"),
        Right("apps", "x", "get"),
        Right("apps", "x", "list"),
        Right("g", "leases", "update", NAMESPACE, "l"),
    }
    assert rights(manifests, NAMESPACE, "default") == set()


def test_a_role_counts_in_its_namespace_only_and_a_name_for_itself_only() -> None:
    right = Right("g", "leases", "update", NAMESPACE, "l")
    assert right.allows(Call("g", "leases", "update", NAMESPACE, "l"))
    assert not right.allows(Call("g", "leases", "update", "default", "l"))
    assert not right.allows(Call("g", "leases", "update", NAMESPACE, "m"))


def test_findings_name_the_rule_and_the_call() -> None:
    granted = [Right("", "pods", "list"), Right("apps", "deployments", "delete")]
    used = [Call("", "pods", "list"), Call("", "secrets", "get", "a", "token")]
    assert [str(right) for right in never_used(granted, used)] == ["delete deployments.apps"]
    assert [str(call) for call in not_granted(granted, used)] == ["get secrets token in a"]


def test_the_policy_writes_no_content_and_nobody_else() -> None:
    first, rest = policy()["rules"]
    assert first == {"level": "Metadata", "userGroups": ["system:serviceaccounts:slipway-system"]}
    assert rest == {"level": "None"}


words = st.sampled_from(["", "a", "b"])
some_calls = st.builds(Call, words, words, words, words, words)
some_rights = st.builds(Right, words, words, words, words, words)


@given(st.sets(some_rights), st.sets(some_calls))
def test_every_call_is_covered_by_a_used_right_or_reported(granted: set[Right], used: set[Call]) -> None:
    missing, idle = not_granted(granted, used), never_used(granted, used)
    assert missing <= used
    assert idle <= granted
    assert not_granted(granted - idle, used) == missing  # what nobody used can be taken away
    assert never_used(granted, used - missing) == idle


@given(some_rights)
def test_a_right_allows_exactly_the_call_of_its_own_words(right: Right) -> None:
    call = Call(right.group, right.resource, right.verb, right.namespace or "n", right.name or "m")
    assert right.allows(call)
    assert not right.allows(Call(right.group, right.resource, f"{right.verb}x", call.namespace, call.name))
