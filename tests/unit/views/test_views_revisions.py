"""Who manages which field, what a revision is, and what differs between two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.views.managers import applied, gitops, held_by_others
from slipway.views.revisions import Change, Revision, changes, document, revision, revisions, summary


def managed(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec = {
        "model": {"uri": "oci://r/i:1", "format": "onnx"},
        "server": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        "routing": {"hostnames": ["a.example.com", "b.example.com"]},
        "scaling": {"min": 1},
    }
    return {"metadata": {"name": "iris", "managedFields": list(entries), **more}, "spec": spec}


def entry(manager: str, fields: dict[str, Any], operation: str = "Apply", **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


MINE = {
    "f:spec": {
        "f:model": {"f:uri": {}},
        "f:server": {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}},
        "f:routing": {"f:hostnames": {'v:"b.example.com"': {}}},
        "f:scaling": {},
        "f:gone": {"f:long": {}},
    }
}


def test_what_a_manager_applied_is_picked_out_of_the_object() -> None:
    manifest = managed(entry("me", MINE), entry("me", {"f:spec": {"f:model": {}}}, "Update"))
    assert applied(manifest, "me") == {
        "spec": {
            "model": {"uri": "oci://r/i:1"},
            "server": {"env": [{"name": "B", "value": "2"}]},
            "routing": {"hostnames": ["b.example.com"]},
            "scaling": {"min": 1},
        }
    }
    assert applied(manifest, "you") == {}
    assert [name for name, _ in held_by_others(manifest, "me")] == ["me"]  # what it did not apply


def test_what_is_written_to_the_status_is_nobodys_wish() -> None:
    manifest = managed(entry("operator", {"f:status": {}}, subresource="status"))
    assert list(held_by_others(manifest, "me")) == []


@pytest.mark.parametrize("fields", [None, [], "x", {"f:spec": {"f:model": {"f:uri": {"f:x": {}}}}}, {"k:{}": {}}])
def test_what_nobody_expects_in_managed_fields_breaks_nothing(fields: Any) -> None:
    assert isinstance(applied(managed(entry("me", fields)), "me"), dict)


@pytest.mark.parametrize(
    ("manifest", "tool"),
    [
        (managed(), ""),
        (managed(annotations={"argocd.argoproj.io/tracking-id": "x"}), "Argo CD"),
        (managed(labels={"kustomize.toolkit.fluxcd.io/name": "x"}), "Flux"),
        (managed(entry("helm-controller", {})), "Flux"),
        (managed(labels=None, annotations=None), ""),
    ],
)
def test_gitops_tools(manifest: dict[str, Any], tool: str) -> None:
    assert gitops(manifest) == tool


def test_a_revision_of_little() -> None:
    assert revision({"metadata": {"name": "x"}}) == Revision(0, "", "", "")
    assert revision({"metadata": {"name": "x", "labels": None}, "data": None, "revision": None}).number == 0


def test_revisions_are_in_order() -> None:
    found = [{"metadata": {"name": f"r{number}"}, "revision": number} for number in (10, 2, 1)]
    assert [one.number for one in revisions(found)] == [1, 2, 10]


def of(number: int = 1, digest: str = "", restarted: str = "", **spec: Any) -> Revision:
    return Revision(number, "", "", "", digest=digest, restarted_at=restarted, spec=spec)


def test_changes_and_what_is_said_of_them() -> None:
    one = of(model={"uri": "a"}, server={"env": [{"name": "A", "value": "1"}], "args": [1, 2]})
    two = of(2, model={"uri": "b"}, server={"env": [{"name": "A", "value": "2"}], "args": [1]})
    assert changes(one, two) == [
        Change("spec.model.uri", "a", "b"),
        Change("spec.server.args[1]", 2, None),
        Change("spec.server.env[A].value", "1", "2"),
    ]
    assert summary(one, two) == "spec.model.uri, spec.server.args[1], spec.server.env[A].value"
    assert summary(None, one) == "the oldest that is kept"
    assert summary(one, one) == "nothing"
    assert summary(one, of(server=one.spec["server"], model=one.spec["model"], restarted="t")) == "restart"
    assert summary(of(), of(model={str(number): 1 for number in range(5)})).endswith(" and 2 more")
    assert document(two, one, current=True)["change"] == summary(one, two)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_nothing_differs_from_itself_and_what_differs_is_found(one: Any, two: Any) -> None:
    old, new = of(model={"x": one}), of(model={"x": two})
    assert changes(old, old) == []
    assert [(change.path, change.new, change.old) for change in changes(old, new)] == [
        (change.path, change.old, change.new) for change in changes(new, old)
    ]
