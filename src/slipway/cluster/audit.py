"""The API server's audit log, compared with what RBAC grants: what is used, what never, what is missing. Pure.

Formats: Kubernetes documentation, "Auditing" (audit.k8s.io/v1) and "Using RBAC Authorization".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from slipway.cluster.layout import PLATFORM_NAMESPACE

POLICY_FILE = "audit.yaml"
LOG = "audit.jsonl"
"""Below the node's logs. Full ones beside it: `audit-TIME.jsonl`."""
MEGABYTES, FULL_ONES = 100, 4

_CREATED = 201


def policy(namespace: str = PLATFORM_NAMESPACE) -> dict[str, Any]:
    """What is written down: who asked for what, without contents, for the service accounts of one namespace only."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{namespace}"]},
            {"level": "None"},
        ],
    }


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on a resource (with its subresource: `modelservices/status`). Empty: any namespace, any name."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def allows(self, call: Call) -> bool:
        """Whether it is enough for a call."""
        same = (self.group, self.resource, self.verb) == (call.group, call.resource, call.verb)
        return same and self.namespace in {"", call.namespace} and self.name in {"", call.name}

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {kind}{name}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """A request that the log has, once however often it was sent, also one that the API server refused."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    __str__ = Right.__str__


def calls(lines: Iterable[str], namespace: str, account: str) -> set[Call]:
    """The requests of one service account. A last line that is still being written is left out.

    Server-side apply of an object that was not there needs `create`, too, which the log does not show as a verb of its
    own. Requests for paths that are no objects (discovery, health) need no rule of ours and are left out.
    """
    user = f"system:serviceaccount:{namespace}:{account}"
    return {call for event in _events(lines) if event["user"]["username"] == user for call in _calls_of(event)}


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)


def _calls_of(event: dict[str, Any]) -> Iterator[Call]:
    target = event.get("objectRef")
    if not target or not target.get("resource"):
        return
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    created = event["verb"] in {"patch", "update"} and event.get("responseStatus", {}).get("code") == _CREATED
    for verb in (event["verb"], *(["create"] if created else [])):
        yield Call(target.get("apiGroup", ""), resource, verb, target.get("namespace", ""), target.get("name", ""))


def rights(manifests: Iterable[dict[str, Any]], namespace: str, account: str) -> set[Right]:
    """What Roles and ClusterRoles among the manifests grant to one service account, by their bindings."""
    found = list(manifests)
    roles = {(one["kind"], one["metadata"]["name"]): one for one in found if one["kind"] in {"Role", "ClusterRole"}}
    granted = set()
    for binding in found:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        role = roles.get((binding["roleRef"]["kind"], binding["roleRef"]["name"]))
        if role and any(_is(subject, namespace, account) for subject in binding["subjects"]):
            where = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
            granted |= set(_granted(role, where))
    return granted


def _is(subject: dict[str, Any], namespace: str, account: str) -> bool:
    wanted = ("ServiceAccount", namespace, account)
    return (subject["kind"], subject.get("namespace"), subject["name"]) == wanted


def _granted(role: dict[str, Any], namespace: str) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(group, resource, verb, namespace, name)


def never_used(granted: Iterable[Right], used: Iterable[Call]) -> set[Right]:
    """Rights that no call needed."""
    seen = list(used)
    return {right for right in granted if not any(right.allows(call) for call in seen)}


def not_granted(granted: Iterable[Right], used: Iterable[Call]) -> set[Call]:
    """Calls that no right covers, whether the API server let them through or not."""
    given = list(granted)
    return {call for call in used if not any(right.allows(call) for right in given)}
